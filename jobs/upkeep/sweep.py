"""``make sweep``: remove what nobody needs, or with ``--dry-run`` only say what that is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import closing
from datetime import datetime

from config import Settings
from jobs.outside import make_ports, read_limits, read_machine_options
from jobs.ports import Ports
from jobs.recovery import Recovery, Waste
from jobs.storage import StorageManager
from jobs.upkeep.command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="list what would be removed, and remove nothing")


def _run(settings: Settings, arguments: Namespace) -> int:
    ports = make_ports(settings, read_machine_options(settings))
    with closing(ports.database):
        sweep(ports, Recovery(ports, StorageManager(ports.files), read_limits(settings)), dry_run=arguments.dry_run)
    return 0


def sweep(ports: Ports, recovery: Recovery, *, dry_run: bool) -> None:
    """Sweep once and print each thing that goes, or would go, then how many there were. Raises `DomainError`."""
    now, freed = ports.now(), 0

    def tell(waste: Waste) -> None:
        nonlocal freed
        freed += waste.size_bytes
        print(f"{waste.kind.value:<24}{waste.size_bytes:>18,} bytes  {describe_age(waste.since, now):>8}  {waste.key}")

    swept = recovery.sweep(dry_run=dry_run, tell=tell)
    if not (swept.uploads or swept.orphans or swept.expired_videos):
        print("There is nothing to remove.")
        return
    print(
        f"{'Would remove' if dry_run else 'Removed'} {_count(swept.uploads, 'unfinished upload')}, "
        f"{_count(swept.orphans, 'file')} that no row needs, {_count(swept.expired_videos, 'video')} past "
        f"{'its' if swept.expired_videos == 1 else 'their'} time: {freed:,} bytes."
    )


def describe_age(since: datetime, now: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits: ``3 days``, ``1 hour``, ``20 min``."""
    minutes = max(0, int((now - since).total_seconds() // 60))
    for unit, length in (("day", 24 * 60), ("hour", 60)):
        if minutes >= length:
            return _count(minutes // length, unit)
    return f"{minutes} min"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


COMMAND = Command(
    summary="Remove unfinished uploads, files that no row needs and videos past their time.",
    add_arguments=_add_arguments,
    run=_run,
)
