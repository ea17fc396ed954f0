"""Sound that players stumble over comes out as it was: in place, at its pitch and level, without clicks and holes."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.media.clips import flash_beep_clip, numbered_clip
from tests.media.codes import Samples, tone
from tests.media.encode import PLAIN, Coding, Film, SoundTrack, write_clip
from tests.media.hard import (
    X264,
    channel_levels,
    drop_sound,
    ffmpeg,
    high_pass,
    pitch,
    process,
    sound_clip,
    tone_levels,
)
from tests.media.measure import find_beeps, find_flashes, read_numbers, read_sound

RATE = 48000
FADE_MS = 5
SYNC_MS = 0.2
"""Ten samples: what exact arithmetic needs. Half a frame would be forgiven."""
LEVEL_DB = 0.3
"""AAC at 160 kbit/s moves a steady tone by less."""
SILENCE = 40
"""-58 dB: what AAC leaves of a loud neighbour in a silent frame."""
PCM = ("-c:a", "pcm_s16le")


def _speech_like(samples: int) -> Samples:
    """Return noise with the slope of speech (6 dB an octave down from 500 Hz) that swells three times a second."""
    random = np.random.default_rng(3)
    spectrum = np.fft.rfft(random.normal(size=samples))
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum *= 1 / np.maximum(1, hertz / 500)
    noise = np.fft.irfft(spectrum, samples)
    noise *= 0.75 + 0.25 * np.sin(2 * np.pi * 3 * np.arange(samples) / RATE)
    return np.asarray(np.round(noise / np.abs(noise).max() * 16000), dtype=np.int16)


def _cut_hard(samples: Samples, kept: list[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Return what cutting without any fade makes of ``samples``."""
    return np.concatenate([samples[start * 1600 : end * 1600] for start, end in kept]).astype(np.float64)


@pytest.mark.parametrize("material", ["speech", "tone"])
def test_no_seam_clicks(material: str, tmp_path: Path) -> None:
    """Sound cut in the middle of its waves: above 4 kHz nothing at a seam is louder than the sound itself elsewhere.

    A pure tone has nothing up there of its own: at its seams at least 20 dB less than a cut without fades leaves.
    """
    frames = 360
    length = frames * 1600
    samples = _speech_like(length) if material == "speech" else tone(RATE, length, hertz=437, level=0.5)
    track = SoundTrack(rate=RATE, end=Fraction(frames, 30), marks=[(Fraction(0), samples)], noise=0)
    source = tmp_path / "talk.mov"
    write_clip(source, Film(numbers=np.arange(frames), rate=Fraction(30), size=(160, 90)), [track],
               Coding(suffix=".mov", picture=PLAIN.picture, sound=PCM))  # fmt: skip
    kept = [(at, at + 7 + at % 5) for at in range(3, frames - 20, 17)]
    sound = read_sound(process(source, tmp_path, kept=kept, frames=frames).files["video.mp4"])
    seams = [at * 1600 for at in accumulate(end - start for start, end in kept)][:-1]
    heard = np.abs(high_pass(sound.samples.astype(np.float64), RATE, 4000))
    near = np.zeros(len(heard), bool)
    for seam in seams:
        near[seam - 2 * FADE_MS * 48 : seam + 2 * FADE_MS * 48] = True
    inner = np.ones(len(heard), bool)
    inner[:4800] = inner[-4800:] = False  # the file's own ends are no seams
    at_seams, elsewhere = float(heard[near & inner].max()), float(heard[~near & inner].max())
    unfaded = np.abs(high_pass(_cut_hard(samples, kept), RATE, 4000))
    hard = float(unfaded[near[: len(unfaded)]].max())
    print(f"{material:>6}  {len(seams)} seams: peak above 4 kHz {at_seams:.0f}, elsewhere {elsewhere:.0f}, "
          f"without fades {hard:.0f}")  # fmt: skip
    assert at_seams <= (elsewhere if material == "speech" else hard / 10)


TRACKS = {None: (1500.0,), 0: (500.0, 1500.0), 1: (500.0,), 2: (1500.0,), 3: (1500.0,)}


