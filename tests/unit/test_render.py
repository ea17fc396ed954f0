"""The render: which frames the graph picks, which samples go with them, and what ffmpeg is told."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.audio import BLOCK_SAMPLES, Samples, Sound, Track
from pipeline.models import Probe, VideoStream
from pipeline.render import RenderPlan, assemble_sound, build_command, build_select
from pipeline.timeline import Range, Timeline

FPS = Fraction(30)
NTSC = Fraction(30000, 1001)

# --- the choice of frames ---

Tree = int | tuple[int, "Tree", "Tree"]
"""A leaf, or ``if(lt(n,edge),below,above)``."""


def parse_tree(text: str) -> Tree:
    """Read an expression made of nothing but ``if(lt(n,K),L,R)``, 0 and 1."""
    tokens = re.findall(r"if\(lt\(n,\d+\),|,|\)|[01]|.", text)

    def read(at: int) -> tuple[Tree, int]:
        if tokens[at] in ("0", "1"):
            return int(tokens[at]), at + 1
        match = re.fullmatch(r"if\(lt\(n,(\d+)\),", tokens[at])
        assert match, f"unexpected {tokens[at]!r}"
        below, at = read(at + 1)
        assert tokens[at] == ","
        above, at = read(at + 1)
        assert tokens[at] == ")"
        return (int(match[1]), below, above), at + 1

    tree, end = read(0)
    assert end == len(tokens)
    return tree


def evaluate(tree: Tree, frame: int) -> int:
    while not isinstance(tree, int):
        edge, below, above = tree
        tree = below if frame < edge else above
    return tree


def measure_depth(tree: Tree) -> int:
    return 0 if isinstance(tree, int) else 1 + max(measure_depth(tree[1]), measure_depth(tree[2]))


def draw_ranges(rng: random.Random, count: int, longest: int = 40) -> list[Range]:
    """Return ``count`` sorted ranges that do not touch; the first may begin at 0."""
    ranges, at = [], rng.choice([0, rng.randint(1, longest)])
    for _ in range(count):
        end = at + rng.randint(1, longest)
        ranges.append((at, end))
        at = end + rng.randint(1, longest)
    return ranges


@pytest.mark.parametrize("kept", [[(0, 1)], [(0, 100)], [(5, 6)], [(3, 9)], [(0, 3), (4, 5)]])
def test_a_few_ranges_are_selected(kept: list[Range]) -> None:
    tree = parse_tree(build_select(kept))
    for frame in range(120):
        assert evaluate(tree, frame) == any(start <= frame < end for start, end in kept), frame


def test_no_range_selects_nothing() -> None:
    assert {evaluate(parse_tree(build_select([])), frame) for frame in range(5)} == {0}


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 100, 101])
def test_the_frames_of_the_ranges_are_selected_and_no_others(count: int) -> None:
    rng = random.Random(count)
    kept = draw_ranges(rng, count)
    tree = parse_tree(build_select(kept))
    inside = {frame for start, end in kept for frame in range(start, end)}
    for frame in range(kept[-1][1] + 50):
        assert evaluate(tree, frame) == (frame in inside), frame


def test_thousands_of_ranges_make_a_shallow_tree() -> None:
    """ffmpeg's parser gives up about a hundred levels deep, and every level is paid for with every frame."""
    kept = draw_ranges(random.Random(3000), 3000)
    tree = parse_tree(build_select(kept))
    assert measure_depth(tree) == 13  # 6000 edges: 2**12 < 6001 leaves <= 2**13
    for start, end in kept:
        assert [evaluate(tree, frame) for frame in (start - 1, start, end - 1, end)] == [0, 1, 1, 0]


# --- the sound that goes with them ---


def at_sample(frame: int, rate: int, timebase: Fraction) -> int:
    """S(i) of the design: the sample at which frame i starts, halves upwards."""
    return floor(frame * rate / timebase + Fraction(1, 2))


