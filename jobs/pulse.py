"""Whether the web server, or this machine's worker, lives: `python -m jobs.pulse web|worker`, for containers.

Exit 0 when it does, 1 with a sentence when it does not. That something else is away is no fault of theirs: `/api/ready`
tells that, and ending them for it would end jobs that go on by themselves.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import socket
import sys
from collections.abc import Sequence

from config import Settings, SettingsError, load_settings
from jobs.errors import DomainError
from jobs.health import ALIVE_S
from jobs.outside import make_ports, read_machine_options

logger = logging.getLogger(__name__)

ANSWER_S = 4.0


class NoPulse(Exception):
    """It does not live; the text is a sentence."""


def main(words: Sequence[str] | None = None) -> int:
    """Feel the pulse that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.pulse", description="Tell whether a part of the product lives."
    )
    parser.add_argument("part", choices=("web", "worker"))
    part = parser.parse_args(words).part
    try:
        settings = load_settings()
        print(ask_web(settings) if part == "web" else ask_worker(settings))
    except (SettingsError, NoPulse) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def ask_web(settings: Settings) -> str:
    """Return the sentence that the web server of this machine answers. Raises `NoPulse`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=ANSWER_S)  # past any proxy
    try:
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        if answer.status == 200 and json.loads(answer.read()) == {"alive": True}:
            return "The web server answers."
        raise NoPulse(f"Something else answers on port {settings.port}.")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoPulse(f"The web server does not answer on port {settings.port}.") from error
    finally:
        connection.close()


def ask_worker(settings: Settings) -> str:
    """Return a sentence about the worker of this machine, by what it told the database. Raises `NoPulse`."""
    host = socket.gethostname()
    try:
        ports = make_ports(settings, read_machine_options(settings))
        try:
            alive = {worker.host for worker in ports.database.workers.list_alive(within_s=ALIVE_S)}
        finally:
            ports.database.close()
    except DomainError as error:
        logger.info("%s: %s", error.code, error.detail)
        return "Nobody can tell while the database does not answer."
    if host not in alive:
        raise NoPulse(f"No worker of {host} has said within {ALIVE_S:.0f} s that it is there.")
    return "The worker is there."


if __name__ == "__main__":
    sys.exit(main())