@pytest.mark.parametrize("track", TRACKS, ids=["default", "mix", "first", "second", "none such"])
def test_the_track_that_is_asked_for_is_heard(track: int | None, tmp_path: Path) -> None:
    """The second of two is marked as default. A track that is not wanted must be 60 dB down: not there at all."""
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=160x90:r=30:d=2", "-f", "lavfi", "-i", "sine=500:d=2"),
        *("-f", "lavfi", "-i", "sine=1500:d=2", "-map", 0, "-map", 1, "-map", 2, *X264, "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-disposition:a:0", "0", "-disposition:a:1", "default", "two.mkv"),
        cwd=tmp_path,
    )
    result = process(tmp_path / "two.mkv", tmp_path, audio_track=track)
    sound = read_sound(result.files["video.mp4"])
    levels = dict(zip((500.0, 1500.0), tone_levels(sound, (500.0, 1500.0), 0.5, 1.5), strict=True))
    print(f"track {track}: " + ", ".join(f"{hertz:.0f} Hz {level:.1f} dB" for hertz, level in levels.items()))
    wanted = TRACKS[track]
    for hertz, level in levels.items():  # ffmpeg's sine is an eighth of full scale: -18.1 dB
        assert level == pytest.approx(-18.1, abs=LEVEL_DB) if hertz in wanted else level < -78
    assert ("audio_track" in {note.code for note in result.notes}) is (track == 3)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
def test_mono_of_any_rate_keeps_its_level_and_pitch(rate: int, tmp_path: Path) -> None:
    """Pitch within 0.1 Hz of 1 kHz: a rate that is taken for another one is off by percents."""
    source = sound_clip(tmp_path / "mono.mov", ["0.5*sin(1000*2*PI*t)"], *PCM, rate=rate, layout="mono")
    video = process(source, tmp_path).files["video.mp4"]
    levels, heard = channel_levels(video, 0.5, 1.5), pitch(read_sound(video), 0.5, 1.5)
    print(f"{rate:>6} Hz  {heard:.2f} Hz at {levels[0]:.2f} and {levels[1]:.2f} dB")
    assert levels == pytest.approx([-6.02, -6.02], abs=LEVEL_DB)
    assert heard == pytest.approx(1000, abs=0.1)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_sound_of_any_rate_stays_in_sync_through_cuts(rate: int, tmp_path: Path) -> None:
    coding = Coding(suffix=".mov", picture=PLAIN.picture, sound=PCM)
    clip = flash_beep_clip(tmp_path / "clip.mov", rate=Fraction(30000, 1001), n_events=10, duration_s=20,
                           audio_rate=rate, coding=coding)  # fmt: skip
    _check_sync(process(clip.path, tmp_path, cut=True).files["video.mp4"], events=10, label=f"{rate} Hz")


def _check_sync(video: Path, *, events: int, label: str, apart_ms: float = 0.0) -> None:
    flashes, beeps = find_flashes(video), find_beeps(video)
    assert (len(flashes), len(beeps)) == (events, events)
    moved = [(beep - flash) * 1000 - apart_ms for flash, beep in zip(flashes, beeps, strict=True)]
    print(f"{label:>14}  {events} events, worst {max(moved, key=abs):+.3f} ms")
    assert moved == pytest.approx([0.0] * events, abs=SYNC_MS)


CHANNELS = {"FL": (0, None), "FR": (None, 0), "FC": (-3, -3), "BL": (-3, None), "BR": (None, -3)}
"""Where each speaker goes in stereo, in dB against its own level (ITU-R BS.775); None is silence. LFE is left out."""


@pytest.mark.parametrize("codec", [("-c:a", "pcm_s16le"), ("-c:a", "aac", "-b:a", "384k")], ids=["pcm", "aac"])
def test_surround_becomes_stereo(codec: tuple[str, ...], tmp_path: Path) -> None:
    """One speaker after the other sounds for half a second; silence is 40 dB down, which AAC's smear stays below."""
    order = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    slots = [f"0.5*sin(1000*2*PI*t)*between(t,{at / 2},{at / 2 + 0.5})" for at in range(len(order))]
    source = sound_clip(tmp_path / "surround.mov", slots, *codec, rate=RATE, layout="5.1", frames=90)
    video = process(source, tmp_path).files["video.mp4"]
    for at, name in enumerate(order):
        left, right = channel_levels(video, at / 2 + 0.1, at / 2 + 0.4)
        print(f"{name:>4}  {left + 6.02:6.1f} {right + 6.02:6.1f} dB")
        for level, wanted in zip((left, right), CHANNELS.get(name, (None, None)), strict=True):
            if wanted is None:
                assert level < -46
            else:
                assert level == pytest.approx(wanted - 6.02, abs=LEVEL_DB)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov"])
