"""Who encodes the picture: libx264 on the processor, or NVIDIA's encoder where somebody wants that and it works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.ffmpeg import run_tool
from pipeline.options import VideoEncoder

PRESET, CRF = "veryfast", 20
"""Chosen in the design's table of VMAF, size and CPU: a step faster doubles the size, a step slower costs half as much
again."""
_TRY_S = 60.0


def build_encoder(encoder: VideoEncoder) -> dict[str, Any]:
    """Return the options that name an encoder and its quality, which for both is constant below a limit."""
    match encoder:
        case VideoEncoder.NVENC:
            return {"c:v": "h264_nvenc", "preset": "p5", "rc": "vbr", "cq": 23, "b:v": 0, "profile:v": "high"}
        case VideoEncoder.X264:
            return {"c:v": "libx264", "preset": PRESET, "crf": CRF, "profile:v": "high"}


def choose_encoder(wanted: VideoEncoder, *, opens: Callable[[VideoEncoder], bool]) -> VideoEncoder:
    """Return the encoder to take: libx264, where the one that is wanted does not open here."""
    return wanted if wanted is VideoEncoder.X264 or opens(wanted) else VideoEncoder.X264


def opens(encoder: VideoEncoder, *, ffmpeg: Path) -> bool:
    """Tell whether an encoder works on this machine, by a few pictures; its driver may be missing."""
    pictures = ["-f", "lavfi", "-i", "color=size=256x144:rate=25:duration=0.2", "-pix_fmt", "yuv420p"]
    options = [part for name, value in build_encoder(encoder).items() for part in (f"-{name}", str(value))]
    command = [str(ffmpeg), "-hide_banner", "-v", "error", *pictures, *options, "-f", "null", "-"]
    try:
        run_tool(command, timeout_s=_TRY_S, cwd=Path.cwd())
    except PipelineError:
        return False
    return True
