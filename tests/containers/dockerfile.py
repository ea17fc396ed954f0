"""The Dockerfile as a list of stages, and a stage carried out in a folder without Docker."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from config import PROJECT_ROOT

DOCKERFILE, IGNORED = PROJECT_ROOT / "Dockerfile", PROJECT_ROOT / ".dockerignore"
ROOT_PROGRAMS = ("apt-get", "useradd")
"""A step that begins with one of them sets the system up: it takes root, and its own machine."""
RUN_S = 900.0


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: ``RUN`` with its command, ``COPY`` with its words, …"""

    word: str
    text: str

    @property
    def options(self) -> Mapping[str, str]:
        """Its ``--name=value`` words."""
        found = re.match(r"(?:--[\w-]+=\S+\s+)*", self.text)
        return dict(part[2:].split("=", 1) for part in found[0].split()) if found else {}

    @property
    def arguments(self) -> Sequence[str]:
        """Its other words."""
        return [part for part in shlex.split(self.text) if not part.startswith("--")]


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between two FROM."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def find(self, word: str) -> list[Step]:
        """Return its instructions of one kind."""
        return [step for step in self.steps if step.word == word]


def read_stages() -> dict[str, Stage]:
    """Return the stages by name, in order; what stands before the first one is named ``""``."""
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE))
    stages = {"": Stage("", "")}
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, base)
        else:
            list(stages.values())[-1].steps.append(Step(word, " ".join(rest.split())))
    return stages


def line_up(target: str) -> list[Stage]:
    """Return the stages that ``target`` is built of, each after those it needs."""
    stages, found = read_stages(), list[Stage]()

    def add(name: str) -> None:
        if name not in stages:
            return  # an image from elsewhere
        stage = stages[name]
        for needed in (stage.base, *(step.options.get("from", "") for step in stage.find("COPY"))):
            if needed:
                add(needed)
        if stage not in found:
            found.append(stage)

    add(target)
    return found


def read_settings(target: str) -> dict[str, str]:
    """Return the environment that the image itself sets."""
    stages = read_stages()
    values: dict[str, str] = {}
    name = target
    while name in stages:
        for step in stages[name].find("ENV"):
            values = dict(part.split("=", 1) for part in shlex.split(step.text)) | values
        name = stages[name].base
    return values


def read_command(target: str, word: str = "CMD") -> list[str]:
    """Return the command of an image, or with ``HEALTHCHECK`` its health command."""
    text = read_stages()[target].find(word)[-1].text
    found = json.loads(text[text.index("[") :])
    assert isinstance(found, list)
    return found


def list_context(files: Sequence[str]) -> list[str]:
    """Return which of ``files`` (paths from the project's folder) are sent to the builder: the last rule decides."""
    rules = [line for line in IGNORED.read_text("utf-8").splitlines() if line and not line.startswith("#")]

    def is_sent(path: str) -> bool:
        parents = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
        sent = True
        for rule in rules:
            pattern = rule.removeprefix("!").removeprefix("**/")
            names = [Path(one).name for one in parents] if "**/" in rule else parents
            if any(fnmatch(one, pattern) for one in names):
                sent = rule.startswith("!")
        return sent

    return [path for path in files if is_sent(path)]


def list_files() -> list[str]:
    """Return the files of the project that are in git, or could be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(path for path in listed.split("\0") if path and (PROJECT_ROOT / path).is_file())


class Build:
    """An image's steps in a folder that stands for ``/app``, with ``/data`` and ``/models`` below it."""

    def __init__(self, folder: Path, arguments: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.arguments = dict(arguments or {})
        self.skipped: list[str] = []
        """The steps that only root can take."""
        self._context = list_context(list_files())
        self._environ: dict[str, str] = {}
        programs = folder.parent / "bin"
        programs.mkdir(parents=True)
        folder.mkdir()
        for name in ("data", "models"):
            (folder / name).mkdir(mode=0o700)
        python = programs / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(os.path.realpath(sys.executable))} "$@"\n')
        python.chmod(0o755)
        self._path = f"{programs}:/usr/local/bin:/usr/bin:/bin"

    def run(self, target: str) -> dict[str, str]:
        """Take all steps up to an image; return the environment its processes have. Raises `AssertionError`."""
        for stage in line_up(target):
            for step in stage.steps:
                self._take(step)
        return dict(self._environ)

    def _take(self, step: Step) -> None:
        match step.word:
            case "ENV":
                for part in shlex.split(step.text):
                    name, _, value = part.partition("=")
                    self._environ[name] = self._place(value).replace("$PATH", self._path)
            case "ARG":
                name, _, value = step.text.partition("=")
                self.arguments.setdefault(name, value)
            case "COPY":
                self._copy(step)
            case "RUN" if step.text.startswith(ROOT_PROGRAMS):
                self.skipped.append(step.text)
            case "RUN":
                self.run_step(step.text)

    def use_path(self) -> None:
        """Let commands find what the image's own PATH names, without any stage."""
        self._environ["PATH"] = f"{self.folder}/.venv/bin:{self._path}"

    def _place(self, value: str) -> str:
        moved = value.replace("/app", str(self.folder))
        return re.sub(r"^/(data|models)\b", lambda found: f"{self.folder}/{found[1]}", moved)

    def _copy(self, step: Step) -> None:
        *sources, target = step.arguments
        if "from" in step.options:  # here all stages share one folder
            assert all(Path(self._place(source)).exists() for source in sources), step
            return
        for source in sources:
            wanted = [
                path for path in self._context if source == "." or path == source or path.startswith(f"{source}/")
            ]
            assert wanted, f"{source} is not sent to the builder"
            for path in wanted:
                inside = (
                    path if source == "." or (PROJECT_ROOT / source).is_file() else str(Path(path).relative_to(source))
                )
                copy = self.folder / target / inside
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT_ROOT / path, copy)

    def run_step(self, command: str) -> None:
        """Run a command as a RUN step does. Raises `AssertionError` with what it said when it fails."""
        reach = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "SSL_")) or "proxy" in name.lower()
        }
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env={**reach, "HOME": str(self.folder.parent), "LANG": "C.UTF-8", **self.arguments, **self._environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )
        assert done.returncode == 0, (
            f"{command}\nended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        )
