"""What an administrator sees of the workers: where they run, on what they compute, and what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from jobs.models import WorkerInfo
from jobs.version import VERSION
from ui.listing import Chip, Row
from ui.words import count, format_since, format_size, read_number

_WAITS_FOR = {"queue": "for the queue", "files": "for the file store"}


def build_worker_rows(workers: Sequence[WorkerInfo], *, now: datetime, zone: tzinfo | None) -> list[Row]:
    """Return a row for each worker, in the order of their hosts."""
    return [
        _build_row(worker, now=now, zone=zone)
        for worker in sorted(workers, key=lambda worker: (worker.host, worker.started_at, worker.id))
    ]


def _build_row(worker: WorkerInfo, *, now: datetime, zone: tzinfo | None) -> Row:
    info = worker.info
    version = str(info.get("version") or "")
    is_other = version != VERSION
    facts = [_describe_engine(info), _describe_ffmpeg(info), _describe_room(info), _describe_version(version)]
    text = ", ".join(fact for fact in facts if fact)
    if is_other:
        text += f". This web server has {VERSION}: bring both to the same version"
    return Row(
        id=worker.id,
        name=worker.host,
        below=_describe_power(info),
        text=f"{text}.",
        mark="warning" if is_other else "ok",
        needs_reading=is_other,
        chips=(_name_state(info),),
        note=f"started {format_since(worker.started_at, now, zone)}",
    )


def _name_state(info: Mapping[str, object]) -> Chip:
    job_id = str(info.get("job_id") or "")
    job = f"job {job_id[:4].upper()}"
    if info.get("is_draining"):
        return Chip(text=f"Stops after {job}" if job_id else "Stops", tone="orange")
    if info.get("waits_for"):
        return Chip(text=f"Waits {_WAITS_FOR.get(str(info['waits_for']), '')}".strip(), tone="orange")
    return Chip(text=f"Makes {job}", tone="blue") if job_id else Chip(text="Idle", tone="gray")


def _describe_power(info: Mapping[str, object]) -> str:
    cores = count(read_number(info, "cores") or 1, "core")
    gpus = info.get("gpus")
    names = [_describe_gpu(gpu) for gpu in gpus if isinstance(gpu, Mapping)] if isinstance(gpus, list) else []
    return ", ".join([cores, *names])


def _describe_gpu(gpu: Mapping[str, object]) -> str:
    return f"{gpu.get('name') or 'GPU'} {read_number(gpu, 'memory_bytes') / (1 << 30):.0f} GB"


def _describe_engine(info: Mapping[str, object]) -> str:
    model, device, numbers = (str(info.get(name) or "") for name in ("model", "device", "compute_type"))
    if not device:
        return model
    return f"{model} on the {'GPU' if device == 'cuda' else 'CPU'} ({numbers})"


def _describe_ffmpeg(info: Mapping[str, object]) -> str:
    ffmpeg, encoder = str(info.get("ffmpeg") or ""), str(info.get("encoder") or "")
    return f"{ffmpeg} with {encoder}" if ffmpeg and encoder else ffmpeg


def _describe_room(info: Mapping[str, object]) -> str:
    free = read_number(info, "disk_free_bytes")
    return f"{format_size(free)} free" if free else ""


def _describe_version(version: str) -> str:
    return f"version {version}" if version else "no version told"
