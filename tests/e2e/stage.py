"""Where a story takes place: on the embedded defaults, or on real services that go away in its middle."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import pytest

from config import PROJECT_ROOT
from pipeline.models import Stage as Step
from tests.e2e.holding import Hold
from tests.e2e.running import plain_environment
from tests.servers.guarded import find_free_port
from tests.servers.supabase import LocalSupabase
from tests.servers.weed import LocalS3

AWAY_S, BETWEEN_S = 2.0, 0.5
"""How long a service is away, beside the time it takes to stop and to start; and back, before the next one goes."""

Interruption = Callable[..., object]


@dataclass(frozen=True)
class Stage:
    """What the product is started with, and what is stopped and started again at the moments of a story."""

    hold: Hold
    """Where its jobs can be made to stand still."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    moments: Mapping[str, Sequence[Interruption]] = field(default_factory=dict, repr=False)

    @property
    def is_interrupted(self) -> bool:
        """Whether anything goes away meanwhile."""
        return bool(self.moments)

    @contextmanager
    def interrupting(self, moment: str) -> Iterator[None]:
        """Interrupt the services beside the body, one after the other; ends when all of them are back.

        Where the body fails, no job is waited for any more.
        """

        def run() -> None:
            for interrupt in self.moments.get(moment, ()):
                interrupt()

        with ThreadPoolExecutor(1, thread_name_prefix=f"interrupting-{moment}") as beside:
            done = beside.submit(run)
            try:
                yield
            except BaseException:
                self.hold.give_up()
                raise
            done.result()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Let the job go on that stands still, beside the body; on an interrupted stage it meets every outage."""
        if not self.is_interrupted:
            self.hold.let_go()
        with self.interrupting("making"):
            yield


def make_outage(stop: Callable[[], None], start: Callable[[], None]) -> Interruption:
    """Return what has a service away for a while, and back afterwards whatever happens ``meanwhile``."""

    def interrupt(meanwhile: Callable[[], None] = lambda: None) -> None:
        stop()
        try:
            meanwhile()
            time.sleep(AWAY_S)
        finally:
            start()
        time.sleep(BETWEEN_S)

    return interrupt


def make_interrupted_stage(request: pytest.FixtureRequest, hold: Hold) -> Stage:
    """Return a stage with state in a new PostgreSQL database behind PostgREST and files in a new bucket.

    Each of the three is stopped and started again while a file is uploaded, made into a video, or watched.
    """
    supabase: LocalSupabase = request.getfixturevalue("local_supabase")
    s3: LocalS3 = request.getfixturevalue("local_s3")
    name = f"stage{uuid4().hex[:12]}"
    project = supabase.make_project(name)
    request.addfinalizer(project.close)
    port = str(find_free_port())
    environ = {
        "PORT": port,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "SUPABASE_PUBLISHABLE_KEY": project.publishable_key,
        "SUPABASE_SIGNING_KEY": project.signing_key,
        "WASABI_BUCKET": s3.make_bucket(name),
        "WASABI_REGION": s3.region,
        "WASABI_ENDPOINT": s3.endpoint,
        "WASABI_ACCESS_KEY_ID": s3.access_key_id,
        "WASABI_SECRET_ACCESS_KEY": s3.secret_access_key,
    }
    made = subprocess.run(
        [sys.executable, "-m", "jobs.upkeep", "bucket"],
        cwd=PROJECT_ROOT,
        env=plain_environment() | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    files = make_outage(s3.stop, s3.start)
    rest = make_outage(project.stop_rest, project.start_rest)
    database = make_outage(project.stop_database, project.start_database)

    def files_and_rest() -> None:
        """Have the files away the longest: no upload ends before."""
        s3.stop()
        try:
            rest()
        finally:
            s3.start()

    def making() -> None:
        """Have the job meet each outage at a stage of its own, however quick the machine is."""
        for service, until in ((database, Step.RENDER), (rest, Step.PUBLISH), (files, None)):
            hold.wait()
            service(partial(hold.let_go, until))

    return Stage(hold, environ, {"upload": [files_and_rest], "making": [making], "watching": [files, database]})
