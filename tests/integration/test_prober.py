"""The probe of a stranger's file: a process of its own, whose words become facts or a sentence."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.prober import PipelineProber
from config import PROJECT_ROOT
from jobs.errors import Refused, StorageError
from pipeline.options import PipelineOptions
from tests.media.clips import (
    AWKWARD_NAME,
    headless_clip,
    rotated_clip,
    silent_clip,
    text_file,
    truncated_clip,
    two_track_clip,
    zero_byte_file,
)

PROBER = PipelineProber(PipelineOptions())


def test_the_facts_are_those_of_the_file(tmp_path: Path) -> None:
    clip = two_track_clip(tmp_path / AWKWARD_NAME)[0]
    facts = PROBER.probe(clip.path)
    data = clip.path.read_bytes()
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert facts.size_bytes == len(data)
    assert facts.audio_tracks == 2
    assert facts.video_codec == "h264"
    assert facts.fps == str(clip.rate)
    assert (facts.width, facts.height) == (160, 90)
    assert abs(facts.duration_ms - 1000 * 240 / clip.rate) <= 40


def test_a_turned_video_is_measured_as_it_is_shown(tmp_path: Path) -> None:
    facts = PROBER.probe(rotated_clip(tmp_path / "a.mp4").path)
    assert (facts.width, facts.height) == (90, 160)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (truncated_clip, "truncated"),
        (headless_clip, "truncated"),
        (text_file, "not_media"),
        (zero_byte_file, "empty"),
    ],
)
def test_a_bad_file_is_refused_with_the_sentence_of_the_pipeline(
    tmp_path: Path, make: Callable[[Path], Path], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        PROBER.probe(make(tmp_path / "a.mp4"))
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert str(tmp_path) not in caught.value.message


def test_limits_travel_to_the_probe(tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "a.mp4").path
    for options, code in (
        (PipelineOptions(max_duration_ms=2999), "too_long"),
        (PipelineOptions(max_pixels=160 * 90 - 1), "too_many_pixels"),
    ):
        with pytest.raises(Refused) as caught:
            PipelineProber(options).probe(clip)
        assert caught.value.code == code
    assert PipelineProber(replace(PipelineOptions(), max_duration_ms=3000)).probe(clip).duration_ms == 3000


def test_a_missing_file_is_not_the_persons_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be checked just now"):
        PROBER.probe(tmp_path / "nothing.mp4")


# --- programs that stand in for a probe that ends badly ---


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Let a script run as the probe; return the file in which it counts its runs."""
    count = folder / "count"
    program = folder / "python"
    program.write_text(f"#!/bin/sh\necho run >> '{count}'\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr("adapters.prober.PYTHON", str(program))
    return count


def test_a_file_that_kills_its_probe_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = stand_in(tmp_path, monkeypatch, """echo '{"event": "begin"}'; kill -SEGV $$""")
    with pytest.raises(Refused, match="Export it as MP4") as caught:
        PROBER.probe(tmp_path / "a.mp4")
    assert caught.value.code == "not_media"
    assert count.read_text().split() == ["run", "run"]


def test_a_probe_that_dies_once_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = silent_clip(tmp_path / "a.mp4").path
    script = f"""
    if [ $(wc -l < '{tmp_path / "count"}') = 1 ]; then echo '{{"event": "begin"}}'; kill -KILL $$; fi
    exec '{sys.executable}' "$@"
    """
    count = stand_in(tmp_path, monkeypatch, script)
    assert PROBER.probe(clip).duration_ms == 3000
    assert count.read_text().split() == ["run", "run"]


@pytest.mark.parametrize("script", ["exit 1", "kill -KILL $$", "echo something else", "exit 0"])
def test_a_probe_that_does_not_even_start_refuses_nobodys_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(StorageError):
        PROBER.probe(tmp_path / "a.mp4")


def test_a_machine_without_the_program_refuses_nobodys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.prober.PYTHON", str(tmp_path / "nothing"))
    with pytest.raises(StorageError):
        PROBER.probe(tmp_path / "a.mp4")


# --- the command ---


def run_probe(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "pipeline", "--probe", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_command_prints_the_probe_for_people_and_for_programs(tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "a.mp4").path
    plain = json.loads(run_probe(clip))
    assert set(plain) == {
        *("name", "duration_ms", "width", "height", "fps", "vfr", "hdr", "rotation", "video_codec", "audio"),
    }
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert json.loads(run_probe(clip, "--sha256")) == {**plain, "sha256": digest}
    begin, found = map(json.loads, run_probe(clip, "--json").splitlines())
    assert begin == {"event": "begin"}
    assert found == {"event": "probe", **plain, "frame_rate": "30", "size_bytes": clip.stat().st_size}


def test_the_command_writes_into_a_file(tmp_path: Path) -> None:
    """A probe may write no file, but its own output may be one."""
    clip = silent_clip(tmp_path / "a.mp4").path
    with (tmp_path / "probe.json").open("w") as file:
        command = [sys.executable, "-m", "pipeline", "--probe", str(clip)]
        subprocess.run(command, cwd=PROJECT_ROOT, stdout=file, timeout=120, check=True)
    assert json.loads((tmp_path / "probe.json").read_text())["duration_ms"] == 3000
