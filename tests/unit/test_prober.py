"""What is made of the words of a probe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.prober import read_last_event
from config import PROJECT_ROOT


@pytest.mark.parametrize(
    ("output", "event"),
    [
        ("", {}),
        ("Segmentation fault", {}),
        ('{"event": "begin"}', {"event": "begin"}),
        ('{"event": "begin"}\n[mov] odd box\n{"event": "error", "exit": 3}\n', {"event": "error", "exit": 3}),
        ('{"event": "begin"}\n[mov] no newline{"event": "probe"}\nWARNING x: y', {"event": "probe"}),
        ('{"event": "begin"}\n{"event": "pro', {"event": "begin"}),
        ('python -m pipeline /tmp/{"event" --probe\n{"event": "begin"}', {"event": "begin"}),
        ("[1, 2]\n17", {}),
    ],
)  # fmt: skip
def test_the_last_event_is_found(output: str, event: dict[str, object]) -> None:
    assert read_last_event(output) == event


def run_limited(code: str, *, cpu_s: int = 60, memory: int = 1 << 30, output: int = subprocess.PIPE) -> tuple[int, str]:
    """Run code in a process that has limited itself; return its status and what it printed."""
    begin = f"from pipeline.limits import limit_process\nlimit_process(cpu_s={cpu_s}, memory_bytes={memory})\n"
    command = [sys.executable, "-c", begin + code]
    done = subprocess.run(command, cwd=PROJECT_ROOT, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, (done.stdout or "") + done.stderr


def test_a_limited_process_writes_no_file(tmp_path: Path) -> None:
    status, words = run_limited(f"from pathlib import Path\nPath({str(tmp_path / 'x')!r}).write_text('1')")
    assert status == 1
    assert "File too large" in words
    assert (tmp_path / "x").read_bytes() == b""


def test_a_limited_process_gets_no_more_memory() -> None:
    status, words = run_limited("bytearray(2 << 30)")
    assert status == 1
    assert "MemoryError" in words


def test_a_limited_process_is_ended_when_its_time_is_up() -> None:
    status, _ = run_limited("while True: pass", cpu_s=1)
    assert status < 0


def test_a_limited_process_leaves_no_core_dump() -> None:
    _, words = run_limited("import resource; print(resource.getrlimit(resource.RLIMIT_CORE))")
    assert words.strip() == "(0, 0)"


def test_output_into_a_file_may_still_be_written(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        status, words = run_limited("print('written')", output=file.fileno())
    assert (status, words) == (0, "")
    assert (tmp_path / "out").read_text() == "written\n"
