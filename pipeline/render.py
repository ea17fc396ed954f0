"""One decode, one encode: the kept frames of a Timeline, their sound sample for sample, and the captions.

Picture: ``fps`` puts the source on the Timeline's grid by time, ``select`` keeps its frames, so frame n of the graph is
frame n of the Timeline. Sound: samples chosen at the same frame boundaries, counted from the output side so that
rounding never adds up, encoded once. Commands are built with ffmpeg-python; the graph goes into a file, because
thousands of cuts outgrow a command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from pipeline.audio import Samples, Sound, Track
from pipeline.burn import place_font
from pipeline.encoders import build_encoder
from pipeline.ffmpeg import Feed, run_ffmpeg
from pipeline.media import INPUT_OPTIONS, writing
from pipeline.models import Probe, RunContext, Stage
from pipeline.options import VideoEncoder
from pipeline.packets import SHIFT_S, PacketTable, choose_packets, feed_packets, find_entry, scan_packets
from pipeline.picture import PictureTraits, examine_picture
from pipeline.timeline import Range, Timeline, round_half_up

OUTPUT_RATE = 48_000
_FADE_MS = 5
_KEYFRAME_S = 5
_CAP_BITS = 12_000_000
_CAP_PIXEL_RATE = 1920 * 1080 * 30
_GRAPH = "graph.txt"
_PCM, _PACKETS = "pcm", "packets"
PLAIN_PICTURE = PictureTraits()
_QUIET = ("-v", "warning", "-y")
_KEEP_TIMES = "-copyts"
"""Without it ffmpeg shifts its input by the earliest start of the streams in use, which is not ours to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPlan:
    """What to render: a source, its kept frames and sound, and the captions to add."""

    source: Path
    probe: Probe
    timeline: Timeline
    sound: Sound
    language: str
    """ISO 639-2 code of what is spoken, for the sound and caption tracks."""
    ass: str | None = None
    """Captions to draw into the picture."""
    track_vtt: str | None = None
    """Captions to add as a track."""
    encoder: VideoEncoder = VideoEncoder.X264
    first_frame: int = 0
    """Frame of the result that the picture begins with; later than 0 for a part of one, whose captions are timed by
    the whole."""


def render_video(plan: RenderPlan, target: Path, *, ffmpeg_binary: Path, ctx: RunContext) -> None:
    """Write the finished MP4 to ``target``. Raises what `run_ffmpeg`, `examine_picture` and `writing` raise."""
    traits = examine_picture(plan.source, plan.probe.video.index)
    packets = find_wanted_packets(plan, traits)
    seek = find_seek(plan) if packets is None else None
    feeds = []
    if packets is not None:
        blocks = partial(feed_packets, plan.source, plan.probe.video.index, *packets)
        feeds.append(Feed(placeholder=_PACKETS, blocks=blocks))
    with writing(ctx.workdir):
        if plan.ass is not None:
            (ctx.workdir / "cues.ass").write_text(plan.ass, encoding="utf-8")
            place_font(ctx.workdir)  # relative names in a private folder need no escaping
        args, graph = build_command(plan, target, traits, fed=packets is not None, seek=seek)
        (ctx.workdir / _GRAPH).write_text(graph, encoding="utf-8")
    write_video(plan, args, feeds, ffmpeg_binary=ffmpeg_binary, ctx=ctx)


def write_video(
    plan: RenderPlan, args: Sequence[str], feeds: Sequence[Feed], *, ffmpeg_binary: Path, ctx: RunContext
) -> None:
    """Run a command that writes a video of ``plan``: its sound and caption track are given to it beside ``feeds``."""
    with writing(ctx.workdir):
        if plan.track_vtt is not None:
            (ctx.workdir / "track.vtt").write_text(plan.track_vtt, encoding="utf-8")
    sounds = [
        Feed(placeholder=f"{_PCM}{i}", blocks=partial(assemble_sound, track, plan.timeline))
        for i, track in enumerate(plan.sound.delivered)
    ]
    run_ffmpeg(
        args,
        ffmpeg=ffmpeg_binary,
        cwd=ctx.workdir,
        duration_ms=plan.timeline.duration_ms,
        on_progress=partial(ctx.report, Stage.RENDER),
        should_cancel=ctx.should_cancel,
        feeds=[*sounds, *feeds],
    )


