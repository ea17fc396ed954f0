"""What a process logs: lines of ours only, whoever says something, and nothing a server says of every connection."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = """
import logging, threading, warnings
import uvicorn
from jobs.log import about, configure_logging

uvicorn.Config(app=None)  # sets up its loggers, each with lines of its own
logging.getLogger("early").addHandler(logging.StreamHandler())
logging.getLogger("early").propagate = False
configure_logging(level="INFO", as_json={as_json})
with about(job_id="7f3a"):
    logging.getLogger("jobs.tasks").info("ours")
logging.getLogger("uvicorn.error").info('"WebSocket /_stcore/stream?reset=SECRET" [accepted]')
logging.getLogger("uvicorn.access").info('"GET /?invitation=SECRET HTTP/1.1" 200')
logging.getLogger("uvicorn.error").error("a route broke")
logging.getLogger("early").warning("from early on")
warnings.warn("old fashioned")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("the end")
"""


def run(*, as_json: bool) -> str:
    program = PROGRAM.format(as_json=as_json)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    return ended.stderr


def test_every_line_is_json_whoever_says_it() -> None:
    lines = [json.loads(line) for line in run(as_json=True).splitlines()]
    assert [line["logger"] for line in lines] == [
        "jobs.tasks", "uvicorn.error", "early", "py.warnings", "jobs.log", "jobs.log"
    ]  # fmt: skip
    assert lines[0]["job_id"] == "7f3a"
    assert "ZeroDivisionError" in lines[4]["traceback"]
    assert "RuntimeError: the end" in lines[5]["traceback"]


def test_addresses_with_one_time_tokens_are_not_told() -> None:
    said = run(as_json=False)
    assert "SECRET" not in said
    assert said.count("a route broke") == 1
    assert "ERROR uvicorn.error: a route broke" in said
