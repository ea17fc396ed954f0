"""However a run ends, no child process, no scratch file and no half-written result is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from config import PROJECT_ROOT
from pipeline.errors import DiskFull, PipelineCancelled
from pipeline.models import Progress, RunContext, Stage
from pipeline.options import Captions, PipelineOptions
from pipeline.publish import scratch_folder
from pipeline.run import run_pipeline
from tests.media.talks import run_command, short_talk, write_video

STAGES = ["audio", "transcribe", "render", "qa"]


@pytest.fixture(scope="module")
def talk_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A talk long enough that every stage can be caught at work."""
    samples = np.tile(short_talk().samples, 4)
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", samples, size=(640, 360))


@pytest.fixture(scope="module")
def short_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A talk for what has not to be caught at work."""
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", short_talk().samples)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """What is started here can be interrupted, even where a shell runs the tests in the background and forbids it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start_command(source: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", str(source), "-o", str(out), "--json", *flags]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def follow_until(child: subprocess.Popen[str], stage: str) -> Iterator[dict[str, object]]:
    """Yield events until ``stage`` is at work."""
    assert child.stdout is not None
    for line in child.stdout:
        event = json.loads(line)
        yield event
        if event.get("stage") == stage and 0 <= float(event["fraction"]) < 1:
            return


def require_no_trace(family: list[psutil.Process], out: Path) -> None:
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, f"still running: {alive}"
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "number"), [*((stage, signal.SIGINT) for stage in STAGES), ("render", signal.SIGTERM)]
)
def test_a_signal_ends_everything(
    stage: str, number: signal.Signals, talk_video: Path, weights: Path, tmp_path: Path
) -> None:
    assert weights.is_dir()
    out = tmp_path / "out"
    # What comes after the speech is written down comes sooner without it.
    child = start_command(talk_video, out, *(() if stage in ("audio", "transcribe") else ("--captions", "none")))
    list(follow_until(child, stage))
    family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
    child.send_signal(number)
    rest, errors = child.communicate(timeout=30)
    assert child.returncode == 130, errors
    assert json.loads(rest.splitlines()[-1])["code"] == "interrupted"
    assert "Traceback" not in errors
    require_no_trace(family, out)


@pytest.mark.parametrize("stage", STAGES)
def test_the_cancel_flag_ends_a_run(stage: str, short_video: Path, weights: Path, tmp_path: Path) -> None:
    assert weights.is_dir()
    reached: list[str] = []

    def listen(progress: Progress) -> None:
        if progress.stage.value not in reached:
            reached.append(progress.stage.value)

    options = PipelineOptions(captions=Captions.NONE) if stage != "transcribe" else PipelineOptions()
    options = PipelineOptions(captions=options.captions, model_dir=weights.parent)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(PipelineCancelled), scratch_folder(tmp_path / "out") as workdir:
        ctx = RunContext(workdir=workdir, on_progress=listen, should_cancel=lambda: stage in reached)
        run_pipeline(short_video, options, ctx)
    assert reached[-1] == stage
    assert set(psutil.Process().children(recursive=True)) <= before
    assert not (tmp_path / "out").exists()


