"""The command with auto-editor as its cut engine; a stand-in plays auto-editor."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.timeline import read_timeline
from tests.media.auto_editor import write_fake
from tests.media.shared import shared_file
from tests.media.talks import run_command, short_talk, write_video


@pytest.fixture(scope="module")
def talk_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", short_talk().samples)


def read_report(out: Path) -> dict[str, dict[str, object]]:
    report: dict[str, dict[str, object]] = json.loads((out / "report.json").read_text())
    return report


def use(monkeypatch: pytest.MonkeyPatch, program: Path) -> None:
    monkeypatch.setenv("AUTO_EDITOR_BINARY", str(program))


def test_the_report_names_who_cut_and_the_cuts_are_the_same(
    talk_video: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With words to protect, as people run it."""
    assert weights.is_dir()
    use(monkeypatch, write_fake(tmp_path / "fake"))
    ended = run_command(talk_video, "-o", tmp_path / "theirs", "--cut-engine", "auto-editor")
    assert ended.status == 0, ended.errors
    assert run_command(talk_video, "-o", tmp_path / "ours", "--cut-engine", "builtin").status == 0
    theirs, ours = (read_report(tmp_path / name)["cuts"] for name in ("theirs", "ours"))
    assert (theirs["engine"], theirs["engine_version"]) == ("auto-editor", "31.5.1")
    assert (ours["engine"], ours["engine_version"]) == ("builtin", "31.5.1")
    assert theirs["removed"] == ours["removed"]
    assert theirs["threshold_mode"] == "auto"
    argv = json.loads((tmp_path / "fake" / "argv.json").read_text())
    threshold = float(argv[argv.index("--edit") + 1].removeprefix("audio:threshold="))
    assert threshold == pytest.approx(theirs["threshold"], abs=1e-5)
    fractions = [e["fraction"] for e in ended.events if e["event"] == "progress" and e["stage"] == "cut"]
    assert len(fractions) > 2  # its own progress came through


def test_an_older_one_is_named_with_its_rules(
    talk_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, write_fake(tmp_path / "fake", "29.3.1"))
    ended = run_command(talk_video, "-o", tmp_path, "--cut-engine", "auto-editor", "--captions", "none")
    assert ended.status == 0, ended.errors
    report = read_report(tmp_path)
    assert (report["cuts"]["engine"], report["cuts"]["engine_version"]) == ("auto-editor", "29.3.1")
    assert [event["code"] for event in ended.events if event["event"] == "note"] == ["cut_rules"]
    assert "auto-editor 29.3.1 cut by its own rules" in str(report["notes"])


def test_all_silent_is_delivered_uncut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, write_fake(tmp_path / "fake"))
    video = write_video(tmp_path / "silent.mp4", short_talk().samples[:44_100] * 0)
    ended = run_command(video, "-o", tmp_path, "--cut-engine", "auto-editor", "--captions", "none")
    assert ended.status == 0, ended.errors
    assert [event["code"] for event in ended.events if event["event"] == "note"] == ["all_silent"]


@pytest.mark.parametrize("engine", ["auto", "auto-editor"])
def test_one_that_hangs_ends_in_time(
    engine: str, talk_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, write_fake(tmp_path / "fake", mode="hangs"))
    begun = time.monotonic()
    ended = run_command(talk_video, "-o", tmp_path / "out", "--cut-engine", engine, "--captions", "none")
    assert time.monotonic() - begun < 120
    if engine == "auto":
        assert ended.status == 0, ended.errors
        assert read_report(tmp_path / "out")["cuts"]["engine"] == "builtin"
        assert "WARNING pipeline.cutter: the built-in detector cuts: auto-editor made no progress" in ended.errors
    else:
        assert (ended.status, ended.last()["code"]) == (4, "timeout")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mode", "code", "sentence"),
    [
        ("missing", "tool_missing", "AUTO_EDITOR_BINARY names"),
        ("error Unknown option: --smooth", "tool_failed", "auto-editor 31.5.1 could not find the pauses"),
        ("writes garbage", "tool_failed", "auto-editor 31.5.1 could not find the pauses"),
    ],
)
def test_whoever_insists_gets_its_failure(
    mode: str, code: str, sentence: str, talk_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, tmp_path / "none" if mode == "missing" else write_fake(tmp_path / "fake", mode=mode))
    ended = run_command(talk_video, "-o", tmp_path / "out", "--cut-engine", "auto-editor", "--captions", "none")
    assert (ended.status, ended.last()["code"]) == (4, code)
    assert sentence in str(ended.last()["message"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["ae_example.mp4", "ae_multi-track.mp4"])
def test_cuts_only_equals_the_built_in_detector(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On real recordings, one with two tracks at 96 kHz."""
    use(monkeypatch, write_fake(tmp_path / "fake"))
    source = shared_file(name)
    timelines = []
    for engine in ("auto", "builtin"):
        ended = run_command(source, "-o", tmp_path / engine, "--cuts-only", "--cut-engine", engine)
        assert ended.status == 0, ended.errors
        timelines.append(read_timeline(tmp_path / engine / "timeline.json", default_timebase=Fraction(1)))
    assert (tmp_path / "fake" / "argv.json").exists()
    assert timelines[0] == timelines[1]


def test_a_v3_timeline_is_played(talk_video: Path, tmp_path: Path) -> None:
    clips = [{"src": "talk.mp4", "start": 0, "dur": 60, "offset": 30, "stream": 0}]
    cuts = tmp_path / "cuts.json"
    cuts.write_text(json.dumps({"version": "3", "timebase": "30/1", "v": [clips], "a": [clips]}))
    ended = run_command(talk_video, "-o", tmp_path / "out", "--timeline", cuts, "--captions", "none")
    assert ended.status == 0, ended.errors
    assert read_report(tmp_path / "out")["result"]["frames"] == 60
