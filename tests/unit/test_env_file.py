"""What the documents put into .env: everybody who reads that file gets the same, and nobody else may read it."""

from __future__ import annotations

import re
import shutil
import stat
import string
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest
import uvicorn

from config import PROJECT_ROOT
from tests.containers.compose import read_env

EXAMPLE, README, PAGE = (PROJECT_ROOT / name for name in (".env.example", "README.md", "docs/operations.md"))
TELLERS = (EXAMPLE, README, PAGE, PROJECT_ROOT / "docker-compose.yml", PROJECT_ROOT / "deploy/local-env.sh")
"""Files that say how to put something into .env."""


def read_as_shell(text: str, folder: Path) -> dict[str, str]:
    """Return what a real shell reads of an .env file."""
    (folder / ".env").write_text(text, "utf-8")
    done = subprocess.run(
        ["sh", "-c", "set -a; . ./.env; env -0"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    found = dict(pair.split("=", 1) for pair in done.stdout.decode().rstrip("\0").split("\0"))
    return {name: value for name, value in found.items() if name not in ("PATH", "PWD", "OLDPWD", "SHLVL", "_")}


def list_blocks(path: Path) -> list[str]:
    """Return the shell blocks of a page."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [dedent(block) for block in blocks]


def list_settings() -> list[str]:
    """Return every piece of .env that a document shows: the example, blocks of nothing else, settings in a sentence."""
    pieces = [*re.findall(r"^#([A-Z][A-Z0-9_]*=.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE)]
    for page in (README, PAGE):
        pieces += [
            block for block in list_blocks(page) if all(re.match(r"#|[A-Z_]+=", line) for line in block.splitlines())
        ]
        inline = re.findall(r"`([A-Z][A-Z0-9_]*=[^`\n]*)`", page.read_text("utf-8"))
        pieces += [piece for piece in inline if " make " not in piece]
    return pieces


def test_every_documented_setting_is_read_alike(tmp_path: Path) -> None:
    pieces = list_settings()
    assert any("SUPABASE_SECRET_KEY=sb_secret_" in piece for piece in pieces)
    assert any("&" in piece for piece in pieces)
    names = [re.split(r"\W", piece)[0] for piece in pieces]
    assert {"HOST", "WHISPER_MODEL_DIR", "FORWARDED_ALLOW_IPS"} <= set(names)
    for piece in pieces:
        expected = read_env(piece)
        assert expected and read_as_shell(piece, tmp_path) == expected


@pytest.mark.parametrize(
    "line",
    [
        "REDIS_URL=rediss://queue.example.com?ssl_ca_certs=/a&ssl_certfile=/b",
        "PUBLIC_URL=https://videos.example.com     # where people open it",
        "DATA_DIR=/srv/our videos",
        "DATA_DIR=~/videos",
        "METRICS_TOKEN=it's",
        'METRICS_TOKEN="a$b"',
        r"METRICS_TOKEN='a\'",
    ],
)
def test_a_line_that_is_not_read_alike_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="alike"):
        read_env(line)


def test_single_quotes_hold_every_other_sign(tmp_path: Path) -> None:
    value = "".join(sorted(set(string.punctuation) - {"'", "\\"})) + ' {"kty": "EC"}'
    assert read_env(f"SUPABASE_SIGNING_KEY='{value}'") == {"SUPABASE_SIGNING_KEY": value}
    assert read_as_shell(f"SUPABASE_SIGNING_KEY='{value}'", tmp_path) == {"SUPABASE_SIGNING_KEY": value}


def test_the_documents_name_the_signs_that_need_no_quotes() -> None:
    plain = set()
    for sign in string.punctuation:
        try:
            read_env(f"DATA_DIR=a{sign}b")
        except ValueError:
            continue
        plain.add(sign)
    for path in (EXAMPLE, README, PAGE):
        text = " ".join(re.sub("^# ", "", path.read_text("utf-8"), flags=re.MULTILINE).split())
        (told,) = re.findall(r"other signs than letters, digits and `?([^`a-z]+)`? stands? in single quotes", text)
        assert set(told) - {" "} == plain


# --- who may read it ---


def test_nobody_else_may_read_what_is_put_there(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    told = [
        found
        for path in TELLERS
        for found in re.findall(r"\([^()]*(?:\([^()]*\)[^()]*)?>> \.env\)", path.read_text("utf-8"))
    ]
    assert sum(path.read_text("utf-8").count(">> .env") for path in TELLERS) == len(told) > 4
    (tmp_path / "deploy").symlink_to(PROJECT_ROOT / "deploy")
    for command in sorted(set(told)):
        subprocess.run(["sh", "-c", f"umask 022; {command}; umask"], cwd=tmp_path, check=True, timeout=60)
        made = tmp_path / ".env"
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert read_env(made.read_text("utf-8")).keys() >= {"REDIS_PASSWORD"}
        made.unlink()
    for path in (EXAMPLE, README, PAGE):
        assert "chmod 600 .env" in path.read_text("utf-8")


# --- the proxy in front ---


def test_a_proxy_on_this_machine_is_believed_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    believed = uvicorn.Config("app:app").forwarded_allow_ips
    assert isinstance(believed, str) and {"127.0.0.1", "::1"} <= set(believed.split(","))


@pytest.mark.parametrize("path", [README, PAGE], ids=lambda path: path.name)
def test_to_listen_to_everybody_is_told_together_with_a_firewall(path: Path) -> None:
    paragraphs = [part for part in path.read_text("utf-8").split("\n\n") if "HOST=0.0.0.0" in part]
    assert paragraphs
    for part in paragraphs:
        assert "A proxy on this machine needs nothing else." in " ".join(part.split())
        assert "firewall" in part and "FORWARDED_ALLOW_IPS" in part
