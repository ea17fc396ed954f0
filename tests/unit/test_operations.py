"""The operator's page is held to the code: what it names is there, and what it quotes is said."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from config import PROJECT_ROOT
from jobs.upkeep.__main__ import COMMANDS
from tests.containers.compose import COMPOSE, read_services
from tests.containers.dockerfile import read_stages

PAGE = PROJECT_ROOT / "docs" / "operations.md"
TEXT = PAGE.read_text("utf-8")
WORDS_OF_MAKE = {"IN", "OUT", "NAME", "ARGS"}
NOT_OURS = {"SIGTERM", "PWD", "PASSWORD", "SHA-256"}
PRODUCT = ("*.py", "adapters/**/*.py", "api/**/*.py", "jobs/**/*.py", "ui/**/*.py")


def read_lines(language: str = "sh") -> list[str]:
    """Return the lines of the page's blocks in a language, those that go on joined, without comments."""
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def read_blocks(heading: str) -> list[str]:
    """Return the shell blocks below a heading."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, re.MULTILINE | re.DOTALL)
    return [dedent(block) for block in blocks]


def make_compose_parser() -> ArgumentParser:
    """Return a parser of what the page uses of `docker compose`; it ends the test at anything else."""
    parser = ArgumentParser(prog="docker compose")
    parser.add_argument("--profile")
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name) for name in ("up", "build", "stop", "down", "logs", "run", "exec")}
    for name in ("up", "run"):
        made[name].add_argument("--no-deps", action="store_true")
    made["up"].add_argument("-d", action="store_true", required=True)
    made["up"].add_argument("--wait", action="store_true")
    made["up"].add_argument("--scale", type=lambda text: text.partition("=")[0])
    made["logs"].add_argument("-f", action="store_true")
    made["logs"].add_argument("--tail", type=int)
    made["run"].add_argument("--rm", action="store_true", required=True)
    made["run"].add_argument("-v")
    for name in ("up", "build", "stop", "logs"):
        made[name].add_argument("services", nargs="*")
    for name in ("run", "exec"):
        made[name].add_argument("services", nargs=1)
        made[name].add_argument("words", nargs=REMAINDER)
    return parser


def read_compose_commands(text: str) -> list[Namespace]:
    """Return every `docker compose` line of a block."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [make_compose_parser().parse_args(words[2:]) for words in lines if words[:2] == ["docker", "compose"]]


def read_targets() -> set[str]:
    makefile = (PROJECT_ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def read_settings() -> set[str]:
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (PROJECT_ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))


def list_sentences() -> Iterator[str]:
    """Yield every piece of text that the product's code holds."""
    for pattern in PRODUCT:
        for path in PROJECT_ROOT.glob(pattern):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_its_commands_exist() -> None:
    lines = read_lines()
    named = {word for line in lines for word in re.findall(r"\bmake ([a-z-]+)", line)}
    named |= set(re.findall(r"`make ([a-z-]+)", TEXT))
    assert {"export", "import", "migrate", "worker"} <= named <= read_targets()
    assert set(re.findall(r"jobs\.upkeep ([a-z-]+)", TEXT)) <= set(COMMANDS)
    for line in lines:
        shlex.split(line, comments=True)  # quotes are closed


def test_its_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.upkeep.__main__ import main

    named = re.findall(r"make ([a-z]+)[^\n|]*ARGS=(--[a-z-]+)", TEXT)
    assert {("import", "--verify"), ("sweep", "--dry-run")} <= set(named)
    for command, option in named:
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert option in capsys.readouterr().out


def test_its_settings_exist() -> None:
    known = read_settings() | WORDS_OF_MAKE | NOT_OURS
    code = re.findall(r"`([^`\n]+)`", TEXT) + [line.partition(" #")[0] for line in read_lines()]
    named = {word for piece in code for word in re.findall(r"(?<!=)\b[A-Z][A-Z0-9_]{2,}\b(?!\*)", piece)}
    starred = {word for piece in code for word in re.findall(r"\b([A-Z]+_)\*", piece)}
    assert {"DRAIN_S", "METRICS_TOKEN", "REDIS_PASSWORD"} <= named
    assert named <= known
    assert starred <= {f"{name.partition('_')[0]}_" for name in known}


def test_what_is_said_is_quoted() -> None:
    table = TEXT.partition("## When something is wrong")[2]
    quotes = [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("| ")][1:]
    sentences = [quote for quote in quotes if quote[0].isupper()]
    assert len(sentences) > 10
    said = list(list_sentences())
    for sentence in sentences:
        for part in sentence.split(" … "):
            assert any(part in text for text in said), part


