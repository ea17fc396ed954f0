"""On what speech is recognised here: the processor, or a GPU of NVIDIA's.

Whoever merely wants to know asks `ask_devices`, which lets a child look: a process that has touched CUDA can't be
forked any more, and the libraries are large.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.ffmpeg import run_tool
from pipeline.options import SpeechEngine

_LOOK_S = 120.0
_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_BY_SPEED = ("float16", "int8", "float32")
"""Kinds of numbers on a GPU; old ones compute no halves, or only slowly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What an engine computes on, and with which kind of numbers."""

    name: str
    """``cuda`` or ``cpu``, as the libraries call them."""
    compute_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as its driver names it."""

    name: str
    memory_bytes: int


def choose_device(engine: SpeechEngine, *, gpus: int, compute_types: Collection[str] = _BY_SPEED) -> Device:
    """Return what an engine should compute on, where a library counts ``gpus`` that compute with these numbers."""
    if engine is SpeechEngine.OPENAI_WHISPER:
        return Device(name="cuda", compute_type="float16") if gpus else Device(name="cpu", compute_type="float32")
    fast = next((kind for kind in _BY_SPEED if kind in compute_types), None)
    if gpus and fast:
        return Device(name="cuda", compute_type=fast)
    return Device(name="cpu", compute_type="int8")


def find_device(engine: SpeechEngine) -> Device:
    """Return what this process should compute on, as the library of the engine sees the machine."""
    if engine is SpeechEngine.OPENAI_WHISPER:
        import torch  # deferred: half a gigabyte

        return choose_device(engine, gpus=torch.cuda.device_count() if torch.cuda.is_available() else 0)
    import ctranslate2  # deferred, for the same reason

    gpus = ctranslate2.get_cuda_device_count()
    return choose_device(
        engine, gpus=gpus, compute_types=ctranslate2.get_supported_compute_types("cuda") if gpus else ()
    )


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Return the GPUs in what ``nvidia-smi`` prints: a line ``name, MiB`` for each; other lines are no GPU."""
    found = []
    for line in text.splitlines():
        name, _, memory = line.rpartition(",")
        if name.strip() and memory.strip().isdecimal():
            found.append(Gpu(name=name.strip(), memory_bytes=int(memory) << 20))
    return tuple(found)


def list_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs of this machine; none where the driver's program is missing or fails."""
    try:
        return parse_gpus(run_tool(_QUERY, timeout_s=_LOOK_S, cwd=Path.cwd()))
    except PipelineError:
        return ()


def ask_devices(engine: SpeechEngine, *, gpus: int) -> Device:
    """Return what the engine will compute on here, without loading anything into this process.

    ``gpus`` is how many the driver knows: without any, nobody needs to look.
    """
    if not gpus:
        return choose_device(engine, gpus=0)
    command = [sys.executable, "-m", "pipeline.devices", engine.value]
    try:
        said = run_tool(command, timeout_s=_LOOK_S, cwd=Path(__file__).parents[1])
        answer = json.loads(said.strip().splitlines()[-1])
        return Device(name=str(answer["name"]), compute_type=str(answer["compute_type"]))
    except (PipelineError, ValueError, LookupError, TypeError):
        return choose_device(engine, gpus=0)


def main(words: Sequence[str]) -> int:
    """Print what an engine computes on here, as JSON."""
    device = find_device(SpeechEngine(words[0]))
    print(json.dumps({"name": device.name, "compute_type": device.compute_type}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