def test_a_killed_run_is_swept_by_the_next(talk_video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = start_command(talk_video, out, "--captions", "none")
    list(follow_until(child, "render"))
    family = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    child.communicate(timeout=30)
    assert [path.name for path in out.iterdir() if path.name.startswith(".work-")]
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, "an orphaned ffmpeg must end when its pipes break"
    assert run_command(talk_video, "-o", out, "--cuts-only").status == 0
    assert [path.name for path in out.iterdir()] == ["timeline.json"]


def test_a_failed_run_leaves_the_former_result_alone(short_video: Path, tmp_path: Path) -> None:
    assert run_command(short_video, "-o", tmp_path, "--captions", "none").status == 0
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path.parent / "text.mp4").write_text("not a video")
    assert run_command(tmp_path.parent / "text.mp4", "-o", tmp_path).status == 3
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("stage", [Stage.AUDIO, Stage.CUT, Stage.RENDER])
@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_source_that_goes_away_is_said_so(stage: Stage, change: str, talk_video: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    shutil.copy(talk_video, source)
    out = tmp_path / "out"
    child = start_command(source, out, "--captions", "none")
    list(follow_until(child, stage.value))
    if change == "removed":
        source.unlink()
    else:
        source.write_bytes(b"something else")
    rest, errors = child.communicate(timeout=60)
    last = json.loads(rest.splitlines()[-1])
    assert (child.returncode, last["code"]) == (4, "source_gone"), errors
    assert "Put it back" in last["message"]
    assert not out.exists()


def test_an_unwritable_target_is_said_so(short_video: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = run_command(short_video, "-o", tmp_path / "file")
    assert (ended.status, ended.last()["code"]) == (4, "out_unwritable")
    ended = run_command(short_video, "-o", "/proc/no/folder")
    assert (ended.status, ended.last()["code"]) == (4, "out_unwritable")
    assert (tmp_path / "file").read_text() == "in the way"


def on_small_disk(mount: Path, megabytes: int) -> list[str] | None:
    """Return the start of a command that runs with a small disk at ``mount``; None where that can't be had."""
    script = f'mount -t tmpfs -o size={megabytes}m none "$0" && exec "$@"'
    for flags in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        start = ["unshare", *flags, "sh", "-c", script, str(mount)]
        if (
            shutil.which("unshare")
            and subprocess.run([*start, "true"], capture_output=True, check=False).returncode == 0
        ):
            return start
    return None


@pytest.mark.parametrize("megabytes", [1, 8])
def test_a_full_disk_is_said_so(megabytes: int, talk_video: Path, tmp_path: Path) -> None:
    """1 MB is refused before the work, 8 MB hold the sound but not the picture: ffmpeg itself runs out of room."""
    mount = tmp_path / "disk"
    mount.mkdir()
    start = on_small_disk(mount, megabytes)
    if start is None:
        pytest.skip("this system allows no private mount, so no small disk can be made")
    inner = (
        'cd "$0" && "$1" -m pipeline "$2" -o "$3/out" --captions none --no-cut --json; '
        'echo "status $? left $(ls -A "$3" | tr "\\n" " ")"'
    )
    done = subprocess.run(
        [*start, "sh", "-c", inner, str(PROJECT_ROOT), sys.executable, str(talk_video), str(mount)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[-1].split() == ["status", "4", "left"], done.stdout + done.stderr
    error = json.loads(lines[-2])
    assert error["code"] == "disk_full"
    assert "Free some space" in error["message"]


def test_scratch_that_can_not_be_written_is_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), scratch_folder(tmp_path / "out") as workdir:
        from pipeline.media import writing

        with writing(workdir), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")


def test_ffmpeg_that_can_not_start_is_said_so(short_video: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "FFMPEG_BINARY": str(tmp_path / "no-ffmpeg")}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", str(short_video), "-o", str(tmp_path / "out"), "--json"],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=False, env=environ,
    )  # fmt: skip
    assert done.returncode == 4
    assert json.loads(done.stdout.splitlines()[-1])["code"] == "tool_missing"


def test_a_cancel_does_not_wait_for_ffmpeg(talk_video: Path, tmp_path: Path) -> None:
    """A person who cancels waits at most a few seconds: the flag is polled while ffmpeg works."""
    reached: list[Stage] = []

    def listen(progress: Progress) -> None:
        if progress.stage is Stage.RENDER and progress.fraction > 0:
            reached.append(progress.stage)

    with pytest.raises(PipelineCancelled) as raised, scratch_folder(tmp_path / "out") as workdir:
        ctx = RunContext(workdir=workdir, on_progress=listen, should_cancel=lambda: bool(reached))
        run_pipeline(talk_video, PipelineOptions(captions=Captions.NONE), ctx)
    assert raised.traceback[-1].path == PROJECT_ROOT / "pipeline" / "ffmpeg.py"
