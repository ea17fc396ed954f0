"""The compose file, with the values of an environment put in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from config import PROJECT_ROOT

COMPOSE = PROJECT_ROOT / "docker-compose.yml"

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?-)(?P<default>(?:[^{}]|\$\{[^{}]*\})*))?\})"
)
_SETTING = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?:(?P<plain>[\w./:@,+=%-]*)|'(?P<quoted>[^'\\]*)')", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, as compose would start it."""

    name: str
    image: str
    profiles: frozenset[str]
    """Empty when it always runs."""
    environment: Mapping[str, str]
    """What its processes are given, the file .env included."""
    command: Sequence[str] | None
    entrypoint: Sequence[str] | None
    raw: Mapping[str, Any]
    """Everything it says, interpolated."""

    @property
    def health(self) -> Sequence[str]:
        """The health command, empty when the image's own counts."""
        found: Sequence[str] = self.raw.get("healthcheck", {}).get("test", ())
        return found

    @property
    def needs(self) -> Mapping[str, Mapping[str, Any]]:
        """What it waits for, by the name of a service."""
        found: Mapping[str, Mapping[str, Any]] = self.raw.get("depends_on", {})
        return found


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Return ``text`` with its variables put in, as compose does; one that is not set is empty."""

    def put(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        value = environ.get(match["plain"] or match["name"])
        if match["how"] and (value is None or (match["how"] == ":-" and not value)):
            return interpolate(match["default"], environ)
        return value or ""

    return _VARIABLE.sub(put, text)


def find_variables(text: str) -> set[str]:
    """Return the names of the variables in ``text``, those in defaults too."""
    found = set()
    for match in _VARIABLE.finditer(text):
        if not match["escaped"]:
            found |= {match["plain"] or match["name"]} | find_variables(match["default"] or "")
    return found


def read_document(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole compose file."""

    def walk(node: Any) -> Any:
        match node:
            case str():
                return interpolate(node, environ)
            case dict():
                return {key: walk(value) for key, value in node.items()}
            case list():
                return [walk(value) for value in node]
        return node

    found = walk(_load())
    assert isinstance(found, dict)
    return found


@cache
def _load() -> Any:
    return yaml.safe_load(COMPOSE.read_text("utf-8"))


def read_services(environ: Mapping[str, str]) -> dict[str, Service]:
    """Return the services by name. ``environ`` is what .env says."""
    return {name: _read(name, raw, environ) for name, raw in read_document(environ)["services"].items()}


def _read(name: str, raw: Mapping[str, Any], environ: Mapping[str, str]) -> Service:
    values = {key: str(value) for key, value in raw.get("environment", {}).items()}
    return Service(
        name=name,
        image=raw["image"],
        profiles=frozenset(raw.get("profiles", ())),
        environment={**(environ if "env_file" in raw else {}), **values},
        command=raw.get("command"),
        entrypoint=raw.get("entrypoint"),
        raw=raw,
    )


def read_env(text: str) -> dict[str, str]:
    """Return the settings of an .env file.

    Raises `ValueError` for a line that a shell, Compose and systemd may not read alike: all three agree on plain signs
    and on what stands in single quotes, and on little else.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            setting = _SETTING.fullmatch(line)
            if setting is None:
                raise ValueError(f"not everybody reads this line alike: {line}")
            found[setting["name"]] = setting["plain"] or setting["quoted"] or ""
    return found
