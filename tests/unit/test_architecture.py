"""The shape of the code, held by its import graph: who may import whom, and who may touch the machine.

The rules are read off the sources, deferred imports included, so none is dodged by importing late. They are functions
of a set of sources: the second half of this file shows them small bad ones.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_PRODUCT = {"tests", "build", "data", "out", "venv"}
MAX_LINES, MANY_LINES = 600, 400

VALUES = ("pipeline.errors", "pipeline.models", "pipeline.options", "pipeline.timeline")
JOB_VALUES = ("jobs.models", "jobs.errors", "jobs.log", "jobs.version")
FOR_PAGES = ("jobs.service", "jobs.fields", *JOB_VALUES)
MAY_IMPORT: Mapping[str, Sequence[str]] = {
    "config": ("pipeline.options",),
    # the web
    "app": ("api", "ui", "config", "jobs.health", "jobs.outside", "jobs.ports", *FOR_PAGES),
    "api": ("api", *FOR_PAGES),
    "pages": ("ui", *FOR_PAGES, *VALUES),
    "ui": ("ui", *FOR_PAGES, *VALUES),
    # the life of a job
    "jobs": ("jobs.ports", "jobs.storage", "jobs.quota", "jobs.fields", "jobs.roles", *JOB_VALUES, *VALUES),
    "jobs.accounts": (
        "jobs.ports",
        "jobs.fields",
        "jobs.roles",
        "jobs.lockout",
        "jobs.credentials",
        "jobs.passwords",
        "jobs.sessions",
        *JOB_VALUES,
        *VALUES,
    ),
    "jobs.lockout": ("jobs.locks", "jobs.ports", *JOB_VALUES),
    "jobs.passwords": ("jobs.credentials", "jobs.ports", *JOB_VALUES),
    "jobs.sessions": ("jobs.credentials", "jobs.ports", *JOB_VALUES),
    "jobs.uploads": (
        "jobs.admission",
        "jobs.arrival",
        "jobs.locks",
        "jobs.names",
        "jobs.ports",
        "jobs.storage",
        "jobs.quota",
        *JOB_VALUES,
        *VALUES,
    ),
    "jobs.videos": ("jobs.archive", "jobs.ports", "jobs.storage", "jobs.quota", *JOB_VALUES, *VALUES),
    "jobs.recovery": ("jobs.inventory", "jobs.ports", "jobs.storage", "jobs.quota", *JOB_VALUES, *VALUES),
    "jobs.reconcile": ("jobs.inventory", "jobs.ports", "jobs.storage", *JOB_VALUES, *VALUES),
    "jobs.admin": ("jobs.health", "jobs.ports", "jobs.roles", *JOB_VALUES, *VALUES),
    "jobs.upkeep": ("jobs", "adapters", "config", *VALUES),
    "jobs.service": ("jobs", *VALUES),
    "jobs.watch": ("jobs.ports", *JOB_VALUES, "pipeline.models", *VALUES),
    "jobs.machine": ("jobs.ports", *JOB_VALUES, *VALUES),
    "jobs.parts": (*VALUES, "pipeline.chunks", "pipeline.join", "pipeline.shares", "pipeline.weights"),
    "jobs.crew": (
        "jobs.machine",
        "jobs.parts",
        "jobs.ports",
        "jobs.quota",
        "jobs.storage",
        *JOB_VALUES,
        "pipeline.chunks",
        "pipeline.shares",
        *VALUES,
    ),
    "jobs.helping": (
        "jobs.machine",
        "jobs.parts",
        "jobs.watch",
        "jobs.workspace",
        "jobs.ports",
        "jobs.storage",
        *JOB_VALUES,
        *VALUES,
    ),
    "jobs.tasks": (
        "jobs.crew",
        "jobs.machine",
        "jobs.watch",
        "jobs.workspace",
        "jobs.ports",
        "jobs.storage",
        *JOB_VALUES,
        "pipeline.fanout",
        "pipeline.run",
        "pipeline.transcribe",
        *VALUES,
    ),
    "jobs.metrics": ("jobs.health", "jobs.ports", *JOB_VALUES, "pipeline.models"),
    "jobs.needs": ("jobs.health", "jobs.installation", "jobs.ports", "jobs.storage", *JOB_VALUES),
    "jobs.equipment": (
        "pipeline.devices",
        "pipeline.encoders",
        "pipeline.weights",
        "pipeline.ffmpeg",
        *JOB_VALUES,
        *VALUES,
    ),
    "jobs.worker": ("jobs", "adapters", "config", "pipeline.weights", "pipeline.ffmpeg", *VALUES),
    "jobs.outside": ("adapters", "config", "jobs.installation", "jobs.ports", "jobs.models", *VALUES),
    "jobs.supervisor": ("config", "jobs.log"),
    "jobs.pulse": ("config", "jobs.health", "jobs.outside", *JOB_VALUES),
    "adapters": ("adapters", "jobs.ports", "jobs.rows", *JOB_VALUES, "pipeline.options", "pipeline.errors"),
    "adapters.supabase_auth": ("adapters.connections", "jobs.ports", "jobs.fields", *JOB_VALUES),
    "adapters.prober": ("jobs.ports", *JOB_VALUES, "pipeline.ffmpeg", *VALUES),
    # the media library, and its commands
    "pipeline": ("pipeline",),
    **dict.fromkeys(VALUES, VALUES),
    **dict.fromkeys(("pipeline.__main__", "pipeline.sample", "pipeline.weights"), ("pipeline", "config")),
}
"""What of ours a module may import. A name stands for all below it too; for the importer the longest name counts."""

STAGES = tuple(f"pipeline.{name}" for name in ("probe", "cuts", "transcribe", "captions", "render", "qa"))
"""Steps that know nothing of each other: `pipeline.run` passes the values on."""

ONLY_FOR: Mapping[str, Sequence[str]] = {
    # the top of the library
    "pipeline.run": ("pipeline.__main__", "pipeline.fanout", "jobs.tasks"),
    "pipeline.fanout": ("jobs.tasks",),
    "pipeline.join": ("jobs.parts", "pipeline.fanout"),
    **dict.fromkeys(("pipeline.chunks", "pipeline.shares"), ("jobs.parts", "jobs.crew", "pipeline.fanout")),
    "pipeline.__main__": (),
    "pipeline.sample": (),
    # what starts programs, and the libraries that belong to one part
    **dict.fromkeys(("subprocess", "multiprocessing", "pty"), ("pipeline.ffmpeg", "jobs.supervisor")),
    **dict.fromkeys(
        ("rq", "redis", "supabase", "supabase_auth", "postgrest", "psycopg", "boto3", "botocore", "sqlite3"),
        ("adapters",),
    ),
    "streamlit": ("app", "pages", "ui"),
}
"""Modules, ours and others', that only some of ours may import."""

