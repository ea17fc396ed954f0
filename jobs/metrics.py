"""What Prometheus is told: the line, the work that was done, failures, workers, what is stored and what answers.

A web server tells of itself its version, what answers it, and the errors of the file store that it met; all else is
read from the database, so that every one tells the same. A label has few values: never a person's, a title or an id.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from jobs.errors import STORAGE_CODES, AuthError, DomainError, NotFound
from jobs.health import ALIVE_S
from jobs.models import Figures, HealthPart, WorkerInfo
from jobs.ports import Database
from jobs.version import VERSION
from pipeline.models import Stage

CACHE_S = 5.0
"""An answer serves whoever asks so soon after it: scrapes can't load the database."""
SPEEDS = 20
_PARTS = ("database", "files", "queue")
_MANY = 40
"""Values of one label; what comes beyond is called ``other``."""
_STAGES = frozenset(stage.value for stage in Stage)
_Values = Mapping[tuple[str, ...], float]
"""Values by their labels."""
_ENDS = ("succeeded", "failed", "cancelled")


class MetricsService:
    """The metrics of one product, as one web server tells them. Without a token there are none."""

    def __init__(self, database: Database, check_parts: Callable[[], Sequence[HealthPart]], *, token: str) -> None:
        self._database, self._check_parts, self._token = database, check_parts, token
        # From 0, because an increase is seen only of a series that was there before.
        self._storage_errors: Counter[str] = Counter(dict.fromkeys(STORAGE_CODES, 0))
        # Two, because collecting asks parts that may hang, and who counts an error must not wait for that.
        self._counting, self._rendering = threading.Lock(), threading.Lock()
        self._told: tuple[float, bytes] = (-CACHE_S, b"")

    def require_token(self, authorization: str) -> None:
        """Raise `NotFound` where nobody has set a token, `AuthError` for a header that does not bear it."""
        if not self._token:
            raise NotFound("There is nothing at this address.")
        kind, _, given = authorization.strip().partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if kind.lower() != "bearer" or not is_right:
            raise AuthError("wrong_token", "Send the token of METRICS_TOKEN: Authorization: Bearer TOKEN.")

    def count_storage_error(self, code: str) -> None:
        """Take note that a request failed at the file store."""
        with self._counting:
            self._storage_errors[code] += 1

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format, at most `CACHE_S` seconds old."""
        with self._rendering:
            at, text = self._told
            if time.monotonic() - at >= CACHE_S:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(_Collected(list(self._collect())))
                text = generate_latest(registry)
                self._told = time.monotonic(), text
        return text

    def _collect(self) -> Iterator[Metric]:
        yield _gauge("mvf_build_info", "The version of this web server.", {(VERSION,): 1}, ["version"])
        parts = {part.id: part.ok for part in self._check_parts()}
        yield _gauge(
            "mvf_part_up",
            "Whether a part of the product answers: 1, or 0.",
            {(part,): float(parts.get(part, False)) for part in _PARTS},
            ["part"],
        )
        with self._counting:
            storage_errors = dict(self._storage_errors)
        yield _counter(
            "mvf_storage_errors",
            "Requests to this web server that failed at the file store, by error code.",
            {(code,): count for code, count in storage_errors.items()},
            ["code"],
        )
        try:
            figures = self._database.read_figures()
            workers = self._database.workers.list_alive(within_s=ALIVE_S)
            speeds = self._database.jobs.list_speeds(SPEEDS)
        except DomainError:  # `mvf_part_up` says so
            return
        yield from describe_figures(figures)
        yield from describe_workers(workers)
        if speeds:
            mean = sum(speeds) / len(speeds)
            yield _gauge(
                "mvf_work_seconds_per_video_second",
                f"Mean of the {SPEEDS} newest results: seconds of work on a second of the original.",
                {(): mean},
            )


class _Collected(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def describe_workers(workers: Sequence[WorkerInfo]) -> Iterator[Metric]:
    """Yield who is there to work."""
    versions = Counter(str(worker.info.get("version") or "unknown") for worker in workers)
    yield _gauge(
        "mvf_workers",
        "Workers that are alive, by version.",
        {(version,): count for version, count in versions.items()} or {(VERSION,): 0},
        ["version"],
    )
    busy = sum("job_id" in worker.info for worker in workers)
    yield _gauge("mvf_workers_busy", "Workers that make a video.", {(): busy})


def describe_figures(figures: Figures) -> Iterator[Metric]:
    """Yield what the database tells."""
    jobs: _Values = {("queued",): figures.queued, ("running",): figures.running}
    yield _gauge("mvf_jobs", "Jobs that wait or run.", jobs, ["status"])
    yield _gauge("mvf_queue_wait_longest_seconds", "Wait of the job that waits longest.", {(): figures.longest_wait_s})
    yield _gauge("mvf_queue_wait_mean_seconds", "Mean wait of the jobs that wait.", {(): figures.mean_wait_s})
    yield _gauge("mvf_videos", "Videos that are stored.", {(): figures.videos})
    yield _gauge("mvf_stored_video_seconds", "Length of all originals together.", {(): figures.video_s})
    sizes: _Values = {("originals",): figures.original_bytes, ("results",): figures.result_bytes}
    yield _gauge("mvf_stored_bytes", "Bytes that are stored.", sizes, ["kind"])

    tallies = {(tally.name, tally.label): tally for tally in figures.tallies}
    counts: dict[str, dict[tuple[str, ...], float]] = {"ended": {(end,): 0 for end in _ENDS}}
    for tally in figures.tallies:
        counts.setdefault(tally.name, {})[(tally.label,)] = tally.count
    yield _counter("mvf_jobs_ended", "Jobs that are over, by how they ended.", counts["ended"], ["status"])
    yield _counter("mvf_job_failures", "Jobs that failed, by error code.", counts.get("failed", {}), ["code"])
    yield _counter(
        "mvf_jobs_given_back",
        "Attempts that ended early and whose job waited again or failed, by reason.",
        counts.get("given_back", {}),
        ["reason"],
    )
    video = tallies.get(("video", ""))
    seconds = video.total if video else 0
    yield _counter("mvf_processed_video_seconds", "Length of the originals of jobs that succeeded.", {(): seconds})
    yield _histogram("mvf_job_wait_seconds", "From the making of a job to its first start.", figures, "wait")
    yield _histogram("mvf_job_work_seconds", "From the last start of a job to its success.", figures, "work")
    stages = SummaryMetricFamily("mvf_stage_seconds", "Time of the stages of jobs that succeeded.", labels=["stage"])
    for tally in figures.tallies:
        if tally.name == "stage" and tally.label in _STAGES:
            stages.add_metric([tally.label], tally.count, tally.total)
    yield stages


def _histogram(name: str, text: str, figures: Figures, tally_name: str) -> Metric:
    whole = next((tally for tally in figures.tallies if tally.name == tally_name), None)
    bounds = sorted((float(tally.label), tally.count) for tally in figures.tallies if tally.name == f"{tally_name}_le")
    count = whole.count if whole else 0
    buckets = [(f"{bound:g}", number) for bound, number in bounds]
    family = HistogramMetricFamily(name, text)
    family.add_metric([], [*buckets, ("+Inf", count)], sum_value=whole.total if whole else 0)
    return family


def _gauge(name: str, text: str, values: _Values, labels: Sequence[str] = ()) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in _bound(values).items():
        family.add_metric(label, value)
    return family


def _counter(name: str, text: str, values: _Values, labels: Sequence[str] = ()) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for label, value in _bound(values).items():
        family.add_metric(label, value)
    return family


def _bound(values: _Values) -> dict[tuple[str, ...], float]:
    """Return the first values by name, and what is left over as one."""
    names = sorted(values)
    bounded = {name: values[name] for name in names[:_MANY]}
    if rest := names[_MANY:]:
        bounded["other",] = sum(values[name] for name in rest)
    return bounded