def test_holes_in_the_sound_are_silence_of_their_length(suffix: str, tmp_path: Path) -> None:
    """Sound packets are missing between two beeps and over a third: all later ones still meet their flash.

    Matroska counts milliseconds: half of one on top of the exact tolerance.
    """
    clip = flash_beep_clip(tmp_path / "clip.mp4", rate=Fraction(30), duration_s=8, noise=0.02,
                           events_ms=[1000, 2000, 4000, 5000, 6000, 7000])  # fmt: skip
    gaps = [(2.4, 3.7), (4.9, 5.5)]
    source = drop_sound(clip.path, tmp_path / f"holes{suffix}", gaps)
    video = process(source, tmp_path).files["video.mp4"]
    sound, flashes = read_sound(video), find_flashes(video)
    wanted = [flash for flash, event in zip(flashes, clip.events, strict=True) if event.time != 5]
    moved = [(beep - flash) * 1000 for flash, beep in zip(wanted, find_beeps(video), strict=True)]
    inside = [int(np.abs(sound.between(start + 0.03, end - 0.03)).max()) for start, end in gaps]
    around = [int(np.abs(sound.between(start - 0.2, start - 0.03)).max()) for start, _ in gaps]
    print(f"{suffix:>5}  worst {max(moved, key=abs):+.3f} ms; peaks inside {inside}, before {around}")
    assert moved == pytest.approx([0.0] * 5, abs=SYNC_MS + (0.5 if suffix == ".mkv" else 0))
    assert max(inside) <= SILENCE < min(around)
    assert read_numbers(video)[:240] == list(range(240))


def test_a_jump_of_the_clock_is_a_pause(tmp_path: Path) -> None:
    """A transport stream goes on 12 seconds later, as after a pause of the recorder: nothing is lost on either side."""
    coding = Coding(suffix=".ts", picture=(*X264, "-pix_fmt", "yuv420p", "-g", "30"))
    clip = flash_beep_clip(tmp_path / "part.ts", rate=Fraction(30), duration_s=3, events_ms=[1300, 2200], coding=coding)
    ffmpeg("-i", clip.path, "-c", "copy", "-output_ts_offset", 15, "later.ts", cwd=tmp_path)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(clip.path.read_bytes() + (tmp_path / "later.ts").read_bytes())
    _check_sync(process(joined, tmp_path, cut=True).files["video.mp4"], events=4, label="clock jumps")


@pytest.mark.parametrize(
    ("sound_s", "frames"),
    [(1.5, 90), (4.5, 135), (3.0, 90), (3.01, 90)],
    ids=["half as long", "half as long again", "as long", "a hundredth longer"],
)
def test_picture_and_sound_need_not_end_together(sound_s: float, frames: int, tmp_path: Path) -> None:
    """The longer one decides: the last picture stands, or silence follows. Less than a frame of sound adds no frame."""
    clip = numbered_clip(tmp_path / "clip.mov", frames=90, loud=[(30, 40)], sound_s=sound_s,
                         coding=Coding(suffix=".mov", picture=PLAIN.picture, sound=PCM))  # fmt: skip
    video = process(clip.path, tmp_path).files["video.mp4"]
    assert read_numbers(video) == [min(at, 89) for at in range(frames)]
    sound = read_sound(video)
    print(f"sound of {sound_s} s over 3 s: {frames} frames, sound ends at {float(sound.end):.4f} s")
    assert float(sound.end) == pytest.approx(frames / 30, abs=0.001)  # a millisecond: MP4's edit list counts them
    assert np.abs(sound.between(1.05, 1.3)).max() > 10000
    if sound_s < 3:
        assert np.abs(sound.between(sound_s + 0.05, 3)).max() <= SILENCE


@pytest.mark.parametrize(
    ("audio_ms", "video_ms"),
    [(700, 0), (0, 700), (1500, 400), (33, 0)],
    ids=["sound late", "sound early", "both late", "a frame late"],
)
def test_sound_may_begin_before_or_after_the_picture(audio_ms: int, video_ms: int, tmp_path: Path) -> None:
    clip = flash_beep_clip(tmp_path / "clip.mp4", rate=Fraction(30), n_events=5, duration_s=12,
                           audio_offset_ms=audio_ms, video_offset_ms=video_ms)  # fmt: skip
    _check_sync(process(clip.path, tmp_path, cut=True).files["video.mp4"], events=5, label=f"{audio_ms}/{video_ms} ms")