SPAWNING = ("system", "popen", "fork", "exec", "spawn", "posix_spawn")
"""Beginnings of the names in `os` that start a program."""
SPAWNING_ELSEWHERE = {"create_subprocess_exec", "create_subprocess_shell", "ProcessPoolExecutor"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
KNOW_ENVIRONMENT = ("config", "pipeline.ffmpeg")
"""Who reads it, and who hands the harmless part of it on to programs."""

WEB = ("app", "api", "pages", "ui")
HEAVY = {"torch", "whisper", "ctranslate2", "faster_whisper"}

Sources = Mapping[str, str]
"""Texts of modules by dotted name; a package is named ``name.__init__``."""


@dataclass(frozen=True, order=True)
class Import:
    """One imported module, as far as it can be told from the source: ours by its full name."""

    importer: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def read_product(root: Path) -> dict[str, str]:
    """Return the sources of everything that is delivered."""
    paths = [path.relative_to(root) for pattern in ("*.py", "[a-z]*/**/*.py") for path in root.glob(pattern)]
    product = [path for path in sorted(paths) if path.parts[0] not in NOT_PRODUCT]
    return {".".join(path.with_suffix("").parts): (root / path).read_text("utf-8") for path in product}


def find_violations(sources: Sources) -> list[str]:
    """Return one line for every broken rule but size."""
    imports = sorted(one for name, text in sources.items() for one in find_imports(name, text, sources))
    return [
        *check_directions(sources, imports),
        *check_owners(imports),
        *check_cycles(imports),
        *check_web(imports),
        *(line for name, text in sources.items() for line in check_machine(name, text)),
    ]


def find_imports(name: str, text: str, sources: Sources) -> Iterator[Import]:
    """Yield every import of a module, wherever it stands in it."""
    importer = name.removesuffix(".__init__")
    package = name.split(".")[:-1]

    def resolve(target: str) -> str:
        while target and target not in sources and f"{target}.__init__" not in sources:
            target = target.rpartition(".")[0]
        return target

    for node in ast.walk(ast.parse(text, name)):
        targets: list[str] = []
        match node:
            case ast.Import(names=names):
                targets = [alias.name for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package[: len(package) - level + 1] if level else []
                base = ".".join([*above, *([module] if module else [])])
                targets = [f"{base}.{alias.name}" for alias in names]
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(target)), *_]
            ):
                targets = [target] if called in ("import_module", "__import__") else []
        for target in targets:
            assert isinstance(node, ast.stmt | ast.expr)
            yield Import(importer, node.lineno, resolve(target) or target)