def find_wanted_packets(plan: RenderPlan, traits: PictureTraits) -> tuple[PacketTable, NDArray[np.bool_]] | None:
    """Return all packets of the picture and which have to be decoded; None decodes the whole file (see `packets`)."""
    if traits.interlaced or traits.mirrored or traits.colours is None:
        return None  # a deinterlacer looks at neighbours; a mirror can't be told to ffmpeg beside a pipe
    if not plan.timeline.removed:
        return None
    table = scan_packets(plan.source, plan.probe.video.index)
    if table is None:
        return None
    wanted = choose_packets(table, plan.timeline, plan.probe.video.first_frame)
    return None if wanted is None else (table, wanted)


def find_seek(plan: RenderPlan) -> Fraction | None:
    """Return the container time at which a later part of a result may begin to read; None reads all before it, too."""
    if plan.first_frame == 0:
        return None
    video = plan.probe.video
    return find_entry(plan.source, video.index, video.first_frame + plan.timeline.kept[0][0] / plan.timeline.timebase)


def build_command(
    plan: RenderPlan,
    target: Path,
    traits: PictureTraits = PLAIN_PICTURE,
    *,
    fed: bool = False,
    seek: Fraction | None = None,
) -> tuple[list[str], str]:
    """Return the arguments of the render and the text of its filter graph.

    ``fed`` takes the picture from a pipe, ``seek`` begins to read the source at a key frame before that time.
    """
    video = plan.probe.video
    if fed:
        picture = _open_packets(video.rotation, traits)
    else:
        picture = ffmpeg.input(str(plan.source.resolve()), **_begin_at(seek), **INPUT_OPTIONS)[str(video.index)]
    encoder: dict[str, Any] = {
        **build_encoder(plan.encoder), **_cap_bits(plan.probe, plan.timeline),
        "g": max(1, round(_KEYFRAME_S * plan.timeline.timebase)), "fps_mode": "passthrough",
    }  # fmt: skip
    return split_graph(build_output(plan, target, _build_picture(picture, plan, traits), encoder))


def build_output(plan: RenderPlan, target: Path, picture: Any, encoder: Mapping[str, Any]) -> list[str]:
    """Return the arguments that write ``picture`` with the sound and the caption track of ``plan`` as MP4."""
    streams: list[Any] = [picture]
    tracks = [_open_sound(f"{_PCM}{i}", track) for i, track in enumerate(plan.sound.delivered)]
    options: dict[str, Any] = {**encoder, "map_metadata": -1, "movflags": "+faststart", "f": "mp4"}
    if tracks:
        mixed = len(tracks) > 1
        streams.append(ffmpeg.filter(tracks, "amix", inputs=len(tracks), normalize=0) if mixed else tracks[0])
        options |= {
            "c:a": "aac",
            "b:a": "160k",
            "ar": OUTPUT_RATE,
            "ac": 2,
            "metadata:s:a:0": f"language={plan.language}",
        }
    if plan.track_vtt is not None:
        streams.append(ffmpeg.input("track.vtt", f="webvtt")["s"])
        options |= {"c:s": "mov_text", "metadata:s:s:0": f"language={plan.language}"}
    return [*_QUIET, _KEEP_TIMES, *ffmpeg.get_args(ffmpeg.output(*streams, str(target.resolve()), **options))]