def write_track(folder: Path, samples: Samples, rate: int) -> Track:
    path = folder / "track0.s16"
    path.write_bytes(samples.astype("<i2").tobytes())
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    return Track(path=path, rate=rate, channels=samples.shape[1], layout=layout, samples=samples.shape[0])


def hear(track: Track, timeline: Timeline) -> Samples:
    data = b"".join(assemble_sound(track, timeline))
    return np.frombuffer(data, "<i2").reshape(-1, track.channels).astype(np.int16)


@pytest.mark.parametrize(
    ("rate", "timebase", "channels", "chunks"),
    [
        (11025, Fraction(599, 20), 1, 4000),
        (8000, Fraction(60000, 1001), 2, 4000),
        (22050, Fraction(24000, 1001), 1, 1000),
        (44100, NTSC, 2, 600),
        (48000, Fraction(688, 25), 1, 600),
        (16000, Fraction(25), 1, 600),
    ],
)
def test_samples_are_those_of_the_kept_frames_however_many_cuts(
    tmp_path: Path, rate: int, timebase: Fraction, channels: int, chunks: int
) -> None:
    kept = draw_ranges(random.Random(chunks), chunks, longest=4)
    timeline = Timeline.from_kept(timebase, kept[-1][1] + 3, kept)
    # never 0, so that silence and fades stand out
    source = np.random.default_rng(1).integers(
        1000, 32768, (at_sample(timeline.frames, rate, timebase), channels), dtype=np.int16
    )
    heard = hear(write_track(tmp_path, source, rate), timeline)

    assert len(heard) == at_sample(timeline.kept_frames, rate, timebase)
    fade, offset = rate * 5 // 1000, 0
    for number, (start, end) in enumerate(kept):
        out = at_sample(offset, rate, timebase)
        offset += end - start
        piece = heard[out : at_sample(offset, rate, timebase)]
        first = at_sample(start, rate, timebase)
        original = source[first : first + len(piece)]
        low = 0 if number == 0 else fade
        high = len(piece) if number == chunks - 1 else len(piece) - fade
        assert np.array_equal(piece[low:high], original[low:high]), f"piece {number}"
        faded = [*range(low), *range(high, len(piece))]
        assert (piece[faded] <= original[faded]).all()
        assert (piece[faded] >= 0).all()
        if number > 0:
            assert (piece[0] < original[0] * 0.1).all()
        if number < chunks - 1:
            assert (piece[-1] < original[-1] * 0.1).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_an_uncut_source_is_heard_unchanged_over_many_blocks(tmp_path: Path, channels: int) -> None:
    frames = 2 * BLOCK_SAMPLES // 1471 + 20
    source = np.random.default_rng(2).integers(
        -32768, 32768, (at_sample(frames, 44100, NTSC), channels), dtype=np.int16
    )
    heard = hear(write_track(tmp_path, source, 44100), Timeline.uncut(NTSC, frames))
    assert np.array_equal(heard, source)


def gains(tmp_path: Path, timeline: Timeline, rate: int, *, level: int = 10_000) -> NDArray[np.float64]:
    """Return by what the samples of a steady tone of ``level`` were multiplied."""
    source = np.full((at_sample(timeline.frames, rate, timeline.timebase), 1), level, np.int16)
    return np.asarray(hear(write_track(tmp_path, source, rate), timeline)[:, 0] / level, np.float64)


def test_fades_of_5_ms_lie_at_the_seam_and_nowhere_else(tmp_path: Path) -> None:
    gain = gains(tmp_path, Timeline.from_kept(FPS, 100, [(10, 40), (60, 90)]), 48000)
    seam = 30 * 1600
    assert np.flatnonzero(gain < 1).tolist() == [*range(seam - 240, seam + 240)]
    fade_out, fade_in = gain[seam - 240 : seam], gain[seam : seam + 240]
    assert np.diff(fade_out) == pytest.approx(-1 / 240, abs=2e-4)  # linear, whole samples
    assert np.diff(fade_in) == pytest.approx(1 / 240, abs=2e-4)
    assert max(fade_out[-1], fade_in[0]) <= 1 / 240
    assert min(fade_out[0], fade_in[-1]) >= 1 - 1 / 240