def covers(name: str, module: str) -> bool:
    """Tell whether ``module`` is ``name`` or lies below it."""
    return module == name or module.startswith(f"{name}.")


def is_one_of(module: str, names: Sequence[str]) -> bool:
    return any(covers(name, module) for name in names)


def check_directions(sources: Sources, imports: Sequence[Import]) -> Iterator[str]:
    rules = {}
    for name in sources:
        module = name.removesuffix(".__init__")
        places = [place for place in MAY_IMPORT if covers(place, module)]
        if places:
            rules[module] = MAY_IMPORT[max(places, key=len)]
        else:
            yield f"{module} has no place in MAY_IMPORT"
    ours = {place.partition(".")[0] for place in MAY_IMPORT}
    for one in imports:
        if one.target.partition(".")[0] in ours and not is_one_of(one.target, rules.get(one.importer, ())):
            yield f"{one}: not a direction of the design"
        stages = [stage for stage in STAGES if covers(stage, one.importer) or covers(stage, one.target)]
        if len(stages) == 2:
            yield f"{one}: a stage knows no other stage"


def check_owners(imports: Sequence[Import]) -> Iterator[str]:
    for one in imports:
        for name, owners in ONLY_FOR.items():
            if covers(name, one.target) and not is_one_of(one.importer, owners):
                yield f"{one}: only {', '.join(owners) or 'a shell'} may"


