"""``make reset-link``: print a link with which a person sets a new password, for where no administrator can make one.

Whoever runs this can read and write the database anyway, so nobody is asked whether they may.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import closing

from config import Settings
from jobs.accounts import AuthManager, SignUp
from jobs.fields import clean_username
from jobs.models import LinkKind
from jobs.outside import describe_database, make_passwords, make_ports, read_machine_options
from jobs.upkeep.command import Command

MADE, NOBODY, USAGE = 0, 1, 2


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the name, or the e-mail address, that the person logs in with")


def _run(settings: Settings, arguments: Namespace) -> int:
    if not arguments.name:
        print("Say whose password is to be set: make reset-link NAME=ada", file=sys.stderr)
        return USAGE
    ports = make_ports(settings, read_machine_options(settings))
    with closing(ports.database):
        person = ports.database.users.find(clean_username(arguments.name))
        if person is None:
            print(f"There is nobody called {arguments.name!r} in {describe_database(settings)}.", file=sys.stderr)
            return NOBODY
        if not person.is_active:
            print(f"The account of {person.username} is disabled: an administrator enables it first.", file=sys.stderr)
            return NOBODY
        auth = AuthManager(
            ports,
            cookie_key=settings.cookie_key,
            sign_up=SignUp(settings.sign_up),
            passwords=make_passwords(settings),
        )
        token = auth.issue_reset_link(person.id)
    print(f"This link sets a new password for {person.username}, once and within a day:")
    print(LinkKind.RESET.make_address(settings.base_url, token))
    return MADE


COMMAND = Command(
    summary="Print a link with which a person sets a new password; the way back in for a lone administrator.",
    add_arguments=_add_arguments,
    run=_run,
)