def test_its_metrics_are_told() -> None:
    told = (PROJECT_ROOT / "jobs" / "metrics.py").read_text("utf-8")
    named = {name.removesuffix("_total") for name in re.findall(r"\bmvf_[a-z_]+", TEXT)}
    assert len(named) > 5
    for name in named:
        assert f'"{name}"' in told, name
    (scrape,) = yaml.safe_load("\n".join(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)))["scrape_configs"]
    assert scrape["authorization"].keys() == {"credentials_file"}


def test_its_services_and_profiles_exist() -> None:
    services = read_services({})
    profiles = {profile for service in services.values() for profile in service.profiles}
    section = TEXT.partition("## Containers")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)) == profiles
    commands = read_compose_commands("\n".join(read_lines()))
    assert {command.command for command in commands} == {"up", "build", "stop", "down", "logs", "run", "exec"}
    for command in commands:
        assert set(getattr(command, "services", ())) <= services.keys()
        assert command.profile in profiles | {None}
        assert getattr(command, "scale", None) in (None, "worker")
    volume = re.search(r"`docker volume\s+rm\s+(\S+)`", TEXT)
    document = yaml.safe_load(COMPOSE.read_text("utf-8"))
    assert volume and volume[1] in [f"{document['name']}_{name}" for name in document["volumes"]]


def test_upkeep_in_containers_reaches_what_it_works_on() -> None:
    runs = [one for one in read_compose_commands("\n".join(read_lines())) if one.command == "run" and one.words]
    assert [run.words[3] for run in runs] == ["export", "import"]
    for run in runs:
        assert run.words[:3] == ["python", "-m", "jobs.upkeep"]
        name, folder = run.words[3:5]
        parser = ArgumentParser()
        COMMANDS[name].add_arguments(parser)
        parser.parse_args(run.words[4:])
        assert folder.startswith(f"{run.v.partition(':')[2]}/")
        for service in (run.services[0], "migrate"):
            assert "data:/data" in read_services({})[service].raw["volumes"]
    assert "export and import take `migrate` in place of `web`" in TEXT
    user = read_stages()["web"].find("USER")[-1].text
    assert f"install -d -o {user} -m 700 backups " in TEXT


def test_an_update_of_containers_builds_first_and_needs_no_queue_that_is_elsewhere() -> None:
    updates = [read_compose_commands(block) for block in read_blocks("Containers") if "docker compose build" in block]
    assert len(updates) == 2
    for first, second, *_ in updates:
        assert (first.command, second.command) == ("build", "stop")
    _, elsewhere = updates
    starting = [command for command in elsewhere if command.command in ("up", "run")]
    assert all(command.no_deps for command in starting)
    assert {name for one in starting for name in one.services} == {"migrate", "bucket", "web", "worker", "proxy"}


def test_moving_carries_what_the_old_settings_name_to_the_new_ones(tmp_path: Path) -> None:
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text('#!/bin/sh\necho "$1 $DATA_DIR" >> done.txt\n')
    make.chmod(0o755)
    blocks = read_blocks("Move to Supabase and Wasabi, or back")
    for block, data_dir in zip(blocks, ("old", "new"), strict=True):
        (tmp_path / ".env").write_text(f"DATA_DIR={data_dir}\n")
        path = {"PATH": f"{make.parent}:/usr/bin:/bin"}  # a new shell
        subprocess.run(["sh", "-e", "-c", block], cwd=tmp_path, env=path, check=True, timeout=20)
    assert (tmp_path / "done.txt").read_text().splitlines() == [
        "export old", "migrate new", "bucket new", "import new", "reconcile new", "run new",
    ]  # fmt: skip


def test_no_password_is_in_a_command_line() -> None:
    lines = [line for line in read_lines() if line.startswith("pg_")]
    assert len(lines) == 2
    assert not any("SUPABASE_DB_URL" in line or re.search(r"://[^@\s]*:[^@\s]*@", line) for line in lines)


def test_the_set_up_says_how_much_is_fetched() -> None:
    readme = (PROJECT_ROOT / "README.md").read_text("utf-8").partition("| what is fetched |")[2]
    megabytes = sum(int(number) for number in re.findall(r"^\|[^|]*\| (\d+) MB \|", readme, re.MULTILINE))
    told = re.search(r"about (\d+) MB to download", (PROJECT_ROOT / "Makefile").read_text("utf-8"))
    assert told and int(told[1]) == round(megabytes, -2)


def test_its_links_lead_somewhere() -> None:
    readme = (PROJECT_ROOT / "README.md").read_text("utf-8")
    assert "(docs/operations.md)" in readme
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        page = (PAGE.parent / path).resolve() if path else PAGE
        assert page.exists(), target
        if anchor:
            assert anchor in _list_anchors(page), target


def _list_anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