def check_cycles(imports: Sequence[Import]) -> Iterator[str]:
    graph: dict[str, set[str]] = {}
    for one in imports:
        graph.setdefault(one.importer, set()).add(one.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"import cycle: {' < '.join(error.args[1])}"


def check_web(imports: Sequence[Import]) -> Iterator[str]:
    """Follow everything the web process may ever import, and find no speech engine there."""
    reached = {one.importer: one.importer for one in imports if is_one_of(one.importer, WEB)}
    waiting = list(reached)
    while waiting:
        importer = waiting.pop()
        for one in imports:
            if one.importer == importer and one.target not in reached:
                reached[one.target] = f"{reached[importer]} > {one.target}"
                waiting.append(one.target)
    yield from (f"the web imports {way}" for target, way in reached.items() if target.partition(".")[0] in HEAVY)


def check_machine(name: str, text: str) -> Iterator[str]:
    """Find programs that are started and environments that are read by way of attributes."""
    tree = ast.parse(text, name)
    aliases = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names_of_os = {alias.asname or alias.name for alias in aliases if alias.name == "os"}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in names_of_os:
                from_os, used = True, [attr]
            case ast.Attribute(attr=attr):
                from_os, used = False, [attr]
            case ast.ImportFrom(module=module, names=names):
                from_os, used = module == "os", [alias.name for alias in names]
            case _:
                continue
        for attr in used:
            starts = (from_os and attr.startswith(SPAWNING)) or attr in SPAWNING_ELSEWHERE
            if starts and not is_one_of(name, ONLY_FOR["subprocess"]):
                yield f"{name}:{node.lineno} uses {attr}: only {', '.join(ONLY_FOR['subprocess'])} may start a program"
            if from_os and attr in ENVIRONMENT and name not in KNOW_ENVIRONMENT:
                yield f"{name}:{node.lineno} uses os.{attr}: only config reads the environment"


def measure_modules(sources: Sources) -> dict[str, int]:
    """Return the line counts of modules with more than `MANY_LINES`."""
    lines = {name: text.count("\n") for name, text in sources.items()}
    return {name: count for name, count in lines.items() if count > MANY_LINES}


IMPORT_AND_WATCH = """
import importlib, json, os, sys

touched = []

def watch(event, args):
    if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        touched.append(f"open {args[0]}")
    elif event.startswith(("subprocess.", "socket.connect", "socket.getaddrinfo", "os.mkdir", "os.re")):
        touched.append(event)

sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([touched, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def import_fresh(root: Path, modules: Sequence[str]) -> tuple[list[str], set[str]]:
    """Import modules in a new interpreter; return what they did to the machine, and every top-level module loaded."""
    command = [sys.executable, "-B", "-c", IMPORT_AND_WATCH, *modules]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    child = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    touched, loaded = json.loads(child.stdout)
    return touched, set(loaded)


# --- the product ---


def test_the_product_keeps_the_rules() -> None:
    violations = find_violations(read_product(ROOT))
    assert not violations, "\n".join(violations)


def test_modules_stay_small() -> None:
    large = measure_modules(read_product(ROOT))
    report = "\n".join(f"{name}: {count} lines" for name, count in sorted(large.items(), key=lambda item: -item[1]))
    assert all(count <= MAX_LINES for count in large.values()), (
        f"Over {MAX_LINES} lines fail, over {MANY_LINES} are worth a split:\n{report}"
    )


def test_importing_does_nothing_and_loads_no_speech_engine() -> None:
    modules = [name.removesuffix(".__init__") for name in read_product(ROOT)]
    touched, loaded = import_fresh(ROOT, [name for name in modules if not is_one_of(name, ("app", "pages", "ui"))])
    assert "pipeline" in loaded
    assert not touched
    assert not loaded & {*HEAVY, "streamlit"}


def test_upkeep_of_an_embedded_installation_loads_no_library_of_a_service() -> None:
    _, loaded = import_fresh(ROOT, ["jobs.upkeep.__main__"])
    assert not loaded & {"psycopg", "postgrest", "supabase", "boto3", "botocore", "streamlit"}


# --- the rules themselves: each must be able to fail ---


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"pipeline.probe": "import jobs.service"}, "pipeline.probe:1 imports jobs.service: not a direction"),
        ({"pipeline.probe": "def f():\n    from config import load_settings"}, "pipeline.probe:2 imports config"),
        ({"pipeline.models": "from pipeline import qa", "pipeline.qa": ""}, "pipeline.models:1 imports pipeline.qa"),
        ({"pipeline.models": "from . import qa", "pipeline.qa": ""}, "pipeline.models:1 imports pipeline.qa"),
        ({"pipeline.__init__": "from .audio import x", "pipeline.audio": "import ui"}, "pipeline.audio:1 imports ui"),
        ({"pipeline.cuts": "from pipeline.run import run", "pipeline.run": ""}, "only pipeline.__main__, pipeline.fan"),
        ({"pipeline.cuts": "import pipeline.sample", "pipeline.sample": ""}, "only a shell may"),
        ({"pipeline.qa": "from pipeline.render import plan", "pipeline.render": ""}, "a stage knows no other stage"),
        ({"pages.library": "import jobs.tasks"}, "pages.library:1 imports jobs.tasks: not a direction"),
        ({"pages.library": "import adapters.local"}, "pages.library:1 imports adapters.local: not a direction"),
        ({"api.uploads": "import config"}, "api.uploads:1 imports config: not a direction"),
        ({"jobs.service": "from adapters import sqlite"}, "jobs.service:1 imports adapters"),
        ({"jobs.service": "import importlib\nimportlib.import_module('adapters')"}, "jobs.service:2 imports adapters"),
        ({"helpers.text": ""}, "helpers.text has no place"),
        ({"pipeline.qa": "import subprocess"}, "pipeline.qa:1 imports subprocess: only pipeline.ffmpeg"),
        ({"jobs.tasks": "from multiprocessing.pool import Pool"}, "jobs.tasks:1 imports multiprocessing"),
        ({"pipeline.qa": "from asyncio import create_subprocess_exec"}, "pipeline.qa:1 uses create_subprocess_exec"),
        ({"pipeline.qa": "import concurrent.futures as c\nc.ProcessPoolExecutor()"}, "pipeline.qa:2 uses ProcessPool"),
        ({"pipeline.qa": "import os\nos.system('ls')"}, "pipeline.qa:2 uses system"),
        ({"pipeline.qa": "import os as o\no.execvp('ls', [])"}, "pipeline.qa:2 uses execvp"),
        ({"pipeline.qa": "from os import posix_spawn"}, "pipeline.qa:1 uses posix_spawn"),
        ({"pipeline.qa": "import os\nos.environ['A']"}, "pipeline.qa:2 uses os.environ"),
        ({"jobs.worker": "from os import getenv"}, "jobs.worker:1 uses os.getenv"),
        ({"jobs.service": "import streamlit as st"}, "jobs.service:1 imports streamlit"),
        ({"jobs.service": "from redis.client import Redis"}, "jobs.service:1 imports redis.client"),
        ({"app": "import sqlite3"}, "app:1 imports sqlite3"),
        ({"pipeline.a": "import pipeline.b", "pipeline.b": "def f():\n    import pipeline.a"}, "import cycle: "),
        ({"ui.cards": "import jobs.models", "jobs.models": "import torch.nn"}, "ui.cards > jobs.models > torch"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_found(sources: dict[str, str], expected: str) -> None:
    assert any(expected in violation for violation in find_violations(sources)), find_violations(sources)


def test_the_design_itself_breaks_no_rule() -> None:
    assert not find_violations(
        {
            "app": "import api.uploads\nimport config\nimport jobs.outside\nimport streamlit\nimport ui.router",
            "api.uploads": "from jobs.service import Service",
            "pages.library": "import streamlit\nfrom jobs.service import Service\nfrom ui import cards",
            "ui.router": "import streamlit",
            "ui.cards": "from jobs.models import ProcessingJob",
            "jobs.service": "from jobs import accounts, models, ports",
            "jobs.accounts": "from jobs.ports import Database",
            "jobs.ports": "from jobs.models import ProcessingJob",
            "jobs.models": "from pipeline.models import Stage",
            "jobs.tasks": "from jobs.ports import Database\nfrom pipeline.run import run_pipeline",
            "jobs.outside": "import adapters.local\nimport config\nfrom jobs.ports import Database",
            "jobs.worker": "import adapters.local\nimport config\nimport jobs.tasks",
            "jobs.supervisor": "import os\nimport subprocess\nos.killpg(1, 15)",
            "adapters.local": "import sqlite3\nfrom jobs.ports import Database",
            "config": "import os\nfrom pipeline.options import SpeechEngine\nos.environ",
            "pipeline.__init__": "",
            "pipeline.__main__": "from config import load_settings\nfrom pipeline.run import run_pipeline",
            "pipeline.run": "from pipeline import qa, transcribe",
            "pipeline.qa": "import os.path\nfrom pipeline.ffmpeg import run_ffmpeg\nself.environ",
            "pipeline.transcribe": "def f():\n    import torch",
            "pipeline.ffmpeg": "import os\nimport subprocess\nos.pipe()",
            "pipeline.models": "from pipeline.errors import PipelineError",
            "pipeline.options": "",
            "pipeline.errors": "",
        }
    )


def test_only_large_modules_are_measured() -> None:
    assert measure_modules({"small": "\n" * MANY_LINES, "large": "\n" * (MANY_LINES + 1)}) == {"large": MANY_LINES + 1}


def test_the_watch_sees_what_an_import_does(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "quiet.py").write_text("open(__file__).close()", "utf-8")
    (tmp_path / "busy.py").write_text(
        "import os, subprocess, torch\nopen('log', 'a').close()\nsubprocess.run(['true'])\nos.mkdir('scratch')", "utf-8"
    )
    assert import_fresh(tmp_path, ["quiet"])[0] == []
    touched, loaded = import_fresh(tmp_path, ["busy"])
    assert touched == ["open log", "subprocess.Popen", "os.mkdir"]
    assert "torch" in loaded
