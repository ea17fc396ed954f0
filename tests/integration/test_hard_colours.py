"""Colours are shown as the source meant them, whatever matrix, range, depth or transfer it is written in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.media.hard import CARD, X264, Plane, card_colours, card_luma, colour_card, ffmpeg, process, read_planes

PCM, AAC = ("-c:a", "pcm_s16le"), ("-c:a", "aac")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error:pools=2")


def _tagged(matrix: str, range_: str, pixels: str) -> tuple[str, ...]:
    scale = f"scale=out_color_matrix={matrix}:out_range={range_},format={pixels}"
    tags = f"setparams=colorspace={matrix}:range={range_}:color_primaries={matrix}:color_trc={matrix}"
    return "-vf", f"{scale},{tags}", *X264, *AAC


COLOURS = {
    "bt709": (".mp4", _tagged("bt709", "tv", "yuv420p"), 1),
    "bt601 ntsc": (".mp4", _tagged("smpte170m", "tv", "yuv420p"), 6),
    "bt601 pal": (".mp4", _tagged("bt470bg", "tv", "yuv420p"), 5),
    "bt709 full": (".mp4", _tagged("bt709", "pc", "yuv420p"), 1),
    "bt601 full": (".mp4", _tagged("smpte170m", "pc", "yuv420p"), 6),
    "bt709 full 4:4:4": (".mkv", _tagged("bt709", "pc", "yuv444p"), 1),
    "bt709 10-bit 4:2:2": (".mov", _tagged("bt709", "tv", "yuv422p10le"), 1),
    "nothing said": (".mp4", ("-vf", "format=yuv420p,setparams=colorspace=unknown:range=unknown", *X264, *AAC), 2),
    "mjpeg": (".avi", ("-vf", "format=yuvj420p", "-c:v", "mjpeg", "-q:v", "2", *PCM), 5),
    "rgb": (".mkv", ("-c:v", "ffv1", "-pix_fmt", "bgr0", *PCM), 1),
    "rgb h264": (".mp4", ("-c:v", "libx264rgb", "-crf", "8", *AAC), 1),
    "prores": (".mov", ("-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv422p10le,"
                        "setparams=colorspace=bt709", "-c:v", "prores_ks", *PCM), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", COLOURS)
def test_colours_stay(name: str, tmp_path: Path) -> None:
    """A step of 8-bit chroma is 2 of red or blue: one for each of two encodes, and the half step of each rounding."""
    suffix, options, matrix = COLOURS[name]
    source = colour_card(tmp_path / f"card{suffix}", *options)
    video = process(source, tmp_path).files["video.mp4"]
    frame, _ = read_planes(video)
    shown = card_colours(video)
    error = max(abs(a - b) for want, got in zip(CARD, shown, strict=True) for a, b in zip(want, got, strict=True))
    print(f"{name:>20}  matrix {int(frame.colorspace)}  range {int(frame.color_range)}  worst {error}")
    assert int(frame.colorspace) == matrix
    assert error <= 5


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_full_range_becomes_limited(matrix: str, tmp_path: Path) -> None:
    """Within 2: half a step of rounding in each of two encodes, and their noise."""
    source = colour_card(tmp_path / "card.mp4", *_tagged(matrix, "pc", "yuv420p"))
    frame, _ = read_planes(source)
    assert frame.format.name == "yuvj420p"
    wanted = [16 + 219 * luma / 255 for luma in card_luma(source)]
    assert card_luma(process(source, tmp_path).files["video.mp4"]) == pytest.approx(wanted, abs=2)


TONE_MAP = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)
"""The design's chain (pipeline.md section 6), run apart from ours."""
HDR = {
    "hdr10": ("smpte2084", "bt2020nc", "bt2020", "yuv420p10le"),
    "hlg": ("arib-std-b67", "bt2020nc", "bt2020", "yuv420p10le"),
    "hlg 4:2:2": ("arib-std-b67", "bt2020nc", "bt2020", "yuv422p10le"),
    "hdr10, only its transfer said": ("smpte2084", "unknown", "unknown", "yuv420p10le"),
    "hdr10, matrix of rgb said": ("smpte2084", "gbr", "bt2020", "yuv420p10le"),
    "hlg, primaries not said": ("arib-std-b67", "bt2020nc", "unknown", "yuv420p10le"),
}


@pytest.mark.parametrize("name", HDR)
def test_hdr_is_shown_as_sdr(name: str, tmp_path: Path) -> None:
    """Mean luma within 1 and hue within 3 degrees of the design's chain: an encode at crf 20 moves them by 0.3 and 2.

    Where a file leaves its colours unsaid, the chain is told BT.2020: HDR has no others.
    """
    transfer, matrix, primaries, pixels = HDR[name]
    said = f"setparams=colorspace={matrix}:range=tv:color_primaries={primaries}:color_trc={transfer}"
    bars = "smptehdbars=s=320x180:r=30:d=0.3"
    tags = f"colorprim={primaries}:transfer={transfer}:colormatrix={matrix}"
    ffmpeg(
        *("-f", "lavfi", "-i", bars, "-f", "lavfi", "-i", "sine=440:duration=0.3"),
        *("-vf", f"format={pixels},{said}", *X265[:-1], f"{X265[-1]}:crf=10:{tags}", *AAC, "hdr.mp4"),
        cwd=tmp_path,
    )
    told = "setparams=colorspace=bt2020nc:color_primaries=bt2020"
    ffmpeg("-i", "hdr.mp4", "-vf", f"{told},{TONE_MAP}", "-c:v", "ffv1", "reference.mkv", cwd=tmp_path)
    _, wanted = read_planes(tmp_path / "reference.mkv")
    frame, got = read_planes(process(tmp_path / "hdr.mp4", tmp_path).files["video.mp4"])
    assert [int(tag) for tag in (frame.colorspace, frame.color_primaries, frame.color_trc)] == [1, 1, 1]
    luma, hue = float(abs(wanted[0].mean() - got[0].mean())), _hue_error(wanted, got)
    print(f"{name:>30}  luma {wanted[0].mean():.1f}, off by {luma:.2f}; hue off by {hue:.2f} degrees")
    assert luma <= 1
    assert hue <= 3


def _hue_error(wanted: list[Plane], got: list[Plane]) -> float:
    """Return the mean difference of hue in degrees where there is colour."""
    (_, u, v), (_, u2, v2) = wanted, got
    coloured = np.hypot(u - 128, v - 128) > 20
    turn = np.angle(((u2 - 128) + 1j * (v2 - 128)) / np.where(coloured, (u - 128) + 1j * (v - 128), 1))
    return math.degrees(float(np.abs(turn[coloured]).mean()))
