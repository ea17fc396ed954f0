"""What the metrics tell of the database, read in one call."""

from __future__ import annotations

from adapters.supabase.client import Project
from jobs.models import Figures, Tally


def read_figures(project: Project) -> Figures:
    """Return `jobs.models.Figures` as they are now."""
    found = dict(project.call("get_figures", again=True))
    tallies = tuple(Tally(**row) for row in found.pop("tallies"))
    return Figures(**found, tallies=tallies)
