"""What a long video would take with many workers: the product's way of sharing out, played through with measured costs.

Nothing is run here. A worker is one processor; nobody else is served meanwhile.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from jobs.crew import POLL_S, choose_parts
from pipeline.chunks import LEAST_S
from pipeline.shares import LEAST_WINDOWS
from pipeline.split import split_evenly
from tests.bench.talk import RATE

WORKERS = (1, 2, 5, 10, 20, 50)
MEGABITS = (1000, 100)
"""Of the network between the store and a worker."""
_WINDOW_BYTES = 28 * 16_000 * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of one processor, as far as they can be told apart, and bytes."""

    hear_once: float
    """For each video: the language, heard in three clips, and the libraries of it."""
    hear: float
    """For each second of source: probing, decoding the sound, finding speech, and once more when it is there."""
    load: float
    """For each share: its model."""
    window: float
    """For each window."""
    look: float
    """For each chunk and second of source: what a chunk does before its first frame."""
    start: float
    """For each process: Python and the imports of ours."""
    frame: float
    """For each frame of the result."""
    join: float
    """For each second of result: sound, copy, poster."""
    check: float
    """For each second of result: QA, which decodes the whole result."""
    windows: float
    """Windows for each second of source."""
    source_bytes: float
    """For each second of source."""
    result_bytes: float
    """For each second of result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a video would take with so many workers, in seconds of wall time."""

    workers: int
    shares: int
    chunks: int
    hear: float
    """Bringing the source, and all that is decided by who has the job."""
    speech: float
    render: float
    join: float
    """Putting together and checking."""
    store: float
    """Taking the result away."""
    work: float
    """Processor time of all together."""

    @property
    def total(self) -> float:
        """From the job's begin to its end."""
        return self.hear + self.speech + self.render + self.join + self.store


def forecast(
    costs: Costs, pieces: Sequence[int], source_s: float, workers: int, *, megabits: float | None = None
) -> Forecast:
    """Return what a video of ``pieces`` (frames of each kept piece) out of ``source_s`` seconds takes.

    Parts are shared out as `jobs.crew` does it: helpers take them from the head of the line and fetch the source
    before their first chunk, who has the job takes them from the end. Without ``megabits`` all files are at hand. Pure.
    """

    def carry(size_bytes: float) -> float:
        return 0.0 if megabits is None else size_bytes * 8 / (megabits * 1e6)

    parts = choose_parts(round(source_s * 1000)) if workers > 1 else 1
    shares = split_evenly([1] * round(costs.windows * source_s), parts, least=LEAST_WINDOWS)
    chunks = split_evenly(pieces, parts, least=LEAST_S * RATE)
    result_s = sum(pieces) / RATE
    fetch = carry(costs.source_bytes * source_s)
    look = costs.look * source_s if len(chunks) > 1 else 0.0
    written = [costs.load + costs.window * len(share) for share in shares]
    made = [look + costs.frame * sum(pieces[at] for at in chunk) for chunk in chunks]
    sizes = [costs.result_bytes * sum(pieces[at] for at in chunk) / RATE for chunk in chunks]
    sounds = [_WINDOW_BYTES * len(share) for share in shares]
    speech, _ = _share_out(written, workers, [costs.start + carry(size) for size in sounds], 0.0)
    render, theirs = _share_out(made, workers, [costs.start + carry(size) for size in sizes], fetch)
    given = sum(carry(size) for size in sounds) if len(shares) > 1 else 0.0
    taken = sum(carry(sizes[at]) for at in theirs)
    hear, join = costs.start + costs.hear_once + costs.hear * source_s, (costs.join + costs.check) * result_s
    return Forecast(
        workers=workers,
        shares=len(shares),
        chunks=len(chunks),
        hear=fetch + hear,
        speech=given + speech,
        render=render + taken,
        join=join,
        store=carry(costs.result_bytes * result_s),
        work=hear + sum(written) + sum(made) + join,
    )


def _share_out(tasks: Sequence[float], workers: int, beside: Sequence[float], before: float) -> tuple[float, list[int]]:
    """Return when the last of ``tasks`` is done, and which of them others do.

    ``beside`` is what each of them costs others besides, ``before`` what others do once.
    """
    free = [(0.0, worker, True) for worker in range(workers)]
    heapq.heapify(free)
    head, tail = 0, len(tasks)
    theirs: list[int] = []
    end = 0.0
    while head < tail:
        at, worker, is_first = heapq.heappop(free)
        if worker == 0:  # who has the job
            tail -= 1
            done = at + tasks[tail]
        else:
            done = at + tasks[head] + beside[head] + (before if is_first else 0.0)
            theirs.append(head)
            head += 1
        end = max(end, done)
        heapq.heappush(free, (done, worker, False))
    return end + (POLL_S / 2 if theirs else 0.0), theirs


def plan_workers(
    costs: Costs, lengths: Sequence[int], measured_s: float, hours: float
) -> Iterator[tuple[Forecast, ...]]:
    """Yield for each number of workers what so many hours of the same talk take: with files at hand, and with each of
    `MEGABITS`."""
    times = max(1, round(hours * 3600 / measured_s))
    pieces, whole_s = list(lengths) * times, measured_s * times
    for workers in WORKERS:
        plain = forecast(costs, pieces, whole_s, workers)
        yield plain, *(forecast(costs, pieces, whole_s, workers, megabits=each) for each in MEGABITS)


def format_forecasts(
    found: Sequence[tuple[Forecast, ...]], table: Callable[[Sequence[str], Iterator[Sequence[str]]], str]
) -> str:
    """Return the plan for many workers."""
    alone = found[0]
    lines = (
        (
            str(plain.workers), str(plain.shares), str(plain.chunks), f"{plain.hear:.0f}", f"{plain.speech:.0f}",
            f"{plain.render:.0f}", f"{plain.join:.0f}", f"{plain.total:.0f}", f"{alone[0].total / plain.total:.1f}",
            f"{100 * plain.work / plain.total / plain.workers:.0f} %",
            *(f"{each.total:.0f} ({one.total / each.total:.1f})" for each, one in zip(far, alone[1:], strict=True)),
        )
        for plain, *far in found
    )  # fmt: skip
    heads = (
        "workers", "shares", "chunks", "hear, decide s", "speech s", "render s", "join, check s", "total s",
        "times as fast", "busy", *(f"total s over {each} Mbit/s (times as fast)" for each in MEGABITS),
    )  # fmt: skip
    return table(heads, lines)


def without_check(costs: Costs) -> Costs:
    """Return the costs as if each part were checked where it was made."""
    return replace(costs, frame=costs.frame + costs.check / RATE, check=0.0)
