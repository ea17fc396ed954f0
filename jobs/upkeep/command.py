"""What one command of `jobs.upkeep` consists of."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

from config import Settings


def add_no_arguments(_parser: ArgumentParser) -> None:
    """Take no arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One word after ``python -m jobs.upkeep``."""

    summary: str
    """One sentence for the help."""
    run: Callable[[Settings, Namespace], int]
    """Do it, print what was done, return the exit status. May raise `DomainError`."""
    add_arguments: Callable[[ArgumentParser], None] = add_no_arguments
