"""A talk whose every word is known to the sample, at three noise levels, cut and captioned, then measured.

The truth is what was synthesised, never what a recogniser heard.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.cuts import to_frames
from pipeline.options import PACES
from pipeline.timeline import Timeline, read_timeline
from tests.media.measure import read_sound
from tests.media.speech import Talk, talk
from tests.media.talks import run_command, write_video
from tests.vtt import parse_vtt

WORDS = tuple(
    """
    apple river stone window garden winter yellow market doctor mountain paper silver morning kitchen bottle summer
    bridge number pencil orange station music father water table dinner forest animal island ticket
    """.split()  # noqa: SIM905 - a text to be spoken
)
NUMBERS = tuple(
    """
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty
    """.split()  # noqa: SIM905
)
_ENDS = ("is a red house", "stands near the river", "was found in the garden", "belongs to my brother", "is for you")
SENTENCES = tuple(f"Number {number} {_ENDS[i % len(_ENDS)]}." for i, number in enumerate(NUMBERS))
EDGE_DBFS = -15.0
"""Words are trimmed to where they are loud, so that a word's true end is also where the rules see it end."""
NOISE = {"quiet": -70.0, "room": -55.0, "fan": -42.0}
"""White noise in dB RMS below full scale; the words peak at -3 dB."""
FRAME_MS = 1000 / 30


def make_talk(noise_dbfs: float) -> Talk:
    """Return the words with pauses of 200 to 3000 ms between them, none close to a pace's shortest pause."""
    lengths = (200, 250, 800, 1300, 450, 2000, 250, 750, 3000, 450)
    pauses = [1500, *(lengths[i % len(lengths)] for i in range(len(WORDS) - 1)), 1800]
    return talk(WORDS, pauses, noise_dbfs=noise_dbfs, seed=7, edge_dbfs=EDGE_DBFS)


@dataclass(frozen=True)
class Delivered:
    talk: Talk
    source: Path
    out: Path
    timeline: Timeline

    def to_output_ms(self, source_ms: float) -> float:
        """Return where an instant of the source plays; inside a cut, where the cut is."""
        frame = source_ms * float(self.timeline.timebase) / 1000
        before = 0.0
        for start, end, kept in self.timeline.chunks:
            if kept:
                before += min(max(frame - start, 0), end - start)
        return before * 1000 / float(self.timeline.timebase)


