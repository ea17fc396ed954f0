"""Who cuts: the choice, the stand-in's cuts beside the built-in detector's, words that stay, and what steps in."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import autoeditor
from pipeline.audio import Sound, Track
from pipeline.cuts import CutRules, Flags, choose_rules
from pipeline.cutter import (
    RULES_VERSION,
    AutoEditorCutter,
    BuiltinCutter,
    Cut,
    FallbackCutter,
    choose_cutter,
    flags_of,
    protect,
)
from pipeline.errors import PipelineCancelled, PipelineError, ToolFailed, ToolMissing, ToolTimeout
from pipeline.levels import Levels, join_levels, measure_levels
from pipeline.models import Progress, RunContext, Stage
from pipeline.options import CutEngine, PipelineOptions
from pipeline.timeline import Timeline
from tests.media.auto_editor import write_fake

FPS = Fraction(30)


def make_sound(folder: Path, *, seconds: int = 40, rates: tuple[int, ...] = (8000,), seed: int = 5) -> Sound:
    """Return tracks of speech-like bursts with pauses of all lengths between them."""
    tracks = []
    for number, rate in enumerate(rates):
        random = np.random.default_rng(seed + number)
        samples = np.zeros(seconds * rate, np.int16)
        at = 0
        while at < len(samples):
            burst = random.integers(rate // 30, rate // 2)
            pause = random.integers(rate // 30, rate * 3)
            samples[at : at + burst] = random.integers(-9000, 9000, len(samples[at : at + burst]))
            at += int(burst + pause)
        path = folder / f"track{number}.s16"
        samples.tofile(path)
        tracks.append(Track(path=path, rate=rate, channels=1, layout="mono", samples=len(samples)))
    return Sound(tracks=tuple(tracks), delivered=tuple(tracks[:1]), speech=None, speech_samples=0)


def hear(sound: Sound, timebase: Fraction, more: int = 0) -> Levels:
    levels = join_levels([measure_levels(track, timebase) for track in sound.tracks])
    return join_levels([levels], len(levels) + more)


def options_with(program: Path | None, engine: CutEngine = CutEngine.AUTO_EDITOR, **more: Any) -> PipelineOptions:
    return replace(PipelineOptions(), cut_engine=engine, auto_editor=program, **more)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No auto-editor is installed."""
    monkeypatch.setattr(autoeditor, "_stub_folders", list)
    monkeypatch.setenv("PATH", str(tmp_path))


# --- the choice ---


@pytest.mark.parametrize(
    ("engine", "version", "chosen"),
    [
        (CutEngine.AUTO, "31.5.1", FallbackCutter),
        (CutEngine.AUTO, "30.0.0", FallbackCutter),
        (CutEngine.AUTO, "29.3.1", BuiltinCutter),
        (CutEngine.AUTO_EDITOR, "31.5.1", AutoEditorCutter),
        (CutEngine.AUTO_EDITOR, "28.1.0", AutoEditorCutter),
        (CutEngine.BUILTIN, "31.5.1", BuiltinCutter),
    ],
)
def test_who_is_chosen(tmp_path: Path, engine: CutEngine, version: str, chosen: type) -> None:
    options = options_with(write_fake(tmp_path / "fake", version), engine)
    assert type(choose_cutter(options, RunContext(workdir=tmp_path))) is chosen


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("more", [{"cut": False}, {"timeline": Path("cuts.json")}])
def test_nobody_is_looked_for_where_nothing_is_to_be_cut(tmp_path: Path, more: dict[str, Any]) -> None:
    assert isinstance(choose_cutter(options_with(None, **more), RunContext(workdir=tmp_path)), BuiltinCutter)


@pytest.mark.usefixtures("nowhere")
def test_a_missing_one_is_a_line_in_the_log_or_a_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ctx = RunContext(workdir=tmp_path)
    with caplog.at_level(logging.INFO):
        assert isinstance(choose_cutter(options_with(None, CutEngine.AUTO), ctx), BuiltinCutter)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            "INFO",
            "the built-in detector cuts: auto-editor is not installed. Run make auto-editor, or set "
            "AUTO_EDITOR_BINARY to its path.",
        )
    ]
    with pytest.raises(ToolMissing, match="AUTO_EDITOR_BINARY"):
        choose_cutter(options_with(None), ctx)


