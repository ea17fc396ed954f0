"""The real auto-editor as cut engine: finding it, talking to it, and surviving it. A stand-in plays its part."""

from __future__ import annotations

import json
import os
import shutil
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from pipeline import autoeditor
from pipeline.autoeditor import (
    NOTHING_KEPT,
    SOUND,
    AutoEditor,
    ask_version,
    build_command,
    find_error,
    find_programs,
    look_behind,
    main,
    open_auto_editor,
    parse_progress,
    run_auto_editor,
)
from pipeline.errors import PipelineCancelled, PipelineError, ToolFailed, ToolMissing, ToolTimeout
from pipeline.ffmpeg import run_tool
from pipeline.timeline import Timeline
from pipeline.wav import wav_header
from tests.media.auto_editor import write_fake, write_stub

FPS = Fraction(30)


def tool(version: str) -> AutoEditor:
    return AutoEditor(program=Path("/opt/auto-editor"), version=version)


# --- what it says ---


@pytest.mark.parametrize(
    ("record", "share"),
    [
        ("Analyzing audio volume~80.0~1272.0~0.46", 80 / 1272),  # these two as captured from 31.5.1
        ("(mp4) \x1b[95mh264\x1b[0m+\x1b[96maac\x1b[0m~522.0~523.0~0.0", 522 / 523),
        ("Analyzing audio volume~1272.0~1272.0~-0.01", 1.0),
        ("a~title~5~10~0", 0.5),
        ("x~12~10~0", 1.0),
        ("x~-1~10~0", 0.0),
        ("x~1~0~0", None),
        ("x~nan~~", None),
        ("  Starting" + " " * 69, None),
        ("Finished. took 2.53 seconds (0:00:03)", None),
        ("", None),
    ],
)
def test_progress_records(record: str, share: float | None) -> None:
    assert parse_progress(record) == share


ERRORS = [
    "Input file doesn't exist: audio.wav",
    "Unknown option: --nope",
    "Threshold not in range: 200% (2.0)",
    "Invalid media data: audio.wav",
    "audio: channel 'all' does not exist in any audio stream.",
    "No file(s) have the selected audio stream.",
    "Could not open output file 't.json'",
    "Keyboard Interrupt",
]


@pytest.mark.parametrize("text", [*ERRORS, NOTHING_KEPT])
def test_error_texts(text: str) -> None:
    assert find_error(f"Warning! old\nError! {text}\n") == text
    assert find_error(f"auto-editor audio.wav\n\x1b[31m\x1b[40mError! {text}\x1b[0m") == text


def test_other_words_are_no_error() -> None:
    assert find_error("Warning! something\nTraceback: InvalidDataError") is None


# --- what it is told ---

COMMON = ["/opt/auto-editor", "audio.wav", "--frame-rate", "30", "--export", "v1", "-o", "t.json"]


@pytest.mark.parametrize(
    ("version", "smooth"),
    [
        ("28.1.0", []),
        ("29.3.1", []),
        ("30.0.0", ["--smooth", "0.2s,0.1s", "--no-cache"]),
        ("31.5.1", ["--smooth", "0.2s,0.1s", "--no-cache"]),
    ],
)
def test_the_command_of_each_version(version: str, smooth: list[str]) -> None:
    command = build_command(tool(version), timebase=FPS, threshold=0.04, margin_ms=(200, 200), min_cut_ms=200)
    assert command == [
        *COMMON, "--edit", "audio:threshold=0.04", "--margin", "0.2s", "--no-open", "--progress", "machine", *smooth,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "margin_ms", "margin"),
    [
        ("30", (300, 500), "0.3s,0.5s"),
        ("30", (0, 0), "0s"),
        ("30", (-100, 200), "-0.1s,0.2s"),
        ("30", (350, 450), "0.375s,0.475s"),  # 10.5 and 13.5 frames: both are rounded up, some releases would not
        ("30000/1001", (200, 200), "0.209s"),  # 5.994 frames
        ("25", (-100, 100), "-0.13s,0.13s"),  # 2.5 frames
    ],
)
def test_margins_mean_the_same_frames_to_every_release(rate: str, margin_ms: tuple[int, int], margin: str) -> None:
    command = build_command(tool("31.5.1"), timebase=Fraction(rate), threshold=0.1, margin_ms=margin_ms, min_cut_ms=200)
    assert command[command.index("--frame-rate") + 1] == rate
    assert command[command.index("--margin") + 1] == margin