@pytest.fixture(
    scope="module",
    params=[
        *((noise, "natural") for noise in NOISE),
        ("room", "tight"),
        *(pytest.param((noise, "tight"), marks=pytest.mark.slow) for noise in ("quiet", "fan")),
    ],
    ids=str,
)
def delivered(request: pytest.FixtureRequest, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    assert weights.is_dir()
    noise, pace = request.param
    folder = tmp_path_factory.mktemp(f"{noise}-{pace}")
    made = make_talk(NOISE[noise])
    source = write_video(
        folder / "talk.mp4", made.samples, options=("-c:a", "alac")
    )  # a lossy codec sounds before its word
    ended = run_command(source, "-o", folder / "out", "--pace", pace, "--language", "en")
    assert ended.status == 0, ended.errors
    timeline = read_timeline(folder / "out" / "timeline.json", default_timebase=Fraction(30))
    return Delivered(made, source, folder / "out", timeline)


def pace_of(delivered: Delivered) -> str:
    margin = json.loads((delivered.out / "report.json").read_text())["cuts"]["margin_ms"]
    return next(name for name, pace in PACES.items() if list(pace.margin_ms) == margin)


def test_pauses_are_out_by_the_rule_of_the_pace(delivered: Delivered) -> None:
    pace = PACES[pace_of(delivered)]
    words = delivered.talk.words
    gaps = [(0, words[0].start_ms), *((a.end_ms, b.start_ms) for a, b in pairwise(words))]
    before, after = (to_frames(margin, Fraction(30)) * FRAME_MS for margin in pace.margin_ms)
    expected = [
        (0.0 if start == 0 else start + after, end - before) for start, end in gaps if end - start > pace.min_pause_ms
    ]
    expected.append((words[-1].end_ms + after, float(delivered.talk.duration_ms)))
    cuts = [(start * FRAME_MS, end * FRAME_MS) for start, end in delivered.timeline.removed]
    assert len(cuts) == len(expected), [(round(a), round(b)) for a, b in cuts]
    off = [max(abs(cut[0] - rule[0]), abs(cut[1] - rule[1])) for cut, rule in zip(cuts, expected, strict=True)]
    print(f"{len(cuts)} pauses cut, worst edge {max(off):.1f} ms off the rule (a frame is {FRAME_MS:.1f} ms)")
    report = json.loads((delivered.out / "report.json").read_text())
    heard = json.loads((delivered.out / "transcript.json").read_text())["words"]
    assert max(off) <= FRAME_MS + 1, (cuts[off.index(max(off))], expected[off.index(max(off))], report["cuts"], heard)


def test_every_word_sounds_as_in_the_source(delivered: Delivered) -> None:
    source, result = read_sound(delivered.source), read_sound(delivered.out / "video.mp4")
    worst_db, least_likeness = 0.0, 1.0
    for word in delivered.talk.words:
        start, length = word.start_ms / 1000, (word.end_ms - word.start_ms) / 1000
        at = delivered.to_output_ms(word.start_ms) / 1000
        spoken = source.between(start, start + length).astype(np.float64)
        heard = result.between(at, at + length).astype(np.float64)
        heard = np.interp(np.linspace(0, len(heard) - 1, len(spoken)), np.arange(len(heard)), heard)
        worst_db = max(worst_db, abs(20 * np.log10(np.std(heard) / np.std(spoken))))
        size = 2 * len(spoken)
        lagged = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(spoken, size)))
        near = max(lagged[: source.sample_rate // 100].max(), lagged[-source.sample_rate // 100 :].max())
        least_likeness = min(least_likeness, float(near / np.sqrt((heard**2).sum() * (spoken**2).sum())))
    print(
        f"{len(delivered.talk.words)} words: worst level change {worst_db:.2f} dB, least likeness {least_likeness:.3f}"
    )
    assert worst_db < 0.7
    assert least_likeness > 0.93


def bare(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


@pytest.fixture(scope="module", params=NOISE)
def lecture(request: pytest.FixtureRequest, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    """Twenty numbered sentences with whole words, as people speak them, and the result of the default options."""
    assert weights.is_dir()
    folder = tmp_path_factory.mktemp(f"lecture-{request.param}")
    pauses = [1200, *((900, 1600, 1200, 2200)[i % 4] for i in range(len(SENTENCES)))]
    made = talk(SENTENCES, pauses, noise_dbfs=NOISE[request.param], seed=5)
    source = write_video(folder / "lecture.mp4", made.samples)
    ended = run_command(source, "-o", folder / "out")
    assert ended.status == 0, ended.errors
    timeline = read_timeline(folder / "out" / "timeline.json", default_timebase=Fraction(30))
    return Delivered(made, source, folder / "out", timeline)


def begins_sentence(text: str) -> bool:
    """Tell whether a word or a cue begins a sentence: all of them begin with the same word, and no other holds it."""
    return bare(text).startswith("number")


def test_captions_start_when_their_words_are_spoken(lecture: Delivered) -> None:
    """Every pause before a sentence was cut short, so a cue begins there, whatever mark the recogniser wrote.

    Which number it heard is its own affair: a cue is held to the nearest beginning of a sentence.
    """
    words = [word["text"] for word in json.loads((lecture.out / "transcript.json").read_text())["words"]]
    heard = [word for word in words if begins_sentence(word)]
    cues = parse_vtt((lecture.out / "captions.vtt").read_text())
    spoken_ms = np.array([lecture.to_output_ms(sentence.start_ms) for sentence in lecture.talk.words])
    errors = [np.abs(start - spoken_ms).min() for start, _, text in cues if begins_sentence(text)]
    p95 = float(np.percentile(errors, 95))
    print(
        f"{len(errors)} of {len(heard)} sentences heard begin a cue, {np.median(errors):.0f} ms off, p95 {p95:.0f} ms"
    )
    assert len(heard) > len(SENTENCES) // 2  # what is heard is the recogniser's; fewer would show little
    assert len(errors) == len(heard), cues
    assert p95 <= 250


def test_every_cue_of_a_lecture_covers_its_words(lecture: Delivered) -> None:
    require_cover(lecture)


def test_every_cue_covers_its_words(delivered: Delivered) -> None:
    require_cover(delivered)


def require_cover(delivered: Delivered) -> None:
    """A cue starts no later than its first word and ends no earlier than its last."""
    words = json.loads((delivered.out / "transcript.json").read_text())["words"]
    at = 0
    for start, end, text in parse_vtt((delivered.out / "captions.vtt").read_text()):
        count = 0
        joined = ""
        while bare(joined) != bare(text) and at + count < len(words):
            joined += words[at + count]["text"]
            count += 1
        assert count, text
        assert start <= delivered.to_output_ms(words[at]["start_ms"]) + 1
        assert end >= delivered.to_output_ms(words[at + count - 1]["end_ms"]) - 1
        at += count
    assert at == len(words)
