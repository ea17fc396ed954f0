"""Puts one fault after the other into a copy of the code and runs the test that must notice it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from config import PROJECT_ROOT, load_settings
from tests.saboteurs.table import SABOTEURS, Saboteur, find_line, put_in

KILLED, SURVIVED = "killed", "SURVIVED"
_PASSED, _FAILED = 0, 1
"""Exit statuses of pytest; any other means that the test did not even run."""
_BEFORE_S, _TEST_S, _GRACE_S = 1200, 30, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run of tests ended."""

    status: int | None
    """None when it did not end in time."""
    seconds: float
    output: str

    @property
    def is_green(self) -> bool:
        """Whether every test ran and passed: a skipped one proves nothing."""
        return self.status == _PASSED and not re.search(r"\b\d+ (skipped|xfailed)\b", self.output)


def copy_tree(source: Path, target: Path) -> None:
    """Copy what git knows or would add of ``source``: no environment, no results, no history."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout
    for name in sorted({name for name in listed.split("\0") if name}):
        if (source / name).is_file():  # else it is deleted and not yet committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def run_tests(root: Path, tests: Sequence[str], *flags: str, limit_s: float) -> Ended:
    """Run ``tests`` of the tree ``root`` in a process group of their own; nothing of it is left afterwards."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags, *tests]
    command.append(f"--basetemp={root.with_name('scratch')}")
    settings = load_settings()
    environ = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",  # bytecode is told apart by second and size: too coarse for one-line faults
        "TEST_MEDIA": str(settings.test_media),
        "WHISPER_MODEL_DIR": str(settings.whisper_model_dir),
    }
    started = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as output:  # a pipe could be held open by what a fault left
        child = subprocess.Popen(
            command, cwd=root, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        status = None
        try:
            with suppress(subprocess.TimeoutExpired):
                status = child.wait(limit_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        seconds = time.monotonic() - started
        output.seek(0)
        return Ended(status=status, seconds=seconds, output=output.read())


def judge(saboteur: Saboteur, root: Path) -> tuple[str, Ended]:
    """Put the fault into the tree ``root``, run its test, and take it out again; return the verdict."""
    path = root / saboteur.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(put_in(saboteur, whole), encoding="utf-8")
    try:
        ended = run_tests(root, [saboteur.test], "-x", f"--timeout={_TEST_S}", limit_s=_TEST_S + _GRACE_S)
    finally:
        path.write_text(whole, encoding="utf-8")
    if ended.status is None or ended.status == _FAILED:
        return KILLED, ended
    return (SURVIVED if ended.status == _PASSED else f"BROKEN {ended.status}"), ended


def try_all(saboteurs: Sequence[Saboteur], root: Path) -> list[str]:
    """Judge each saboteur, print its row, and return the names of those that were not killed."""
    names = max(len(saboteur.name) for saboteur in saboteurs)
    places = max(len(saboteur.file) for saboteur in saboteurs) + 4
    tests = max(len(saboteur.test) for saboteur in saboteurs)
    print(f"{'fault':<{names}}  {'where':<{places}}  {'test':<{tests}}  verdict   seconds")
    alive = []
    for saboteur in saboteurs:
        line = find_line(saboteur, (root / saboteur.file).read_text(encoding="utf-8"))
        place = f"{saboteur.file}:{line}"
        verdict, ended = judge(saboteur, root)
        row = f"{saboteur.name:<{names}}  {place:<{places}}  {saboteur.test:<{tests}}"
        print(f"{row}  {verdict:<8}  {ended.seconds:5.1f}", flush=True)
        if verdict != KILLED:
            alive.append(saboteur.name)
        if verdict.startswith("BROKEN"):
            print(ended.output)
    return alive


def main(arguments: Sequence[str]) -> int:
    """Try all saboteurs, or those whose names hold one of ``arguments``; 1 when one survives or a test was red."""
    chosen = [each for each in SABOTEURS if not arguments or any(part in each.name for part in arguments)]
    if not chosen:
        print("No saboteur has such a name.", file=sys.stderr)
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="saboteurs-") as folder:
        root = Path(folder) / "checkout"
        copy_tree(PROJECT_ROOT, root)
        tests = list(dict.fromkeys(saboteur.test for saboteur in chosen))
        print(f"{len(chosen)} saboteurs; first their {len(tests)} tests on the code as it is ...", flush=True)
        before = run_tests(root, tests, "-rs", limit_s=_BEFORE_S)
        if not before.is_green:
            print(before.output)
            print("A test is red or skipped without any fault: mend that first.", file=sys.stderr)
            return 1
        print(f"all green in {before.seconds:.0f} s\n", flush=True)
        alive = try_all(chosen, root)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"\n{len(chosen) - len(alive)} of {len(chosen)} killed in {minutes} min {seconds} s")
    if alive:
        print(f"No test noticed: {', '.join(alive)}", file=sys.stderr)
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