@pytest.mark.parametrize(
    ("threshold", "text"), [(0.04, "0.04"), (0.0, "0"), (1.0, "1"), (1e-5, "0.00001"), (2 / 3, "0.666666666667")]
)
def test_thresholds_are_plain_numbers(threshold: float, text: str) -> None:
    command = build_command(tool("31.5.1"), timebase=FPS, threshold=threshold, margin_ms=(0, 0), min_cut_ms=0)
    assert command[command.index("--edit") + 1] == f"audio:threshold={text}"


# --- finding it ---


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoeditor, "_stub_folders", list)


def write_wrapper(folder: Path, program: Path) -> Path:
    """Write a shell script that runs ``program``: no script of Python, so PATH may offer it."""
    folder.mkdir()
    wrapper = folder / "auto-editor"
    wrapper.write_text(f'#!/bin/sh\nexec {program} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    return wrapper


@pytest.mark.usefixtures("no_package")
def test_the_stub_on_path_is_passed_over_and_never_run(tmp_path: Path) -> None:
    stub = write_stub(tmp_path / "venv" / "bin")
    wrapper = write_wrapper(tmp_path / "tools", write_fake(tmp_path / "fake"))
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "auto-editor").write_text("not executable")
    folders = [str(stub.parent), str(tmp_path / "plain"), str(tmp_path / "nowhere"), "bin", "", str(wrapper.parent)]
    assert list(find_programs(folders)) == [wrapper]
    assert look_behind(stub, named=True) is None
    assert not (stub.parent / "called").exists()


def test_a_script_of_python_is_only_run_when_it_is_named(tmp_path: Path) -> None:
    fake = write_fake(tmp_path)
    assert look_behind(fake, named=False) is None
    assert look_behind(fake, named=True) == fake


def test_the_program_that_the_stub_fetched_stands_behind_its_script(tmp_path: Path) -> None:
    stub = write_stub(tmp_path / "bin")
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "auto_editor"
    (package / "bin").mkdir(parents=True)
    fetched = package / "bin" / "auto-editor"
    fetched.write_bytes(b"\x7fELF half a download")
    assert look_behind(stub, named=False) is None
    fetched.chmod(0o755)
    assert look_behind(stub, named=False) == fetched
    fetched.unlink()
    (package / "edit.py").touch()  # version 28 was Python all through
    assert look_behind(stub, named=False) == stub


def test_the_package_of_this_python_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "auto_editor"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('nobody imports the stub')")
    fetched = package / "bin" / "auto-editor"
    fetched.write_bytes(b"\x7fELF")
    fetched.chmod(0o755)
    monkeypatch.syspath_prepend(str(package.parent))
    assert list(find_programs([])) == [fetched]


@pytest.mark.usefixtures("no_package")
def test_the_newest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrappers = [
        write_wrapper(tmp_path / name, write_fake(tmp_path / f"fake-{name}", version, mode))
        for name, version, mode in [("a", "29.3.1", ""), ("b", "31.5.1", ""), ("c", "99.0", "version crashes")]
    ]
    monkeypatch.setenv("PATH", os.pathsep.join(str(wrapper.parent) for wrapper in wrappers))
    assert open_auto_editor(None, tmp_path) == AutoEditor(program=wrappers[1], version="31.5.1")


@pytest.mark.usefixtures("no_package")
def test_a_missing_one_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"^auto-editor is not installed\. Run make auto-editor, or set AUTO_E"):
        open_auto_editor(None, tmp_path)


@pytest.mark.parametrize(("name", "stub"), [("missing", False), ("stub/auto-editor", True), (".", False)])
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, stub: bool) -> None:
    if stub:
        write_stub(tmp_path / "stub")
    with pytest.raises(ToolMissing, match=r"^AUTO_EDITOR_BINARY names .*, which is no auto-editor\. Correct it"):
        open_auto_editor(tmp_path / name, tmp_path)
    assert not (tmp_path / "stub" / "called").exists()


