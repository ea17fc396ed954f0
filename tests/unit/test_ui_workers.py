"""Workers as the administrator sees them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.models import Json, WorkerInfo
from jobs.version import VERSION
from ui.listing import Row
from ui.workers import build_worker_rows

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
INFO: Json = {
    "version": VERSION,
    "cores": 4,
    "gpus": [],
    "device": "cpu",
    "compute_type": "int8",
    "model": "faster-whisper base",
    "ffmpeg": "ffmpeg 9.0",
    "encoder": "libx264",
    "disk_free_bytes": 212_000_000_000,
}


def draw(**info: Any) -> Row:
    worker = WorkerInfo(
        id="one", host="studio", pid=1, started_at=NOW - timedelta(hours=2), seen_at=NOW, info={**INFO, **info}
    )
    (row,) = build_worker_rows([worker], now=NOW, zone=UTC)
    return row


def test_a_worker_is_described() -> None:
    row = draw()
    assert (row.name, row.below, row.mark, row.note) == ("studio", "4 cores", "ok", "started 2 h ago")
    assert row.text == (
        f"faster-whisper base on the CPU (int8), ffmpeg 9.0 with libx264, 212 GB free, version {VERSION}."
    )


def test_a_gpu_is_named() -> None:
    row = draw(gpus=[{"name": "NVIDIA L4", "memory_bytes": 24 << 30}], device="cuda", compute_type="float16")
    assert row.below == "4 cores, NVIDIA L4 24 GB"
    assert "on the GPU (float16)" in row.text


@pytest.mark.parametrize(
    ("info", "chip", "tone"),
    [
        ({}, "Idle", "gray"),
        ({"job_id": "7f3a0000"}, "Makes job 7F3A", "blue"),
        ({"job_id": "7f3a0000", "is_draining": True}, "Stops after job 7F3A", "orange"),
        ({"is_draining": True}, "Stops", "orange"),
        ({"waits_for": "queue"}, "Waits for the queue", "orange"),
        ({"waits_for": "files"}, "Waits for the file store", "orange"),
    ],
)
def test_what_it_does_is_a_chip(info: Json, chip: str, tone: str) -> None:
    (found,) = draw(**info).chips
    assert (found.text, found.tone) == (chip, tone)


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_another_version_is_pointed_out(version: str | None) -> None:
    row = draw(version=version)
    assert (row.mark, row.needs_reading) == ("warning", True)
    assert f"This web server has {VERSION}" in row.text


def test_a_worker_that_tells_little_is_shown_all_the_same() -> None:
    worker = WorkerInfo(id="one", host="old", pid=1, started_at=NOW, seen_at=NOW, info={})
    (row,) = build_worker_rows([worker], now=NOW, zone=UTC)
    assert (row.name, row.below) == ("old", "1 core")


def test_the_version_is_the_projects() -> None:
    from config import PROJECT_ROOT

    assert f'version = "{VERSION}"' in (PROJECT_ROOT / "pyproject.toml").read_text("utf-8")