def test_fades_are_whole_where_a_block_ends_inside_them(tmp_path: Path) -> None:
    """The piece after the seam is one block and a little long, so its fade-out lies in two blocks."""
    frames = BLOCK_SAMPLES // 1600 + 1
    rest = frames * 1600 - BLOCK_SAMPLES
    rate = 48000 * (rest + 100) // rest  # a fade longer than what the last block holds
    timeline = Timeline.from_kept(Fraction(rate, 1600), frames + 20, [(0, frames), (frames + 10, frames + 20)])
    gain = gains(tmp_path, timeline, rate)
    fade, seam = rate * 5 // 1000, frames * 1600
    assert np.flatnonzero(gain < 1).tolist() == [*range(seam - fade, seam + fade)]
    assert (np.diff(gain[seam - fade : seam]) < 0).all()


def test_neither_end_of_the_result_is_faded_although_the_source_goes_on(tmp_path: Path) -> None:
    assert (gains(tmp_path, Timeline.from_kept(FPS, 100, [(10, 40)]), 48000) == 1).all()


def test_pieces_that_touch_are_no_seam(tmp_path: Path) -> None:
    assert (gains(tmp_path, Timeline.from_kept(FPS, 100, [(10, 40), (40, 90)]), 48000) == 1).all()


@pytest.mark.parametrize("timebase", [Fraction(240), Fraction(240000, 1001), Fraction(48000, 201)])
def test_the_fades_of_a_short_piece_take_half_of_it_each(tmp_path: Path, timebase: Fraction) -> None:
    """A frame of 200 samples at 48 kHz has no room for two fades of 240."""
    gain = gains(tmp_path, Timeline.from_kept(timebase, 40, [(0, 10), (20, 21), (30, 40)]), 48000)
    piece = gain[at_sample(10, 48000, timebase) : at_sample(11, 48000, timebase)]
    half = len(piece) // 2
    assert (np.diff(piece[:half]) > 0).all()
    assert (np.diff(piece[len(piece) - half :]) < 0).all()
    assert piece.max() >= 0.99
    assert piece == pytest.approx(piece[::-1], abs=1e-4)


def test_the_lowest_sample_is_faded_without_wrapping(tmp_path: Path) -> None:
    timeline = Timeline.from_kept(FPS, 100, [(0, 10), (60, 90)])
    assert (gains(tmp_path, timeline, 48000, level=-32768) >= 0).all()


def test_where_the_source_has_no_sound_there_is_silence(tmp_path: Path) -> None:
    source = np.full((15 * 1600 + 7, 2), 10_000, np.int16)
    timeline = Timeline.from_kept(FPS, 300, [(0, 5), (10, 20), (200, 300)])
    heard = hear(write_track(tmp_path, source, 48000), timeline)
    assert len(heard) == 115 * 1600
    last = 10 * 1600 + 7  # frames 0-4 and 10-14, and seven samples of the next
    assert (heard[last - 1] > 0).all()
    assert not heard[last:].any()


def test_a_track_without_samples_is_silence_of_the_right_length(tmp_path: Path) -> None:
    heard = hear(write_track(tmp_path, np.zeros((0, 1), np.int16), 44100), Timeline.uncut(NTSC, 300))
    assert len(heard) == 441441
    assert not heard.any()


# --- the command ---

VIDEO = VideoStream(
    index=0,
    codec="h264",
    width=1280,
    height=720,
    average_rate=FPS,
    nominal_rate=FPS,
    vfr=False,
    pixel_format="yuv420p",
    color_transfer="bt709",
    hdr=False,
    full_range=False,
    rotation=0,
    sample_aspect=Fraction(1),
    bit_rate=4_000_000,
    first_frame=Fraction(0),
    frames=300,
    duration_ms=10_000,
)