@pytest.mark.parametrize("version", ["28.1.0", "29.3.1", "30.0", "31.5.1"])
def test_any_version_from_28_is_taken(tmp_path: Path, version: str) -> None:
    found = open_auto_editor(write_fake(tmp_path, version), tmp_path)
    assert found.version == version
    assert found.has_own_rules is (version[:2] in ("28", "29"))


def test_an_older_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"auto-editor 27\.1\.1 is too old: version 28 or newer"):
        open_auto_editor(write_fake(tmp_path, "27.1.1"), tmp_path)


@pytest.mark.parametrize("mode", ["version crashes", "version is garbage"])
def test_one_that_does_not_say_its_version_does_not_work(tmp_path: Path, mode: str) -> None:
    with pytest.raises(ToolFailed, match="make auto-editor"):
        ask_version(write_fake(tmp_path, mode=mode), tmp_path)


def test_one_that_hangs_when_asked_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoeditor, "_VERSION_S", 0.5)
    with pytest.raises(ToolTimeout):
        ask_version(write_fake(tmp_path, mode="version hangs"), tmp_path)


# --- running it ---


def write_beeps(folder: Path, pattern: str, rate: int = 8000) -> int:
    """Write a WAV at 30 frames a second, a beep for each ``#``; return its frames."""
    bounds = [(2 * frame * rate + 30) // 60 for frame in range(len(pattern) + 1)]
    data = b"".join(
        (b"\x00\x40" if char == "#" else b"\x00\x00") * (bounds[frame + 1] - bounds[frame])
        for frame, char in enumerate(pattern)
    )
    (folder / SOUND).write_bytes(wav_header(rate, 1, len(data)) + data)
    return len(pattern)


PATTERN = "." * 20 + "#" * 30 + "." * 40 + "#" * 20 + "." * 30


def run_fake(
    tmp_path: Path,
    version: str = "31.5.1",
    mode: str = "",
    pattern: str = PATTERN,
    *,
    seen: list[float] | None = None,
    cancel_at: float = 1e9,
) -> Timeline | None:
    fake = AutoEditor(program=write_fake(tmp_path / "fake", version, mode), version=version)
    folder = tmp_path / "work"
    folder.mkdir()
    frames = write_beeps(folder, pattern)
    command = build_command(fake, timebase=FPS, threshold=0.04, margin_ms=(200, 200), min_cut_ms=200)
    begun = time.monotonic()
    return run_auto_editor(
        fake,
        command,
        folder,
        timebase=FPS,
        frames=frames,
        on_progress=(seen if seen is not None else []).append,
        should_cancel=lambda: time.monotonic() - begun > cancel_at,
    )


@pytest.mark.parametrize("version", ["28.1.0", "29.3.1", "30.0.0", "31.5.1"])
def test_a_timeline_comes_back_with_progress(tmp_path: Path, version: str) -> None:
    seen: list[float] = []
    timeline = run_fake(tmp_path, version, seen=seen)
    assert timeline == Timeline.from_kept(FPS, 140, [(14, 56), (84, 116)])
    assert seen
    assert seen == sorted(seen)
    assert seen[-1] <= 1
    argv = json.loads((tmp_path / "fake" / "argv.json").read_text())
    assert ("--smooth" in argv, "--no-cache" in argv) == ((False, False) if version < "30" else (True, True))


def test_silence_keeps_nothing(tmp_path: Path) -> None:
    assert run_fake(tmp_path, pattern="." * 60) is None


@pytest.mark.parametrize("text", ERRORS)
def test_an_error_keeps_its_text_for_the_log(tmp_path: Path, text: str) -> None:
    with pytest.raises(ToolFailed, match=r"^auto-editor 31\.5\.1 could not find the pauses\. Choose") as caught:
        run_fake(tmp_path, mode=f"error {text}")
    assert caught.value.detail.startswith(f"{text}\n")


@pytest.mark.parametrize(
    ("mode", "detail"),
    [
        ("traceback", "InvalidDataError"),
        ("crashes", SOUND),
        ("writes garbage", "not JSON"),
        ("writes nothing", "can't read"),
        ("other rate", "its timeline has 140 frames at 25, the sound 140 at 30"),
        ("too short", "its timeline has 14 frames"),
    ],
)
def test_what_else_goes_wrong_is_a_failure(tmp_path: Path, mode: str, detail: str) -> None:
    with pytest.raises(ToolFailed, match="could not find the pauses") as caught:
        run_fake(tmp_path, mode=mode)
    assert detail in caught.value.detail


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_one_that_hangs_is_stopped_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoeditor, "_BASE_S", 1.5)
    begun = time.monotonic()
    with pytest.raises(ToolTimeout, match="auto-editor made no progress"):
        run_fake(tmp_path, mode="hangs")
    assert time.monotonic() - begun < 10
    assert is_gone(int((tmp_path / "fake" / "pid").read_text()))


