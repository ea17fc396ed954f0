"""The order of the line: which of the waiting jobs is taken next.

It is fair queueing by finish tags (Demers, Keshav and Shenker, 1989), with ageing. A person's jobs stand in their own
order: the short ones and those that have waited long first, then by age. The tag of each, in milliseconds of original,
is

    what the person had lately  +  their own jobs up to and including this one  -  half its wait, for the first of them

and the smallest goes first. So nobody's many jobs come before another's few, a short one passes long ones, and taking
a job changes the tag of no other. "Lately" is what runs, and what ended within the last hour. The wait of a person's
first job counts from when it was made, or from when one of theirs was worked on last. By that nobody waits forever: a
first job that has waited for twice its tag is passed by nothing that comes later, and once by each person before it.

Half of the wait was found by trying: with twenty people in line for ten hours, three minutes of somebody new wait 18
minutes and a recording of 170 minutes waits six hours; with all of the wait it is 45 minutes and four hours, with none
of it 3 minutes and ten hours, which is to the end.

The database on PostgreSQL keeps the same order (``private.list_line``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from adapters.sqlite.rows import dump_json

_MINUTE_MS = 60_000
SHORT_MS = 5 * _MINUTE_MS
"""An original below this is short: it goes before the same person's longer ones."""
OLD_MS = 6 * 60 * _MINUTE_MS
"""A job that has waited so long goes before the same person's short ones that came later."""
LATELY_MS = 60 * _MINUTE_MS
"""What ended longer ago is forgotten."""

_LINE = """
    WITH waiting AS MATERIALIZED (
        SELECT jobs.id, jobs.seq, jobs.user_id, jobs.created_at, videos.duration_ms
        FROM jobs JOIN videos ON videos.id = jobs.video_id WHERE jobs.status = 'queued'
    ),
    person AS MATERIALIZED (SELECT DISTINCT user_id FROM waiting),
    -- a person's jobs one behind the other, those that were worked on before those that wait
    work AS (
        SELECT NULL AS id, 0 AS seq, jobs.user_id, 0 AS created_at, videos.duration_ms, :now AS until, 0 AS rank
        FROM jobs JOIN videos ON videos.id = jobs.video_id WHERE jobs.status = 'running'
        UNION ALL
        SELECT NULL, 0, jobs.user_id, 0, videos.duration_ms, jobs.finished_at, 0
        FROM person
        JOIN jobs ON jobs.user_id = person.user_id AND jobs.finished_at > :now - :lately
            AND jobs.finished_at IS NOT NULL AND jobs.started_at IS NOT NULL
        JOIN videos ON videos.id = jobs.video_id
        UNION ALL
        SELECT NULL, 0, user_id, 0, 0, (
            SELECT max(finished_at) FROM jobs
            WHERE jobs.user_id = person.user_id AND finished_at IS NOT NULL AND started_at IS NOT NULL
        ), 0
        FROM person
        UNION ALL
        SELECT id, seq, user_id, created_at, duration_ms, created_at,
            CASE WHEN duration_ms < :short OR created_at <= :now - :old THEN 1 ELSE 2 END
        FROM waiting
    ),
    own AS (
        SELECT id, seq, created_at, duration_ms, count(id) OVER mine AS turn, sum(duration_ms) OVER mine AS sum_ms,
            max(0, :now - max(until) OVER mine) AS wait_ms
        FROM work
        WINDOW mine AS (PARTITION BY user_id ORDER BY rank, created_at, seq ROWS UNBOUNDED PRECEDING)
    ),
    line AS (
        SELECT id, duration_ms, row_number() OVER (
            ORDER BY sum_ms - CASE turn WHEN 1 THEN wait_ms / 2 ELSE 0 END, created_at, seq
        ) AS place
        FROM own WHERE id IS NOT NULL
    )
"""
_CONSTANTS = {"short": SHORT_MS, "old": OLD_MS, "lately": LATELY_MS}


def list_first(connection: sqlite3.Connection, now_ms: int, limit: int) -> list[sqlite3.Row]:
    """Return the rows of the first jobs in line, each with ``duration_ms`` of its original."""
    return connection.execute(
        f"{_LINE} SELECT jobs.*, line.duration_ms FROM line JOIN jobs ON jobs.id = line.id ORDER BY place LIMIT :limit",
        {**_CONSTANTS, "now": now_ms, "limit": limit},
    ).fetchall()


def find_positions(connection: sqlite3.Connection, now_ms: int, job_ids: Sequence[str]) -> dict[str, int]:
    """Return the places in line, from 1, of those of the jobs that wait."""
    if not job_ids:
        return {}
    rows = connection.execute(
        f"{_LINE} SELECT id, place FROM line WHERE id IN (SELECT value FROM json_each(:ids))",
        {**_CONSTANTS, "now": now_ms, "ids": dump_json(job_ids)},
    ).fetchall()
    return {row["id"]: row["place"] for row in rows}
