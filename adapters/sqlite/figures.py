"""What the metrics tell of the database, read in one transaction."""

from __future__ import annotations

from adapters.sqlite.store import Store
from jobs.models import Figures, Tally

_NOW = """
SELECT count(*) AS queued, coalesce(max(:now - updated_at), 0) / 1000.0 AS longest_wait_s,
    coalesce(avg(:now - updated_at), 0) / 1000.0 AS mean_wait_s,
    (SELECT count(*) FROM jobs WHERE status = 'running') AS running,
    (SELECT coalesce(sum(stored_bytes), 0) FROM jobs WHERE stored_bytes > 0) AS result_bytes
FROM jobs WHERE status = 'queued'
"""
_VIDEOS = """
SELECT count(*) AS videos, coalesce(sum(duration_ms), 0) / 1000.0 AS video_s,
    coalesce(sum(size_bytes), 0) AS original_bytes
FROM videos
"""


def read_figures(store: Store) -> Figures:
    """Return `jobs.models.Figures` as they are now."""
    with store.read() as connection:
        now = connection.execute(_NOW, {"now": store.now_ms()}).fetchone()
        videos = connection.execute(_VIDEOS).fetchone()
        tallies = connection.execute("SELECT name, label, count, total FROM tallies ORDER BY name, label").fetchall()
    return Figures(**dict(now), **dict(videos), tallies=tuple(Tally(**dict(row)) for row in tallies))