def sound_track(rate: int = 48000, layout: str = "stereo") -> Track:
    channels = 1 if layout == "mono" else 2
    return Track(path=Path("track0.s16"), rate=rate, channels=channels, layout=layout, samples=rate)


def plan_of(
    *tracks: Track,
    video: VideoStream = VIDEO,
    timeline: Timeline | None = None,
    ass: str | None = None,
    track_vtt: str | None = None,
) -> RenderPlan:
    return RenderPlan(
        source=Path("/media/my 'talk': [1].mp4"),
        probe=Probe(
            name="talk.mp4",
            format="mov,mp4,m4a,3gp,3g2,mj2",
            size_bytes=1,
            duration_ms=video.duration_ms,
            video=video,
            audio=(),
        ),
        timeline=timeline or Timeline.from_kept(FPS, 300, [(30, 90), (120, 240)]),
        sound=Sound(tracks=tracks, delivered=tracks, speech=None, speech_samples=0),
        language="deu",
        ass=ass,
        track_vtt=track_vtt,
    )


def read_graph(plan: RenderPlan) -> list[str]:
    """Return the filters of the picture in order, each as ``name=arguments`` with escapes undone."""
    _, graph = build_command(plan, Path("/out/video.mp4"))
    links = {}
    for link in re.split(r"(?<!\\);", graph):
        match = re.fullmatch(r"((?:\[[^]]*\])+)(.*?)(\[\w+\])", link)
        assert match, link
        links[match[1]] = (match[2].replace("\\", ""), match[3])
    at, filters = f"[0:{plan.probe.video.index}]", []
    while at in links:
        text, at = links[at]
        filters.append(text)
    return filters


def read_args(plan: RenderPlan) -> list[str]:
    return build_command(plan, Path("/out/video.mp4"))[0]


def value_of(args: list[str], flag: str) -> str:
    assert args.count(flag) == 1, f"{flag} occurs {args.count(flag)} times"
    return args[args.index(flag) + 1]


def test_the_graph_puts_the_source_on_the_grid_picks_its_frames_and_sizes_them() -> None:
    plan = plan_of()
    assert read_graph(plan) == [
        "fps=fps=30/1:start_time=0.000000",
        "tpad=stop=2:stop_mode=clone",
        "trim=end_frame=240",
        f"select={build_select(plan.timeline.kept)}",
        "setpts=N",
        "scale=1280:720:out_range=tv",
        "setsar=1",
        "format=yuv420p",
    ]


def test_every_seam_of_many_is_in_the_graph() -> None:
    kept = draw_ranges(random.Random(300), 300)
    plan = plan_of(timeline=Timeline.from_kept(FPS, kept[-1][1], kept))
    (select,) = (part for part in read_graph(plan) if part.startswith("select="))
    tree = parse_tree(select.removeprefix("select="))
    inside = {frame for start, end in kept for frame in range(start, end)}
    assert [frame for frame in range(kept[-1][1]) if evaluate(tree, frame)] == sorted(inside)


def test_the_graph_has_the_exact_rate_and_begins_at_the_first_picture() -> None:
    """Times are the container's own: ffmpeg would shift them by the earliest of the streams it uses."""
    plan = plan_of(video=replace(VIDEO, first_frame=Fraction(3, 2)), timeline=Timeline.uncut(NTSC, 299))
    assert read_graph(plan)[0] == "fps=fps=30000/1001:start_time=1.500000"
    assert "-copyts" in read_args(plan)