@pytest.mark.parametrize("mode", ["version crashes", "version hangs", "version is garbage"])
def test_a_broken_one_is_a_warning_or_a_failure(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(autoeditor, "_VERSION_S", 0.5)
    program = write_fake(tmp_path / "fake", mode=mode)
    ctx = RunContext(workdir=tmp_path)
    assert isinstance(choose_cutter(options_with(program, CutEngine.AUTO), ctx), BuiltinCutter)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with pytest.raises((ToolFailed, ToolTimeout)):
        choose_cutter(options_with(program), ctx)


# --- its cuts ---


def cut_with(
    tmp_path: Path, options: PipelineOptions, sound: Sound, levels: Levels, rules: CutRules, timebase: Fraction
) -> Cut:
    assert options.auto_editor is not None
    cutter = choose_cutter(options, RunContext(workdir=tmp_path))
    return cutter.cut(sound, levels, rules, timebase, None)


@pytest.mark.parametrize(
    ("rates", "rate", "more", "choice"),
    [
        ((8000,), "30", 0, {}),
        ((44_100,), "30000/1001", 100, {"pace": "tight"}),
        ((16_000,), "25", 7, {"margin_ms": (-100, 300), "threshold": 0.1}),
        ((8000, 11_025), "25", 0, {"pace": "relaxed"}),
        ((8000, 11_025, 16_000), "24000/1001", 50, {"min_pause_ms": 1200}),
    ],
)
@pytest.mark.parametrize("version", ["30.0.0", "31.5.1"])
def test_the_same_cuts_as_the_built_in_detector(
    tmp_path: Path, rates: tuple[int, ...], rate: str, more: int, choice: dict[str, Any], version: str
) -> None:
    """One track or several, sound shorter than the picture, releases that round and such that cut off."""
    timebase = Fraction(rate)
    sound = make_sound(tmp_path, rates=rates)
    levels = hear(sound, timebase, more)
    options = options_with(write_fake(tmp_path / "fake", version), **choice)
    rules = choose_rules(options, levels, timebase)
    cut = cut_with(tmp_path, options, sound, levels, rules, timebase)
    expected = BuiltinCutter().cut(sound, levels, rules, timebase, None)
    assert len(cut.timeline.removed) > 3
    assert cut.timeline == expected.timeline
    assert (cut.engine, cut.engine_version, cut.note) == (CutEngine.AUTO_EDITOR, version, None)
    assert (expected.engine, expected.engine_version) == (CutEngine.BUILTIN, RULES_VERSION)
    assert not (tmp_path / "auto-editor").exists()


@pytest.mark.parametrize("version", ["28.1.0", "29.3.1"])
def test_older_ones_cut_by_their_own_rules_and_say_so(tmp_path: Path, version: str) -> None:
    sound = make_sound(tmp_path)
    levels = hear(sound, FPS)
    options = options_with(write_fake(tmp_path / "fake", version), min_pause_ms=1500)
    rules = choose_rules(options, levels, FPS)
    cut = cut_with(tmp_path, options, sound, levels, rules, FPS)
    assert cut.timeline != BuiltinCutter().cut(sound, levels, rules, FPS, None).timeline
    assert cut.engine_version == version
    assert cut.note is not None
    assert cut.note.code == "cut_rules"
    assert all(part in cut.note.text for part in (f"auto-editor {version}", "under 3 frames", "under 6 frames"))


def test_silence_keeps_nothing(tmp_path: Path) -> None:
    sound = make_sound(tmp_path, seconds=3)
    sound.tracks[0].path.write_bytes(bytes(2 * sound.tracks[0].samples))
    levels = hear(sound, FPS)
    options = options_with(write_fake(tmp_path / "fake"))
    cut = cut_with(tmp_path, options, sound, levels, choose_rules(options, levels, FPS), FPS)
    assert (cut.timeline.kept, cut.timeline.frames) == ((), 90)


def test_a_source_without_sound_is_not_its_business(tmp_path: Path) -> None:
    sound, levels = Sound(tracks=(), delivered=(), speech=None, speech_samples=0), np.zeros(0, np.uint16)
    options = options_with(write_fake(tmp_path / "fake", mode="crashes"))
    assert cut_with(tmp_path, options, sound, levels, choose_rules(options, levels, FPS), FPS).timeline.frames == 0


def test_progress_is_the_stage_s(tmp_path: Path) -> None:
    seen: list[Progress] = []
    sound = make_sound(tmp_path)
    levels = hear(sound, FPS)
    options = options_with(write_fake(tmp_path / "fake"))
    cutter = choose_cutter(options, RunContext(workdir=tmp_path, on_progress=seen.append))
    cutter.cut(sound, levels, choose_rules(options, levels, FPS), FPS, None)
    assert {progress.stage for progress in seen} == {Stage.CUT}


# --- words ---


def flags(text: str) -> Flags:
    return np.array([char == "#" for char in text], np.bool_)


def show(values: Flags) -> str:
    return "".join("#" if value else "." for value in values)


RULES = CutRules(threshold=0.04, threshold_mode="manual", margin=(1, 2), min_cut=4, min_clip=3)


@pytest.mark.parametrize(
    ("kept", "protected", "result"),
    [
        ("####............####", "....................", "####............####"),
        ("####............####", ".........#..........", "####....####....####"),  # with its own margin
        ("####............####", "........#...........", "###########.....####"),  # 3 frames would be left: filled
        ("####............####", "..##................", "######..........####"),  # its margin goes on
        ("....................", ".......#............", "......####.........."),
    ],
)
def test_words_are_put_back(kept: str, protected: str, result: str) -> None:
    assert show(protect(flags(kept), flags(protected), RULES)) == result


def test_a_margin_that_shrinks_leaves_the_word() -> None:
    rules = replace(RULES, margin=(-2, -2), min_cut=0)
    assert show(protect(flags("##........"), flags("....###..."), rules)) == "##..###..."


def test_no_words_change_nothing() -> None:
    kept = flags("..#..##..")
    assert protect(kept, None, RULES) is kept
    assert protect(kept, flags("........."), RULES) is kept


@pytest.mark.parametrize("version", ["29.3.1", "31.5.1"])
@pytest.mark.parametrize("seed", range(3))
def test_no_frame_of_a_word_is_ever_cut(tmp_path: Path, seed: int, version: str) -> None:
    sound = make_sound(tmp_path, seed=seed)
    levels = hear(sound, FPS)
    protected = np.random.default_rng(seed).random(len(levels)) < 0.02
    options = options_with(write_fake(tmp_path / "fake", version))
    rules = choose_rules(options, levels, FPS)
    cutter = choose_cutter(options, RunContext(workdir=tmp_path))
    with_words = flags_of(cutter.cut(sound, levels, rules, FPS, protected).timeline, len(levels))
    without = flags_of(cutter.cut(sound, levels, rules, FPS, None).timeline, len(levels))
    assert not (protected & ~with_words).any()
    assert not (without & ~with_words).any()
    if version == "31.5.1":
        builtin = flags_of(BuiltinCutter().cut(sound, levels, rules, FPS, protected).timeline, len(levels))
        assert np.count_nonzero(builtin != with_words) <= 0.01 * len(levels)


def test_a_timeline_goes_on_as_it_ended() -> None:
    assert show(flags_of(Timeline.from_kept(FPS, 6, [(1, 3)]), 8)) == ".##....."
    assert show(flags_of(Timeline.from_kept(FPS, 6, [(1, 3), (5, 6)]), 8)) == ".##..###"
    assert show(flags_of(Timeline.from_kept(FPS, 6, [(1, 6)]), 4)) == ".###"
    assert show(flags_of(None, 3)) == "..."


# --- what steps in ---


@pytest.mark.parametrize(
    "mode", ["hangs", "crashes", "writes garbage", "writes nothing", "error Something", "other rate"]
)
def test_the_built_in_detector_steps_in_or_the_job_fails(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(autoeditor, "_BASE_S", 1.5)
    sound = make_sound(tmp_path)
    levels = hear(sound, FPS)
    options = options_with(write_fake(tmp_path / "fake", mode=mode), CutEngine.AUTO)
    rules = choose_rules(options, levels, FPS)
    cut = cut_with(tmp_path, options, sound, levels, rules, FPS)
    assert cut == BuiltinCutter().cut(sound, levels, rules, FPS, None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with pytest.raises(PipelineError):
        cut_with(tmp_path, replace(options, cut_engine=CutEngine.AUTO_EDITOR), sound, levels, rules, FPS)
    assert not (tmp_path / "auto-editor").exists()


def test_cancelling_is_no_failure_to_step_in_for(tmp_path: Path) -> None:
    sound = make_sound(tmp_path)
    levels = hear(sound, FPS)
    options = options_with(write_fake(tmp_path / "fake", mode="hangs"), CutEngine.AUTO)
    cutter = choose_cutter(options, RunContext(workdir=tmp_path, should_cancel=lambda: True))
    with pytest.raises(PipelineCancelled):
        cutter.cut(sound, levels, choose_rules(options, levels, FPS), FPS, None)