def _begin_at(seek: Fraction | None) -> dict[str, Any]:
    """Return the options of an input that is read from a key frame before ``seek`` on, in the container's own time."""
    if seek is None:
        return {}
    return {"seek_timestamp": 1, "noaccurate_seek": None, "ss": f"{float(seek):.6f}"}


def _open_packets(rotation: int, traits: PictureTraits) -> Any:
    """Return the picture that comes through a pipe, with its own times, turn and colours."""
    turn = {"display_rotation": rotation} if rotation else {}
    picture = ffmpeg.input(_PACKETS, f="nut", **turn).video.filter("setpts", f"PTS-{SHIFT_S}/TB")
    if traits.colours is not None:
        names = ("range", "colorspace", "color_primaries", "color_trc")
        picture = picture.filter("setparams", **dict(zip(names, traits.colours, strict=True)))
    return picture


def _open_sound(pipe: str, track: Track) -> Any:
    """Return the sound that comes through ``pipe``; one channel becomes two as loud (ffmpeg would take 3 dB off)."""
    sound = ffmpeg.input(pipe, f="s16le", ar=track.rate, ch_layout=track.layout).audio
    return sound.filter("channelmap", "0|0", "stereo") if track.channels == 1 else sound


def split_graph(args: Sequence[str]) -> tuple[list[str], str]:
    """Return ``args`` with the filter graph moved into a file, and that graph."""
    at = list(args).index("-filter_complex")
    return [*args[:at], "-/filter_complex", _GRAPH, *args[at + 2 :]], args[at + 1]


def _build_picture(stream: Any, plan: RenderPlan, traits: PictureTraits) -> Any:
    """Return the filter chain of the picture: whole frames, grid, kept frames, colour, size, captions."""
    probe, timeline = plan.probe, plan.timeline
    video = probe.video
    end = timeline.kept[-1][1]
    held = max(0, end - round(video.duration_ms * timeline.timebase / 1000)) + 2
    if traits.interlaced:  # before frames are picked: it looks at the neighbours in time
        stream = stream.filter("bwdif", mode="send_frame", deint="interlaced")
    stream = (
        stream.filter("fps", fps=_ratio(timeline.timebase), start_time=f"{float(video.first_frame):.6f}")
        .filter("tpad", stop=held, stop_mode="clone")  # the last picture stands while the sound goes on
        .filter("trim", end_frame=end)  # ffmpeg stops reading here; -frames:v would also cut the sound short
        .filter("select", build_select(timeline.kept))
        .filter("setpts", f"N+{plan.first_frame}" if plan.first_frame else "N")
    )
    sizing = {"out_range": "tv"}
    if video.hdr:
        stream = (
            _say_colours(stream, traits)
            .filter("zscale", t="linear", npl=100)
            .filter("format", "gbrpf32le")
            .filter("zscale", p="bt709")
            .filter("tonemap", "hable", desat=0)
            .filter("zscale", t="bt709", m="bt709", r="tv")
            .filter("format", "yuv420p")
        )
    elif traits.rgb:
        sizing["out_color_matrix"] = "bt709"  # else BT.601, unsaid: players take the other one for a large picture
        stream = stream.filter("setparams", color_primaries="bt709", color_trc="bt709")
    stream = stream.filter("scale", video.width, video.height, **sizing).filter("setsar", 1)
    if plan.ass is not None:
        stream = stream.filter("ass", "cues.ass", fontsdir="fonts")
    if plan.first_frame:
        stream = stream.filter("setpts", "N")
    return stream.filter("format", "yuv420p")


def _say_colours(stream: Any, traits: PictureTraits) -> Any:
    """Return ``stream`` with the matrix and primaries of HDR said: zscale refuses to guess, and HDR has but these."""
    unsaid = {}
    if traits.matrix_unsaid:
        unsaid["colorspace"] = "bt2020nc"
    if traits.primaries_unsaid:
        unsaid["color_primaries"] = "bt2020"
    return stream.filter("setparams", **unsaid) if unsaid else stream