@pytest.mark.parametrize(("end", "least"), [(300, 0), (360, 60), (3000, 2700)])
def test_the_last_picture_is_held_while_the_sound_goes_on(end: int, least: int) -> None:
    graph = read_graph(plan_of(timeline=Timeline.uncut(FPS, end)))
    (tpad,) = (part for part in graph if part.startswith("tpad="))
    match = re.fullmatch(r"tpad=stop=(\d+):stop_mode=clone", tpad)
    assert match
    assert least <= int(match[1]) <= least + 5
    assert f"trim=end_frame={end}" in graph


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turning_is_left_to_ffmpeg_and_the_size_is_said_outright(rotation: int) -> None:
    """The command line tool applies the display matrix before the graph; a filter would turn the picture twice."""
    plan = plan_of(video=replace(VIDEO, width=720, height=1280, rotation=rotation))
    graph = read_graph(plan)
    assert "scale=720:1280:out_range=tv" in graph
    assert not any(part.startswith(("transpose", "rotate", "hflip", "vflip")) for part in graph)
    assert not {"-autorotate", "-noautorotate"} & set(read_args(plan))


def test_hdr_is_mapped_before_it_is_sized_and_nothing_else_is() -> None:
    chain = [
        ("zscale", {"t=linear", "npl=100"}),
        ("format", {"gbrpf32le"}),
        ("zscale", {"p=bt709"}),
        ("tonemap", {"hable", "desat=0"}),
        ("zscale", {"t=bt709", "m=bt709", "r=tv"}),
        ("format", {"yuv420p"}),
    ]
    graph = [part.partition("=") for part in read_graph(plan_of(video=replace(VIDEO, hdr=True)))]
    parts = [(name, set(args.split(":"))) for name, _, args in graph]
    at = [name for name, _ in parts].index("setpts") + 1
    assert parts[at : at + len(chain)] == chain
    assert parts[at + len(chain)][0] == "scale"
    assert not any(part.startswith(("zscale", "tonemap")) for part in read_graph(plan_of()))


def test_captions_are_drawn_last_in_the_final_size() -> None:
    graph = read_graph(plan_of(ass="[Script Info]"))
    assert graph[-4:] == ["scale=1280:720:out_range=tv", "setsar=1", "ass=cues.ass:fontsdir=fonts", "format=yuv420p"]
    assert not any(part.startswith("ass") for part in read_graph(plan_of()))


def test_the_chosen_video_stream_is_used() -> None:
    _, graph = build_command(plan_of(video=replace(VIDEO, index=3)), Path("/out/video.mp4"))
    assert graph.startswith("[0:3]fps=")


def test_the_source_is_opened_behind_the_walls_and_by_its_whole_name() -> None:
    args = read_args(plan_of(sound_track()))
    at = args.index("-i")
    assert args[at + 1] == "/media/my 'talk': [1].mp4"
    before = args[:at]
    assert value_of(before, "-protocol_whitelist") == "file,pipe"
    demuxers = value_of(before, "-format_whitelist").split(",")
    assert {"mp4", "mov", "avi", "matroska"} <= set(demuxers)
    assert not {"hls", "dash", "concat", "image2", "lavfi"} & set(demuxers)


def test_the_graph_is_a_file_and_the_target_comes_last() -> None:
    args = read_args(plan_of(sound_track()))
    assert value_of(args, "-/filter_complex") == "graph.txt"
    assert "-filter_complex" not in args
    assert args[-1] == "/out/video.mp4"
    assert "-frames:v" not in args  # it would end the sound early as well


def test_the_result_is_what_every_player_takes() -> None:
    args = read_args(plan_of(sound_track()))
    for flag, value in {
        "-c:v": "libx264",
        "-profile:v": "high",
        "-c:a": "aac",
        "-fps_mode": "passthrough",
        "-movflags": "+faststart",
        "-map_metadata": "-1",
        "-metadata:s:a:0": "language=deu",
    }.items():
        assert value_of(args, flag) == value
    assert args[len(args) - 1 - args[::-1].index("-ar") + 1] == "48000"


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_one_track_is_a_pipe_of_its_own_shape(layout: str) -> None:
    args, graph = build_command(plan_of(sound_track(44100, layout)), Path("/out/video.mp4"))
    before = args[args.index("-f") : args.index("pcm0") + 1]
    assert [value_of(before, flag) for flag in ("-f", "-ar", "-ch_layout", "-i")] == ["s16le", "44100", layout, "pcm0"]
    assert args.count("-map") == 2
    assert "amix" not in graph