def test_one_that_hangs_is_stopped_on_request(tmp_path: Path) -> None:
    with pytest.raises(PipelineCancelled):
        run_fake(tmp_path, mode="hangs", cancel_at=1.5)
    assert is_gone(int((tmp_path / "fake" / "pid").read_text()))


# --- make auto-editor ---


def test_the_command_names_what_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = write_fake(tmp_path, "31.5.1")
    assert main([str(fake)]) == 0
    assert capsys.readouterr().out == f"auto-editor 31.5.1: {fake} (it finds the pauses)\n"
    assert main([str(write_fake(tmp_path, "29.3.1"))]) == 0
    assert "only --cut-engine auto-editor uses it" in capsys.readouterr().out


@pytest.mark.usefixtures("no_package")
def test_the_command_says_one_sentence_when_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def fail(command: list[str], **_: object) -> str:
        commands.append(command)
        if "uninstall" in command:
            return ""
        raise ToolFailed("python ended with an error. Try again.", "urlopen error")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(autoeditor, "run_tool", fail)
    assert main([""]) == 4
    assert capsys.readouterr().err.startswith("auto-editor can't be had here")
    assert ["uninstall" in command for command in commands] == [False, True]
    assert main([str(tmp_path / "missing")]) == 4
    assert "AUTO_EDITOR_BINARY names" in capsys.readouterr().err


def test_the_command_fetches_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stub is installed, downloads, and is looked behind; what lay there and did not work is replaced."""
    package = tmp_path / "auto_editor"
    broken = package / "bin" / "auto-editor"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"half a download")
    commands = []

    def download(command: list[str], **more: Any) -> str:
        if command[1] != "-m":
            return run_tool(command, **more)
        commands.append(command[2:])
        if command[2] == "auto_editor":
            assert not broken.exists()
            wrapper = write_wrapper(tmp_path / "made", write_fake(tmp_path / "fake", "29.3.1"))
            wrapper.rename(broken)
        return ""

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(autoeditor, "_stub_folders", lambda: [package])
    monkeypatch.setattr(autoeditor, "run_tool", download)
    assert main([]) == 0
    assert f"auto-editor 29.3.1: {broken} (only" in capsys.readouterr().out
    assert [command[0] for command in commands] == ["pip", "auto_editor"]
    assert commands[0][-1] == "auto-editor==29.3.1"


# --- the real one, where there is one ---


def test_the_real_one_makes_the_same_cuts(tmp_path: Path) -> None:
    try:
        real = open_auto_editor(None, tmp_path)
    except PipelineError as error:
        pytest.skip(f"no auto-editor works here: {error.message}")
    folder = tmp_path / "work"
    folder.mkdir()
    frames = write_beeps(folder, PATTERN)
    command = build_command(real, timebase=FPS, threshold=0.04, margin_ms=(200, 200), min_cut_ms=200)
    timeline = run_auto_editor(real, command, folder, timebase=FPS, frames=frames)
    assert timeline == Timeline.from_kept(FPS, 140, [(14, 56), (84, 116)])
    shutil.rmtree(folder)