def build_select(kept: Sequence[Range]) -> str:
    """Return an expression that is 1 for frame numbers inside ``kept`` (sorted, not touching).

    A balanced tree: a sum of ``between()`` terms fails beyond 100 of them and costs time per cut, this does not.
    """
    edges = [edge for pair in kept for edge in pair]

    def node(low: int, high: int) -> str:
        if low == high:
            return str(low & 1)
        middle = (low + high) // 2
        return f"if(lt(n,{edges[middle]}),{node(low, middle)},{node(middle + 1, high)})"

    return node(0, len(edges))


def assemble_sound(track: Track, timeline: Timeline) -> Iterator[memoryview]:
    """Yield the samples of ``track`` that belong to the kept frames, with a short fade on both sides of every seam.

    Frame f of the output starts at sample round(f * rate / timebase); a chunk's length is taken between two of those,
    its first sample from the same rule in the source.
    """
    per_frame = track.rate / timeline.timebase
    fade = track.rate * _FADE_MS // 1000
    kept = timeline.kept
    offset = 0
    for number, (start, end) in enumerate(kept):
        length = round_half_up((offset + end - start) * per_frame) - round_half_up(offset * per_frame)
        first = round_half_up(start * per_frame)
        offset += end - start
        ramp = min(fade, length // 2)
        at = 0
        for block in track.read(first, first + length):
            fade_in = number > 0 and at < ramp
            fade_out = number < len(kept) - 1 and at + len(block) > length - ramp
            if fade_in or fade_out:
                block = _fade(block, at, length, ramp if number > 0 else 0, ramp if number < len(kept) - 1 else 0)
            at += len(block)
            yield block.data.cast("B")


def _fade(block: Samples, at: int, length: int, ramp_in: int, ramp_out: int) -> Samples:
    """Return ``block``, which starts at sample ``at`` of a piece of ``length``, with ramps at the piece's ends."""
    index: NDArray[np.float64] = np.arange(at, at + len(block), dtype=np.float64)
    gain = np.ones(len(block))
    if ramp_in:
        gain = np.minimum(gain, (index + 0.5) / ramp_in)
    if ramp_out:
        gain = np.minimum(gain, (length - index - 0.5) / ramp_out)
    return np.asarray(np.rint(block * np.clip(gain, 0, 1)[:, np.newaxis]), dtype=np.int16)


def _cap_bits(probe: Probe, timeline: Timeline) -> dict[str, int]:
    """Return the rate limit: constant quality explodes on noise (37 Mbit/s at 1080p).

    Twice the source's own rate is enough for any picture it can hold, 12 Mbit/s at 1080p30 for any screen; a quarter of
    that is always allowed, so that captions over a nearly still source stay sharp.
    """
    cap = Fraction(_CAP_BITS * probe.pixels, _CAP_PIXEL_RATE) * timeline.timebase
    limit = max(min(Fraction(2 * probe.video.bit_rate), cap), cap / 4, Fraction(200_000))
    return {"maxrate": round(limit), "bufsize": round(2 * limit)}


def write_poster(video: Path, target: Path, *, at_ms: int, ffmpeg_binary: Path, ctx: RunContext) -> None:
    """Write a JPEG of a typical picture of ``video`` shortly after ``at_ms``, at most 1280 pixels wide."""
    stream = (
        ffmpeg.input(str(video.resolve()), ss=f"{at_ms / 1000:.3f}")
        .video.filter("scale", "min(1280,iw)", -2)
        .filter("thumbnail", 30)
        .filter("format", "yuvj420p")
    )
    output = ffmpeg.output(stream, str(target.resolve()), **{"frames:v": 1, "q:v": 3, "f": "image2", "update": 1})
    args = [*_QUIET, *ffmpeg.get_args(output)]
    run_ffmpeg(args, ffmpeg=ffmpeg_binary, cwd=ctx.workdir, should_cancel=ctx.should_cancel)


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"
