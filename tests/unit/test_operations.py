"""The operator's page is held to the code: what it names is there, and what it quotes is said."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from config import PROJECT_ROOT
from jobs.upkeep.__main__ import COMMANDS

PAGE = PROJECT_ROOT / "docs" / "operations.md"
TEXT = PAGE.read_text("utf-8")
WORDS_OF_MAKE = {"IN", "OUT", "ARGS"}
NOT_OURS = {"SIGTERM", "PWD", "SHA-256"}
PRODUCT = ("*.py", "adapters/**/*.py", "api/**/*.py", "jobs/**/*.py", "ui/**/*.py")


def read_lines(language: str = "sh") -> list[str]:
    """Return the lines of the page's blocks in a language, those that go on joined, without comments."""
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


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
    assert set(re.findall(r"jobs\.upkeep ([a-z]+)", TEXT)) <= set(COMMANDS)
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
    compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text("utf-8"))
    profiles = {profile for service in compose["services"].values() for profile in service.get("profiles", ())}
    section = TEXT.partition("## Containers")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)) == profiles
    run = re.findall(r'run --rm --no-deps -v "\$PWD/backups:/backups" ([a-z]+) ', section)
    assert run == ["web", "migrate"]
    assert set(run) <= compose["services"].keys()


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
