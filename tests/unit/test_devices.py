"""What speech is recognised on and who encodes the picture: choices as functions, since no test has a GPU."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from pipeline.devices import Device, Gpu, ask_devices, choose_device, find_device, list_gpus, parse_gpus
from pipeline.encoders import build_encoder, choose_encoder, opens
from pipeline.ffmpeg import find_ffmpeg
from pipeline.options import SpeechEngine, VideoEncoder

FASTER, OPENAI = SpeechEngine.FASTER_WHISPER, SpeechEngine.OPENAI_WHISPER


@pytest.mark.parametrize(
    ("engine", "gpus", "kinds", "device"),
    [
        (FASTER, 0, [], Device(name="cpu", compute_type="int8")),
        (FASTER, 1, ["float32", "int8", "float16", "bfloat16"], Device(name="cuda", compute_type="float16")),
        (FASTER, 2, ["float32", "int8", "int8_float32"], Device(name="cuda", compute_type="int8")),
        (FASTER, 1, ["float32"], Device(name="cuda", compute_type="float32")),
        (FASTER, 1, [], Device(name="cpu", compute_type="int8")),
        (OPENAI, 0, [], Device(name="cpu", compute_type="float32")),
        (OPENAI, 1, [], Device(name="cuda", compute_type="float16")),
    ],
)
def test_a_gpu_is_used_where_there_is_one(
    engine: SpeechEngine, gpus: int, kinds: Collection[str], device: Device
) -> None:
    assert choose_device(engine, gpus=gpus, compute_types=kinds) == device


def test_what_the_driver_says_is_read() -> None:
    said = "NVIDIA L4, 23034\nNVIDIA A100-SXM4-80GB, 81920\nNo devices were found\nfailed, [N/A]\n"
    assert parse_gpus(said) == (
        Gpu(name="NVIDIA L4", memory_bytes=23034 << 20),
        Gpu(name="NVIDIA A100-SXM4-80GB", memory_bytes=81920 << 20),
    )


def test_this_machine_is_seen_the_same_by_us_and_by_a_child() -> None:
    gpus = list_gpus()
    device = find_device(FASTER)
    assert ask_devices(FASTER, gpus=1) == device
    assert device.name == ("cuda" if gpus else "cpu")


def test_an_encoder_that_does_not_open_is_replaced() -> None:
    asked: list[VideoEncoder] = []

    def fail(encoder: VideoEncoder) -> bool:
        asked.append(encoder)
        return False

    assert choose_encoder(VideoEncoder.NVENC, opens=fail) is VideoEncoder.X264
    assert choose_encoder(VideoEncoder.NVENC, opens=lambda _: True) is VideoEncoder.NVENC
    assert choose_encoder(VideoEncoder.X264, opens=fail) is VideoEncoder.X264
    assert asked == [VideoEncoder.NVENC], "nobody tries what every ffmpeg of ours can"


def test_what_opens_is_found_out(tmp_path: Path) -> None:
    ffmpeg = find_ffmpeg()
    assert opens(VideoEncoder.X264, ffmpeg=ffmpeg)
    assert opens(VideoEncoder.NVENC, ffmpeg=ffmpeg) is bool(list_gpus())
    assert not opens(VideoEncoder.X264, ffmpeg=tmp_path / "no-ffmpeg")


@pytest.mark.parametrize("encoder", list(VideoEncoder))
def test_every_encoder_has_a_quality_below_a_limit(encoder: VideoEncoder) -> None:
    options = build_encoder(encoder)
    assert options["c:v"] == encoder.value
    assert {"crf", "cq"} & options.keys() and options["profile:v"] == "high"
