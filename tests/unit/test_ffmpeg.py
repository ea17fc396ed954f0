"""The one runner: what it reads from ffmpeg, and that no child, pipe or descriptor outlives a run, however it ends.

The programs are small scripts written here, which do what ffmpeg does only on a bad day.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.errors import DiskFull, PipelineCancelled, PipelineError, ToolFailed, ToolMissing, ToolTimeout
from pipeline.ffmpeg import (
    STDERR_LINES,
    Feed,
    explain_failure,
    find_ffmpeg,
    parse_progress_us,
    run_ffmpeg,
    run_tool,
)

# --- lines ---


@pytest.mark.parametrize(
    ("line", "microseconds"),
    [
        ("out_time_us=1000000", 1_000_000),
        ("out_time_us=0", 0),
        ("out_time_us=3599999999\n", 3_599_999_999),
        ("out_time_us=N/A", None),
        ("out_time_us=-23220", 0),
        ("out_time_us=", None),
        ("out_time_us=12.5", None),
        ("out_time_us", None),
        ("out_time_ms=1000000", None),  # microseconds under a wrong name; only the right one counts
        ("out_time=00:00:01.000000", None),
        ("frame=30", None),
        ("bitrate=N/A", None),
        ("total_size=48", None),
        ("progress=continue", None),
        ("progress=end", None),
        ("", None),
        ("=", None),
        ("\ufffd\x00out_time_us=5", None),
    ],
)
def test_progress_lines(line: str, microseconds: int | None) -> None:
    assert parse_progress_us(line) == microseconds


# Captured from ffmpeg 9.0.
NO_SPACE = """\
[out#0/mp4 @ 0x5581] Error writing trailer: No space left on device
[out#0/mp4 @ 0x5581] Error closing file: No space left on device
Conversion failed!"""
NO_ENCODER = """\
[vost#0:0 @ 0x55d0] Unknown encoder 'libx265'
[vost#0:0 @ 0x55d0] Error selecting an encoder
Error opening output file out.mp4.
Error opening output files: Encoder not found"""
NO_FILTER = """\
[AVFilterGraph @ 0x55c9] No such filter: 'zscale'
Error : Filter not found"""
BROKEN = """\
[mov,mp4,m4a,3gp,3g2,mj2 @ 0x5640] moov atom not found
[in#0 @ 0x5640] Error opening input: Invalid data found when processing input
Error opening input file corrupt_moovless.mp4."""
NO_OPTION = """\
Unrecognized option 'nope'.
Error splitting the argument list: Option not found"""


@pytest.mark.parametrize(
    ("stderr", "code", "says"),
    [
        (NO_SPACE, "disk_full", "/scratch"),
        ("av_interleaved_write_frame(): Disk quota exceeded", "disk_full", "/scratch"),
        (f"{BROKEN}\n{NO_SPACE}", "disk_full", "/scratch"),
        (NO_ENCODER, "tool_missing", "lacks a part"),
        (NO_FILTER, "tool_missing", "lacks a part"),
        (BROKEN, "tool_failed", "could not be read to its end"),
        ("[h264 @ 0x1] Error while decoding MB 12 3", "tool_failed", "could not be read to its end"),
        (NO_OPTION, "tool_failed", "could not finish"),
        ("", "tool_failed", "could not finish"),
    ],
)
def test_the_end_of_the_messages_becomes_one_sentence(stderr: str, code: str, says: str) -> None:
    error = explain_failure(stderr, where="/scratch")
    assert error.code == code
    assert says in error.message
    assert code == "disk_full" or error.detail == stderr


# --- programs ---

WRITE_PID = """
import os, signal, sys, time
with open("pid.part", "w") as file:
    file.write(str(os.getpid()))
os.rename("pid.part", "pid")
"""
READ_FEED = "feed = open(int(sys.argv[-1].removeprefix('pipe:')), 'rb', buffering=0)\n"
HANG = "time.sleep(60)\n"
STALL_S = 1.5
"""Long enough for a program to start on a busy machine."""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def write_program(folder: Path, body: str, *, before_pid: str = "") -> Path:
    path = folder / "ffmpeg"
    path.write_text(f"#!{sys.executable} -S\nimport signal\n{before_pid}{WRITE_PID}{body}", encoding="utf-8")
    path.chmod(0o755)
    return path


def run(
    program: Path,
    *args: str,
    feeds: Iterable[Feed] = (),
    should_cancel: Callable[[], bool] = lambda: False,
    on_progress: Callable[[float], None] = lambda _: None,
    stall_s: float = 20.0,
    duration_ms: int = 0,
) -> str:
    return run_ffmpeg(
        args,
        ffmpeg=program,
        cwd=program.parent,
        feeds=list(feeds),
        should_cancel=should_cancel,
        on_progress=on_progress,
        stall_s=stall_s,
        duration_ms=duration_ms,
    )


def is_gone(folder: Path) -> bool:
    """Tell whether the program that wrote its pid into ``folder`` neither runs nor waits to be reaped."""
    pid = int((folder / "pid").read_text())
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@dataclass
class Person:
    """Cancels as soon as the program runs, and looks at the clock."""

    folder: Path
    asked_at: float = field(default=0.0)

    def should_cancel(self) -> bool:
        if not (self.folder / "pid").exists():
            return False
        self.asked_at = self.asked_at or time.monotonic()
        return True

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self.asked_at


def bytes_feed(*blocks: bytes | memoryview, placeholder: str = "pcm0") -> Feed:
    return Feed(placeholder=placeholder, blocks=lambda: blocks)


def endless_feed() -> Feed:
    return Feed(placeholder="pcm0", blocks=lambda: itertools.repeat(bytes(65536)))


# --- how a run ends ---


def test_success_returns_the_last_messages(tmp_path: Path) -> None:
    program = write_program(tmp_path, "for i in range(100): print('line', i, file=sys.stderr)\n")
    assert run(program).splitlines() == [f"line {i}" for i in range(100 - STDERR_LINES, 100)]
    assert is_gone(tmp_path)


def test_a_failure_is_explained_and_logged_with_its_whole_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = write_program(tmp_path, f"sys.stderr.write({NO_SPACE!r}); sys.exit(1)\n")
    with caplog.at_level(logging.ERROR), pytest.raises(DiskFull) as caught:
        run(program, "-i", "a talk.mp4")
    assert str(tmp_path) in caught.value.message
    assert "'a talk.mp4'" in caplog.text
    assert "No space left on device" in caplog.text


def test_a_child_that_is_killed_has_failed(tmp_path: Path) -> None:
    program = write_program(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(ToolFailed):
        run(program)


@pytest.mark.parametrize(
    "body",
    [HANG, f"print('out_time_us=1000', flush=True)\n{HANG}", DEAF + HANG],
    ids=["at once", "on its way", "and ignores SIGTERM"],
)
def test_a_child_that_hangs_is_stopped(tmp_path: Path, body: str) -> None:
    program = write_program(tmp_path, body)
    with pytest.raises(ToolTimeout) as caught:
        run(program, stall_s=STALL_S)
    assert caught.value.code == "timeout"
    assert is_gone(tmp_path)


def test_a_child_that_moves_on_is_not_stopped(tmp_path: Path) -> None:
    program = write_program(tmp_path, "for i in range(10): print(f'out_time_us={i}', flush=True); time.sleep(0.2)\n")
    assert run(program, stall_s=STALL_S) == ""  # 2 s in all, a step every fifth of a second


def test_a_child_that_works_on_what_is_cut_away_is_not_stopped(tmp_path: Path) -> None:
    """While `select` drops frames, ffmpeg reports the same time again and again: a cut of minutes is no hang."""
    busy = "until = time.process_time() + 2.5\nwhile time.process_time() < until: print('out_time_us=5', flush=True)\n"
    assert run(write_program(tmp_path, busy), stall_s=STALL_S) == ""


@pytest.mark.parametrize("deaf", [False, True], ids=["polite", "ignores SIGTERM"])
def test_cancelling_ends_the_child_within_two_seconds(tmp_path: Path, deaf: bool) -> None:
    program = write_program(tmp_path, HANG, before_pid=DEAF if deaf else "")
    person = Person(tmp_path)
    with pytest.raises(PipelineCancelled):
        run(program, should_cancel=person.should_cancel)
    assert person.waited_s < 2
    assert is_gone(tmp_path)


def test_a_child_that_ends_well_when_asked_to_stop_was_cancelled_all_the_same(tmp_path: Path) -> None:
    """ffmpeg finishes its file and exits 0 after ``q``, and some versions after SIGTERM."""
    program = write_program(tmp_path, HANG, before_pid="signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n")
    with pytest.raises(PipelineCancelled):
        run(program, should_cancel=Person(tmp_path).should_cancel)
    assert is_gone(tmp_path)


@pytest.mark.timeout(6)
@pytest.mark.parametrize("asked", ["cancel", "stall"])
def test_a_child_that_closed_its_output_and_lives_on_is_still_watched(tmp_path: Path, asked: str) -> None:
    program = write_program(tmp_path, "os.close(1)\n" + HANG)
    person = Person(tmp_path)
    with pytest.raises(PipelineCancelled if asked == "cancel" else ToolTimeout):
        run(program, should_cancel=person.should_cancel if asked == "cancel" else lambda: False, stall_s=STALL_S)
    assert is_gone(tmp_path)


def test_a_busy_stderr_does_not_block_the_child(tmp_path: Path) -> None:
    body = "for _ in range(80): sys.stderr.write(('x' * 1023 + '\\n') * 100)\nprint('last', file=sys.stderr)\n"
    tail = run(write_program(tmp_path, body)).splitlines()  # 8 MB; a pipe holds 64 kB
    assert (len(tail), tail[-1]) == (STDERR_LINES, "last")


def test_a_busy_stdout_does_not_block_the_child(tmp_path: Path) -> None:
    assert run(write_program(tmp_path, "for _ in range(80): sys.stdout.write('frame=1\\n' * 12800)\n")) == ""


def test_messages_that_are_no_text_are_kept(tmp_path: Path) -> None:
    assert (
        run(write_program(tmp_path, "sys.stderr.buffer.write(b'T\\xe4glich.mp4: ok\\n')\n")) == "T\ufffdglich.mp4: ok"
    )


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ZeroDivisionError])
def test_no_child_outlives_a_caller_that_gives_up(tmp_path: Path, raised: type[BaseException]) -> None:
    def give_up(_: float) -> None:
        raise raised

    program = write_program(tmp_path, f"print('out_time_us=1000', flush=True)\n{HANG}")
    with pytest.raises(raised):
        run(program, on_progress=give_up, duration_ms=1000)
    assert is_gone(tmp_path)


# --- progress ---


def test_progress_is_a_share_that_only_grows(tmp_path: Path) -> None:
    lines = ["N/A", "-20000", "500000", "400000", "junk", "500000", "1000000", "9000000"]
    program = write_program(tmp_path, f"for t in {lines}: print(f'out_time_us={{t}}', flush=True)\n")
    seen: list[float] = []
    run(program, on_progress=seen.append, duration_ms=2000)
    assert seen == [0.0, 0.25, 0.5, 1.0]


def test_progress_of_an_unknown_length_is_not_told(tmp_path: Path) -> None:
    seen: list[float] = []
    run(write_program(tmp_path, "print('out_time_us=500000')\n"), on_progress=seen.append)
    assert seen == []


def test_a_progress_line_may_come_in_pieces(tmp_path: Path) -> None:
    body = "for part in ('out_ti', 'me_us=10', '00000\\nframe=1'): print(part, end='', flush=True); time.sleep(0.1)\n"
    seen: list[float] = []
    run(write_program(tmp_path, body), on_progress=seen.append, duration_ms=2000)
    assert seen == [0.5]


# --- arguments ---


def test_the_command_says_what_it_is_asked_and_reports_progress(tmp_path: Path) -> None:
    program = write_program(tmp_path, "import json; json.dump(sys.argv[1:], open('args.json', 'w'))\n")
    run(program, "-i", "a 'talk'; $(x).mp4")
    args = json.loads((tmp_path / "args.json").read_text())
    assert args[-2:] == ["-i", "a 'talk'; $(x).mp4"]
    assert args[args.index("-progress") + 1] == "pipe:1"
    assert {"-nostdin", "-nostats", "-hide_banner"} <= set(args)


def test_a_placeholder_is_replaced_only_where_it_is_the_whole_argument(tmp_path: Path) -> None:
    body = "import json; json.dump(sys.argv[1:], open('args.json', 'w'))\n" + READ_FEED + "feed.read()\n"
    run(write_program(tmp_path, body), "pcm0.mp4", "xpcm0", "f=pcm0", "-i", "pcm0", feeds=[bytes_feed(b"x")])
    args = json.loads((tmp_path / "args.json").read_text())
    assert args[-5:-1] == ["pcm0.mp4", "xpcm0", "f=pcm0", "-i"]
    assert args[-1].startswith("pipe:")
    assert args[-1] != "pipe:1"


def test_the_child_runs_in_the_given_folder_without_input(tmp_path: Path) -> None:
    program = write_program(tmp_path, "print(os.getcwd(), repr(sys.stdin.read()), file=sys.stderr)\n")
    assert run(program) == f"{tmp_path.resolve()} ''"


# --- feeds ---


def test_a_feed_is_delivered_whole(tmp_path: Path) -> None:
    blocks = [bytes([i % 251]) * size for i, size in enumerate((1, 0, 65536, 65537, 3, 1_500_000, 4096))]
    body = "import hashlib; print(hashlib.sha256(feed.readall()).hexdigest(), file=sys.stderr)\n"
    feed = bytes_feed(*blocks, memoryview(b"the end"))
    digest = run(write_program(tmp_path, READ_FEED + body), "pcm0", feeds=[feed])
    assert digest == hashlib.sha256(b"".join(blocks) + b"the end").hexdigest()


def test_every_feed_has_its_own_pipe(tmp_path: Path) -> None:
    body = (
        "one, other = (open(int(arg.removeprefix('pipe:')), 'rb') for arg in sys.argv[-2:])\n"
        "print(other.read(), one.read(), file=sys.stderr)\n"
    )
    feeds = [bytes_feed(b"first" * 30_000, placeholder="pcm0"), bytes_feed(b"second", placeholder="pcm1")]
    assert run(write_program(tmp_path, body), "pcm0", "pcm1", feeds=feeds) == f"{b'second'!r} {b'first' * 30_000!r}"


@pytest.mark.parametrize("then", ["sys.exit(0)", "time.sleep(0.3)"], ids=["and ends", "and works on"])
def test_a_child_that_closes_its_input_early_has_what_it_needs(tmp_path: Path, then: str) -> None:
    program = write_program(tmp_path, READ_FEED + f"feed.read(10); feed.close(); {then}\n")
    assert run(program, "pcm0", feeds=[endless_feed()]) == ""


def test_a_failure_of_the_child_outweighs_the_pipe_it_broke(tmp_path: Path) -> None:
    program = write_program(tmp_path, READ_FEED + "feed.read(10); sys.exit('Invalid data found')\n")
    with pytest.raises(ToolFailed, match="could not be read"):
        run(program, "pcm0", feeds=[endless_feed()])


@pytest.mark.parametrize("end", ["cancel", "stall"])
def test_a_feed_that_nobody_reads_does_not_hold_up_the_end(tmp_path: Path, end: str) -> None:
    program = write_program(tmp_path, HANG)
    person = Person(tmp_path)
    with pytest.raises(PipelineCancelled if end == "cancel" else ToolTimeout):
        run(
            program,
            "pcm0",
            feeds=[endless_feed()],
            should_cancel=person.should_cancel if end == "cancel" else lambda: False,
            stall_s=STALL_S,
        )
    assert is_gone(tmp_path)


@pytest.mark.parametrize(
    "raised",
    [OSError(errno.EIO, "the scratch disk is gone"), DiskFull("/scratch"), ValueError("a bug"), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_a_feed_that_raises_is_reported_although_the_child_ends_well(tmp_path: Path, raised: Exception) -> None:
    """Else a video with half its sound would pass for a success."""

    def break_off() -> Iterator[bytes]:
        yield b"half"
        raise raised

    program = write_program(tmp_path, READ_FEED + "feed.readall()\n")
    with pytest.raises(type(raised)) as caught:
        run(program, "pcm0", feeds=[Feed(placeholder="pcm0", blocks=break_off)])
    assert caught.value is raised


# --- what can't start, and what is left ---


def not_executable(folder: Path) -> Path:
    path = folder / "text"
    path.write_text("no program")
    return path


def no_interpreter(folder: Path) -> Path:
    path = folder / "script"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "make", [lambda folder: folder / "missing", not_executable, no_interpreter, lambda folder: folder]
)
def test_a_program_that_does_not_start_is_named(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    program = make(tmp_path)
    with pytest.raises(ToolMissing) as caught:
        run_ffmpeg(["-i", "pcm0"], ffmpeg=program, cwd=tmp_path, feeds=[bytes_feed(b"x")])
    assert str(program) in caught.value.message
    assert "FFMPEG_BINARY" in caught.value.message


@pytest.mark.parametrize("make", [lambda folder: folder / "missing", not_executable, lambda folder: folder])
def test_an_explicit_ffmpeg_must_be_a_program(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(ToolMissing) as caught:
        find_ffmpeg(make(tmp_path))
    assert str(make(tmp_path)) in caught.value.message


def test_an_explicit_ffmpeg_is_taken_and_else_the_packaged_one(tmp_path: Path) -> None:
    program = write_program(tmp_path, "")
    assert find_ffmpeg(program) == program
    assert os.access(find_ffmpeg(), os.X_OK)


def break_at_once() -> Iterator[bytes]:
    raise OSError(errno.EIO, "gone")
    yield b""


ENDINGS: dict[str, tuple[str, Feed, type[Exception] | None]] = {
    "success": (READ_FEED + "feed.readall()\n", bytes_feed(b"x" * 200_000), None),
    "closes its input": ("time.sleep(0.1)\n", endless_feed(), None),
    "failure": ("sys.exit(1)\n", endless_feed(), PipelineError),
    "hangs": (HANG, endless_feed(), ToolTimeout),
    "feed fails": (READ_FEED + "feed.readall()\n", Feed(placeholder="pcm0", blocks=break_at_once), OSError),
}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc, which is Linux's")
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_descriptor_is_left_open(tmp_path: Path, ending: str) -> None:
    body, feed, raised = ENDINGS[ending]
    program = write_program(tmp_path, body)
    before = count_descriptors()
    if raised is None:
        run(program, "pcm0", feeds=[feed], stall_s=STALL_S)
    else:
        with pytest.raises(raised):
            run(program, "pcm0", feeds=[feed], stall_s=STALL_S)
    assert count_descriptors() == before


def test_a_program_is_not_given_the_keys_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ("SUPABASE_SECRET_KEY", "WASABI_SECRET_ACCESS_KEY", "COOKIE_KEY", "REDIS_URL", "AUTH_BACKEND")
    for name in (*kept, "DATA_DIR"):
        monkeypatch.setenv(name, f"the value of {name}")
    said = run_tool([sys.executable, "-c", "import os; print(sorted(os.environ))"], timeout_s=20, cwd=tmp_path)
    assert "DATA_DIR" in said
    assert not [name for name in kept if name in said]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc, which is Linux's")
def test_no_descriptor_is_left_open_by_a_program_that_does_not_start(tmp_path: Path) -> None:
    before = count_descriptors()
    with pytest.raises(ToolMissing):
        run_ffmpeg(["pcm0"], ffmpeg=tmp_path / "missing", cwd=tmp_path, feeds=[bytes_feed(b"x"), endless_feed()])
    assert count_descriptors() == before


# --- helper programs ---


def test_a_tool_tells_what_it_printed_in_its_order(tmp_path: Path) -> None:
    body = "print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three')\n"
    assert run_tool([str(write_program(tmp_path, body))], timeout_s=20, cwd=tmp_path) == "one\ntwo\nthree"


def test_a_tool_that_fails_leaves_its_command_and_last_lines(tmp_path: Path) -> None:
    program = write_program(tmp_path, "sys.exit('Error! nothing to do')\n")
    with pytest.raises(ToolFailed) as caught:
        run_tool([str(program), "a b"], timeout_s=20, cwd=tmp_path)
    assert caught.value.detail == f"{program} 'a b'\nError! nothing to do"


def test_a_tool_that_finds_the_disk_full_says_so(tmp_path: Path) -> None:
    program = write_program(tmp_path, "sys.exit('OSError: [Errno 28] No space left on device')\n")
    with pytest.raises(DiskFull):
        run_tool([str(program)], timeout_s=20, cwd=tmp_path)


@pytest.mark.parametrize("deaf", [False, True], ids=["polite", "ignores SIGTERM"])
def test_a_tool_that_hangs_is_stopped(tmp_path: Path, deaf: bool) -> None:
    program = write_program(tmp_path, HANG, before_pid=DEAF if deaf else "")
    with pytest.raises(ToolTimeout, match="ffmpeg made no progress"):
        run_tool([str(program)], timeout_s=1, cwd=tmp_path)
    assert is_gone(tmp_path)


def test_a_tool_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="auto-editor does not start"):
        run_tool([str(tmp_path / "auto-editor"), "--version"], timeout_s=20, cwd=tmp_path)


# --- the real one ---


def test_the_real_ffmpeg_reports_its_way_to_the_end(tmp_path: Path) -> None:
    seen: list[float] = []
    args = ["-v", "warning", "-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "1", "-f", "null", "-"]
    assert run_ffmpeg(args, ffmpeg=find_ffmpeg(), cwd=tmp_path, duration_ms=1000, on_progress=seen.append) == ""
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_the_real_ffmpeg_reads_a_feed(tmp_path: Path) -> None:
    """A second of silence through a pipe comes out as long as it went in."""
    args = ["-v", "error", "-f", "s16le", "-ar", "8000", "-ch_layout", "mono", "-i", "pcm0", "-f", "s16le", "out.s16"]
    run_ffmpeg(args, ffmpeg=find_ffmpeg(), cwd=tmp_path, feeds=[bytes_feed(bytes(10_000), bytes(6_000))])
    assert (tmp_path / "out.s16").read_bytes() == bytes(16_000)


@pytest.mark.parametrize(
    ("args", "raised", "says"),
    [
        (["-i", "junk.mp4", "-f", "null", "-"], ToolFailed, "could not be read"),
        (["-f", "lavfi", "-i", "sine", "-t", "1", "-c:a", "nope", "o.mp4"], ToolMissing, "lacks a part"),
        (["-f", "lavfi", "-i", "sine", "-t", "1", "-af", "nope", "o.wav"], ToolMissing, "lacks a part"),
        (["-f", "lavfi", "-i", "sine", "-t", "1", "-f", "wav", "/dev/full"], DiskFull, "disk is full"),
        (["-nope"], ToolFailed, "could not finish"),
    ],
)
def test_the_real_ffmpeg_is_understood_when_it_fails(
    tmp_path: Path, args: list[str], raised: type[PipelineError], says: str
) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"this is no video" * 100)
    with pytest.raises(raised, match=says):
        run_ffmpeg(["-y", *args], ffmpeg=find_ffmpeg(), cwd=tmp_path)
