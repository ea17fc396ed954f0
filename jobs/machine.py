"""What a worker tells the processes it forks: which machine they are on, and with what they work."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.models import ProcessingJob
from jobs.ports import Ports
from pipeline.options import PipelineOptions, parse_job_options

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a worker tells the processes it forks."""

    worker_id: str
    make_ports: Callable[[], Ports]
    """Called after the fork: what is open before it does not survive it."""
    options: PipelineOptions
    """Engine, model, programs and limits of this machine."""
    work_root: Path
    parent_pid: int | None
    """The worker itself, without which a job does not go on."""

    def options_for(self, job: ProcessingJob) -> PipelineOptions:
        """Return the options of a job as this machine works on it. Raises `OptionError`."""
        machine = self.options
        return replace(
            parse_job_options(job.options),
            speech_engine=machine.speech_engine,
            model=machine.model,
            model_dir=machine.model_dir,
            ffmpeg=machine.ffmpeg,
            auto_editor=machine.auto_editor,
            video_encoder=machine.video_encoder,
            max_duration_ms=machine.max_duration_ms,
        )

    def bind(self) -> None:
        """Have this process, which the worker forked, end with the worker."""
        if self.parent_pid is not None:
            _die_with(self.parent_pid)


_machine: Machine | None = None


def install(machine: Machine) -> None:
    """Say what jobs and parts work with, in this process and those forked off it."""
    global _machine
    _machine = machine


def installed() -> Machine:
    """Return what was installed."""
    if _machine is None:
        raise RuntimeError("no worker has installed itself")
    return _machine


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux); at once when that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
