"""The command line of the upkeep."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence

from config import UNUSABLE, SettingsError, load_settings
from jobs.errors import DomainError
from jobs.log import configure_logging
from jobs.upkeep import bucket, export, import_, migrate, reconcile, reset_link, sweep
from jobs.upkeep.command import Command

logger = logging.getLogger("jobs.upkeep")

COMMANDS: Mapping[str, Command] = {
    "migrate": migrate.COMMAND,
    "bucket": bucket.COMMAND,
    "sweep": sweep.COMMAND,
    "reconcile": reconcile.COMMAND,
    "export": export.COMMAND,
    "import": import_.COMMAND,
    "reset-link": reset_link.COMMAND,
}


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; 78 with a sentence when it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m jobs.upkeep")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.summary, description=command.summary))
    arguments = parser.parse_args(words)
    try:
        settings = load_settings()
        configure_logging(level=settings.log_level or "WARNING", as_json=settings.log_format == "json")
        return COMMANDS[arguments.command].run(settings, arguments)
    except SettingsError as error:
        print(error, file=sys.stderr)
    except DomainError as error:
        logger.info("%s: %s", error.code, error.detail)
        print(error.remedy or error, file=sys.stderr)
    return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
