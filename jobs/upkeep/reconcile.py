"""``make reconcile``: compare rows and files, print what differs and what each person has. It changes nothing."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from contextlib import closing
from dataclasses import asdict

from config import Settings
from jobs.fields import clean_username
from jobs.models import User
from jobs.outside import make_ports, read_machine_options
from jobs.ports import Ports
from jobs.reconcile import Difference, DifferenceKind, PersonTotal, compare_stores
from jobs.upkeep.command import Command

AGREE, DIFFER, USAGE = 0, 1, 2
_COLUMNS = ("By the rows", "In the store", "Beside them", "Unknown")


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--person", metavar="NAME", help="look at this person alone")
    parser.add_argument("--json", action="store_true", help="print JSON lines")


def _run(settings: Settings, arguments: Namespace) -> int:
    ports = make_ports(settings, read_machine_options(settings))
    with closing(ports.database):
        person = None
        if arguments.person:
            person = ports.database.users.find(clean_username(arguments.person))
            if person is None:
                print(f"There is nobody called {arguments.person!r}.", file=sys.stderr)
                return USAGE
        return reconcile(ports, person=person, as_json=arguments.json)


def reconcile(ports: Ports, *, person: User | None = None, as_json: bool = False) -> int:
    """Compare and print; return 0 when rows and files agree, else 1. Raises `DomainError`."""
    names: dict[str, str] = {}
    totals: list[PersonTotal] = []

    def name(user_id: str) -> str:
        if user_id not in names:
            found = ports.database.users.get(user_id) if user_id else None
            names[user_id] = found.username if found else ""
        return names[user_id]

    def tell(difference: Difference) -> None:
        if as_json:
            _print_json("difference", username=name(difference.user_id), **asdict(difference))
        else:
            print(describe_difference(difference, name(difference.user_id)))

    for total in compare_stores(ports, person=person, tell=tell):
        totals.append(total)
        if as_json:
            _print_json("person", **asdict(total))
    differences = sum(total.differences for total in totals)
    if as_json:
        _print_json("done", agree=not differences, differences=differences)
    else:
        _print_table(totals)
        print(_conclude(differences))
    return DIFFER if differences else AGREE


def describe_difference(difference: Difference, username: str) -> str:
    """Return one line for an operator."""
    by_row, stored = difference.row_bytes or 0, difference.stored_bytes or 0
    whose = username or "nobody"
    match difference.kind:
        case DifferenceKind.MISSING:
            text = f"{difference.key}: {by_row:,} bytes by its row, not in the store"
        case DifferenceKind.SIZE:
            text = f"{difference.key}: {by_row:,} bytes by its row, {stored:,} in the store"
        case DifferenceKind.UNKNOWN:
            kept = "" if username else ", nor its person, so a sweep keeps it"
            text = f"{difference.key}: {stored:,} bytes, no row knows it{kept}"
        case DifferenceKind.SUM:
            text = f"storage is counted as {stored:,} bytes, the rows add up to {by_row:,}"
    return f"{difference.kind.value:<8} {whose:<16} {text}"


def _print_table(totals: list[PersonTotal]) -> None:
    rows = [
        (total.username or "(nobody)", total.videos, total.row_bytes, total.stored_bytes, total.beside_bytes,
         total.unknown_bytes)
        for total in totals
    ]  # fmt: skip
    numbers = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    width = max([16, *(len(who) for who, *_ in rows)])
    print(f"{'Person':<{width}} {'Videos':>8}{''.join(f'{column:>20}' for column in _COLUMNS)}  (bytes)")
    for who, videos, *sizes in [*rows, ("All", *(numbers or [0] * 5))]:
        print(f"{who:<{width}} {videos:>8,}{''.join(f'{size:>20,}' for size in sizes)}")


def _conclude(differences: int) -> str:
    if not differences:
        return "Rows and files agree."
    return f"Rows and files differ in {differences:,} {'thing' if differences == 1 else 'things'}, listed above."


def _print_json(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}))


COMMAND = Command(
    summary="Compare rows and files and print what differs; exit status 0 when they agree, 1 when not.",
    add_arguments=_add_arguments,
    run=_run,
)