def test_one_channel_is_heard_on_both_sides_as_loud_as_it_was() -> None:
    _, graph = build_command(plan_of(sound_track(44100, "mono")), Path("/out/video.mp4"))
    assert "[1:a]channelmap=0|0:stereo[" in graph.replace("\\", "")
    _, graph = build_command(plan_of(sound_track(44100, "stereo")), Path("/out/video.mp4"))
    assert "channelmap" not in graph


def test_several_tracks_are_mixed_without_turning_them_down() -> None:
    args, graph = build_command(plan_of(*[sound_track()] * 3), Path("/out/video.mp4"))
    assert [part for part in args if part.startswith("pcm")] == ["pcm0", "pcm1", "pcm2"]
    match = re.search(r"\[1:a\]\[2:a\]\[3:a\]amix=([^\[]*)(\[\w+\])", graph)
    assert match
    assert set(match[1].split(":")) == {"inputs=3", "normalize=0"}
    assert match[2] in args


def test_without_sound_there_is_no_sound_track() -> None:
    args = read_args(plan_of())
    assert not {"-c:a", "-b:a", "-ar", "pcm0"} & set(args)
    assert args.count("-map") == 1


@pytest.mark.parametrize("tracks", [0, 1, 2])
def test_captions_as_a_track_have_their_language(tracks: int) -> None:
    args = read_args(plan_of(*[sound_track()] * tracks, track_vtt="WEBVTT\n"))
    at = args.index("track.vtt")
    assert args[at - 3 : at] == ["-f", "webvtt", "-i"]
    assert value_of(args, "-c:s") == "mov_text"
    assert value_of(args, "-metadata:s:s:0") == "language=deu"
    assert f"{tracks + 1}:s" in args  # the input after the source and the sound
    assert not {"track.vtt", "-c:s", "-metadata:s:s:0"} & set(read_args(plan_of(sound_track())))


def test_the_graph_grows_with_the_cuts_and_the_command_does_not() -> None:
    def build(cuts: int) -> tuple[list[str], str]:
        timeline = Timeline.from_kept(FPS, 10**6, draw_ranges(random.Random(1), cuts))
        return build_command(plan_of(timeline=timeline), Path("/out/video.mp4"))

    (few_args, few_graph), (many_args, many_graph) = build(2), build(3000)
    assert sum(map(len, many_args)) == sum(map(len, few_args))
    assert len(many_graph) > 100 * len(few_graph)


@pytest.mark.parametrize(
    ("bit_rate", "size", "timebase", "limit"),
    [
        (4_000_000, (1920, 1080), FPS, 8_000_000),  # twice the source's own
        (40_000_000, (1920, 1080), FPS, 12_000_000),  # enough for any screen
        (40_000_000, (3840, 2160), FPS, 48_000_000),  # in proportion to its pixels
        (40_000_000, (1920, 1080), Fraction(60), 24_000_000),  # and pictures
        (50_000, (1920, 1080), FPS, 3_000_000),  # a still source with captions
        (1_000, (160, 90), FPS, 200_000),
    ],
)
def test_the_rate_is_limited(bit_rate: int, size: tuple[int, int], timebase: Fraction, limit: int) -> None:
    video = replace(VIDEO, width=size[0], height=size[1], bit_rate=bit_rate)
    args = read_args(plan_of(video=video, timeline=Timeline.uncut(timebase, 300)))
    assert (value_of(args, "-maxrate"), value_of(args, "-bufsize")) == (str(limit), str(2 * limit))
