"""What a worker's machine has to work with, and what the administrator sees of it. Weights that lack are fetched."""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from jobs.models import Json
from jobs.version import VERSION
from pipeline.devices import ask_devices, list_gpus
from pipeline.encoders import choose_encoder, opens
from pipeline.errors import ToolFailed, ToolMissing
from pipeline.ffmpeg import find_ffmpeg, run_tool
from pipeline.options import PipelineOptions
from pipeline.weights import WeightsUnavailable, find_weights

logger = logging.getLogger(__name__)

_FETCH_S = 4 * 3600.0
_ROOT = Path(__file__).parents[1]
_NEEDED = ("encoder=libx264", "encoder=aac", "filter=ass", "filter=zscale")
_LACKING = re.compile(r"is not recognized|Unknown filter")


def describe_machine(options: PipelineOptions) -> Json:
    """Return what the administrator sees of a worker. Raises `PipelineError` when weights or ffmpeg are missing."""
    weights = bring_weights(options)
    ffmpeg = find_ffmpeg(options.ffmpeg)
    version = _ask(ffmpeg, "-version").partition("\n")[0].removeprefix("ffmpeg version ").partition(" ")[0]
    gpus = list_gpus()
    device = ask_devices(options.speech_engine, gpus=len(gpus))
    return {
        "version": VERSION,
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "ffmpeg": f"ffmpeg {version}",
        "missing": [part.partition("=")[2] for part in _NEEDED if _LACKING.search(_ask(ffmpeg, "-h", part))],
        "model": f"{options.speech_engine.value} {Path(options.model).name}",
        "device": device.name,
        "compute_type": device.compute_type,
        "encoder": choose_encoder(options.video_encoder, opens=partial(opens, ffmpeg=ffmpeg)).value,
        "gpus": [asdict(gpu) for gpu in gpus],
        "weights": weights.is_dir(),
    }


def bring_weights(options: PipelineOptions) -> Path:
    """Return the folder with the speech weights, fetched when this machine has none. Raises `ToolMissing`.

    A child fetches them: what it uses for that starts threads, and a worker that forks may have none.
    """
    try:
        return find_weights(options.model, options.model_dir, hub=_no_hub)
    except ToolMissing as missing:
        logger.info("getting the speech weights %s", options.model)
        command = [sys.executable, "-m", "pipeline.weights", options.model, "--dir", str(options.model_dir)]
        try:
            run_tool(command, timeout_s=_FETCH_S, cwd=_ROOT)
        except ToolFailed as error:
            raise ToolMissing(missing.message, error.detail) from error
        return find_weights(options.model, options.model_dir, hub=_no_hub)


def _ask(ffmpeg: Path, *question: str) -> str:
    return run_tool([str(ffmpeg), "-hide_banner", *question], timeout_s=30.0, cwd=Path.cwd())


def _no_hub(_model: str, _folder: Path) -> None:
    raise WeightsUnavailable("it is asked in a process of its own")
