"""The probe of a stranger's file: a process of its own, whose words become facts or a sentence."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.prober import PipelineProber
from adapters.s3_files import S3Files
from config import PROJECT_ROOT
from jobs.errors import Refused, StorageError
from jobs.models import RemoteFile
from pipeline.options import PipelineOptions
from tests.media.clips import (
    AWKWARD_NAME,
    SHAPES,
    flash_beep_clip,
    headless_clip,
    numbered_clip,
    rotated_clip,
    silent_clip,
    text_file,
    truncated_clip,
    two_track_clip,
    zero_byte_file,
)
from tests.media.encode import PLAIN
from tests.media.hard import ffmpeg
from tests.product.bucket import open_bucket
from tests.servers.weed import LocalS3

PROBER = PipelineProber(PipelineOptions())


def test_the_facts_are_those_of_the_file(tmp_path: Path) -> None:
    clip = two_track_clip(tmp_path / AWKWARD_NAME)[0]
    facts = PROBER.probe(clip.path)
    data = clip.path.read_bytes()
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert facts.size_bytes == len(data)
    assert facts.audio_tracks == 2
    assert facts.video_codec == "h264"
    assert facts.fps == str(clip.rate)
    assert (facts.width, facts.height) == (160, 90)
    assert abs(facts.duration_ms - 1000 * 240 / clip.rate) <= 40


def test_a_turned_video_is_measured_as_it_is_shown(tmp_path: Path) -> None:
    facts = PROBER.probe(rotated_clip(tmp_path / "a.mp4").path)
    assert (facts.width, facts.height) == (90, 160)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (truncated_clip, "truncated"),
        (headless_clip, "truncated"),
        (text_file, "not_media"),
        (zero_byte_file, "empty"),
    ],
)
def test_a_bad_file_is_refused_with_the_sentence_of_the_pipeline(
    tmp_path: Path, make: Callable[[Path], Path], code: str
) -> None:
    with pytest.raises(Refused) as caught:
        PROBER.probe(make(tmp_path / "a.mp4"))
    assert caught.value.code == code
    assert caught.value.message.endswith(".")
    assert str(tmp_path) not in caught.value.message


def test_limits_travel_to_the_probe(tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "a.mp4").path
    for options, code in (
        (PipelineOptions(max_duration_ms=2999), "too_long"),
        (PipelineOptions(max_pixels=160 * 90 - 1), "too_many_pixels"),
    ):
        with pytest.raises(Refused) as caught:
            PipelineProber(options).probe(clip)
        assert caught.value.code == code
    assert PipelineProber(replace(PipelineOptions(), max_duration_ms=3000)).probe(clip).duration_ms == 3000


def test_a_missing_file_is_not_the_persons_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be checked just now"):
        PROBER.probe(tmp_path / "nothing.mp4")


# --- programs that stand in for a probe that ends badly ---


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Let a script run as the probe; return the file in which it counts its runs."""
    count = folder / "count"
    program = folder / "python"
    program.write_text(f"#!/bin/sh\necho run >> '{count}'\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr("adapters.prober.PYTHON", str(program))
    return count


def test_a_file_that_kills_its_probe_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = stand_in(tmp_path, monkeypatch, """echo '{"event": "begin"}'; kill -SEGV $$""")
    with pytest.raises(Refused, match="Export it as MP4") as caught:
        PROBER.probe(tmp_path / "a.mp4")
    assert caught.value.code == "not_media"
    assert count.read_text().split() == ["run", "run"]


def test_a_probe_that_dies_once_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = silent_clip(tmp_path / "a.mp4").path
    script = f"""
    if [ $(wc -l < '{tmp_path / "count"}') = 1 ]; then echo '{{"event": "begin"}}'; kill -KILL $$; fi
    exec '{sys.executable}' "$@"
    """
    count = stand_in(tmp_path, monkeypatch, script)
    assert PROBER.probe(clip).duration_ms == 3000
    assert count.read_text().split() == ["run", "run"]


@pytest.mark.parametrize("script", ["exit 1", "kill -KILL $$", "echo something else", "exit 0"])
def test_a_probe_that_does_not_even_start_refuses_nobodys_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(StorageError):
        PROBER.probe(tmp_path / "a.mp4")


def test_a_machine_without_the_program_refuses_nobodys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.prober.PYTHON", str(tmp_path / "nothing"))
    with pytest.raises(StorageError):
        PROBER.probe(tmp_path / "a.mp4")


# --- the command ---


def run_probe(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "pipeline", "--probe", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_command_prints_the_probe_for_people_and_for_programs(tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "a.mp4").path
    plain = json.loads(run_probe(clip))
    assert set(plain) == {
        *("name", "duration_ms", "width", "height", "fps", "vfr", "hdr", "rotation", "video_codec", "audio"),
    }
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert json.loads(run_probe(clip, "--sha256")) == {**plain, "sha256": digest}
    begin, found = map(json.loads, run_probe(clip, "--json").splitlines())
    assert begin == {"event": "begin"}
    assert found == {"event": "probe", **plain, "frame_rate": "30", "size_bytes": clip.stat().st_size}


def test_the_command_writes_into_a_file(tmp_path: Path) -> None:
    """A probe may write no file, but its own output may be one."""
    clip = silent_clip(tmp_path / "a.mp4").path
    with (tmp_path / "probe.json").open("w") as file:
        command = [sys.executable, "-m", "pipeline", "--probe", str(clip)]
        subprocess.run(command, cwd=PROJECT_ROOT, stdout=file, timeout=120, check=True)
    assert json.loads((tmp_path / "probe.json").read_text())["duration_ms"] == 3000


# --- a file elsewhere ---


@dataclass(frozen=True)
class Elsewhere:
    """A bucket into which files of tests are put."""

    files: S3Files

    def put(self, path: Path) -> RemoteFile:
        key = f"user/{uuid4()}/video/{uuid4()}/copy"
        copy = path.with_name(f"{path.name}.copy")
        copy.write_bytes(path.read_bytes())
        self.files.put(key, copy)
        found = self.files.open_remote(key)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def elsewhere(local_s3: LocalS3) -> Elsewhere:
    return Elsewhere(open_bucket(local_s3, local_s3.make_bucket("probe")))


def as_fragments(path: Path) -> Path:
    source = numbered_clip(path.with_name("whole.mp4"), frames=300).path
    ffmpeg("-i", source, "-c", "copy", "-movflags", "frag_keyframe+empty_moov", path, cwd=path.parent)
    return path


def as_kind(suffix: str, *options: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        source, target = numbered_clip(path.with_name("whole.mp4"), frames=300).path, path.with_suffix(suffix)
        ffmpeg("-i", source, *options, target, cwd=path.parent)
        return target

    return make


def cut_off(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def cut(path: Path) -> Path:
        whole = make(path)
        data = whole.read_bytes()
        whole.write_bytes(data[: len(data) * 6 // 10])
        return whole

    return cut


KINDS: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda path: silent_clip(path).path,
    "index first": as_kind(".mp4", "-c", "copy", "-movflags", "faststart"),
    "mov": as_kind(".mov", "-c", "copy"),
    "pcm": as_kind(".mov", "-c:v", "copy", "-c:a", "pcm_s16le"),
    "prores": as_kind(".mov", "-c:v", "prores_ks", "-c:a", "copy"),
    "mpeg4 and mp3": as_kind(".mp4", "-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "vp9": as_kind(".webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "ac3": as_kind(".mp4", "-c:v", "copy", "-c:a", "ac3"),
    "fragments": as_fragments,
    "mkv": as_kind(".mkv", "-c", "copy"),
    "avi": as_kind(".avi", "-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "ts": as_kind(".ts", "-c", "copy"),
    "two tracks": lambda path: two_track_clip(path)[0].path,
    "turned": lambda path: rotated_clip(path).path,
    "varying": lambda path: flash_beep_clip(
        path, rate=Fraction(30), n_events=3, duration_s=8, audio_offset_ms=0, video_offset_ms=120, vfr=True,
        audio_rate=48_000, coding=PLAIN, seed=1,
    ).path,
    "late sound": lambda path: SHAPES["29.97"].make(path.parent, n_events=3, duration_s=8).path,
    "text": text_file,
    "playlist": lambda path: write(path, f"#EXTM3U\n#EXTINF:1,\nfile://{path}\n"),
    "truncated": truncated_clip,
    "headless": headless_clip,
    "truncated mkv": cut_off(as_kind(".mkv", "-c", "copy")),
    "truncated fragments": cut_off(as_fragments),
    "truncated avi": cut_off(as_kind(".avi", "-c:v", "mpeg4", "-c:a", "libmp3lame")),
    "empty": zero_byte_file,
}  # fmt: skip


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def look(prober: PipelineProber, source: Path | RemoteFile) -> object:
    """Return the facts, or why there are none."""
    try:
        return replace(prober.probe(source), sha256="")
    except Refused as error:
        return (error.code, error.message)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_elsewhere_is_judged_as_one_that_is_here(elsewhere: Elsewhere, tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path / "a.mp4")
    assert look(PROBER, elsewhere.put(path)) == look(PROBER, path)


def test_the_identity_of_a_file_elsewhere_is_the_stores(elsewhere: Elsewhere, tmp_path: Path) -> None:
    remote = elsewhere.put(silent_clip(tmp_path / "a.mp4").path)
    assert PROBER.probe(remote).sha256 == remote.sha256


def test_of_a_large_mp4_only_the_index_and_the_first_pictures_are_read(
    elsewhere: Elsewhere, tmp_path: Path, caplog: pytest.LogCaptureFixture, show: Callable[[str], None]
) -> None:
    """Forty megabytes of packets stand between what is read."""
    source = tmp_path / "noise.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "nullsrc=s=640x360:r=30:d=12,geq=random(1)*255:128:128", "-c:v", "libx264",
        "-preset", "ultrafast", "-b:v", "30M", "-minrate", "30M", "-maxrate", "30M", "-bufsize", "30M", source,
        cwd=tmp_path,
    )  # fmt: skip
    caplog.set_level(logging.INFO, "adapters.prober")
    remote = elsewhere.put(source)
    assert remote.size_bytes > 30_000_000
    facts = PROBER.probe(remote)
    assert facts == replace(PROBER.probe(source), sha256=remote.sha256)
    (line,) = [record.getMessage() for record in caplog.records if "requests" in record.getMessage()]
    fetched, requests = (int(word) for word in line.split() if word.isdecimal())
    show(
        f"probe of an MP4 of {remote.size_bytes / 1e6:.0f} MB in a bucket: {fetched / 1e6:.1f} MB, {requests} requests"
    )
    assert fetched < remote.size_bytes / 4
    assert requests < 20


def test_the_address_is_seen_by_nobody(
    elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    remote = elsewhere.put(silent_clip(tmp_path / "a.mp4").path)
    stand_in(tmp_path, monkeypatch, f"""echo "$@" > '{tmp_path}/arguments'; exec '{sys.executable}' "$@" """)
    bad = replace(remote, url=remote.url.replace("Signature=", "Signature=0"))
    assert PROBER.probe(remote).duration_ms == 3000
    with pytest.raises(StorageError) as caught:
        PROBER.probe(bad)
    assert "answered 403" in caplog.text
    secrets = ("X-Amz-Signature", remote.url.rpartition("=")[2])
    for text in (caplog.text, (tmp_path / "arguments").read_text(), caught.value.detail, repr(remote)):
        assert not [secret for secret in secrets if secret in text]


class Faulty(BaseHTTPRequestHandler):
    """A store that answers as a test says."""

    data, plan = b"", ""
    asked = 0

    def do_GET(self) -> None:
        kind = type(self)
        kind.asked += 1
        first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = kind.data[first : last + 1]
        told = f"bytes {first}-{last}/{len(kind.data)}"
        match kind.plan, kind.asked:
            case "busy", 1 | 2:
                self.send_error(503)
                return
            case "redirect", _:
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                return
            case "whole", _:
                self.answer(200, kind.data, told)
            case "other", _:
                self.answer(206, part, f"bytes {first}-{last}/{len(kind.data) + 1}")
            case "changed", _:
                self.answer(206, part, told, etag=f'"{kind.asked}"')
            case "cut", count if count % 2:
                self.answer(206, part, told, sent=len(part) // 2)
            case _:
                self.answer(206, part, told)

    def answer(self, status: int, body: bytes, told: str, *, sent: int | None = None, etag: str = '"a"') -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), ("Content-Range", told), ("ETag", etag)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def faulty() -> Iterator[Callable[[str, bytes], RemoteFile]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def serve(plan: str, data: bytes) -> RemoteFile:
        Faulty.plan, Faulty.data, Faulty.asked = plan, data, 0
        url = f"http://127.0.0.1:{server.server_address[1]}/a.mp4?secret"
        return RemoteFile(url=url, size_bytes=len(data), sha256="0" * 64)

    yield serve
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("plan", ["fine", "busy", "cut"])
def test_a_store_that_stumbles_is_asked_again(
    faulty: Callable[[str, bytes], RemoteFile], tmp_path: Path, plan: str
) -> None:
    clip = silent_clip(tmp_path / "a.mp4").path
    assert PROBER.probe(faulty(plan, clip.read_bytes())) == replace(PROBER.probe(clip), sha256="0" * 64)


@pytest.mark.parametrize("plan", ["redirect", "whole", "other", "changed"])
def test_an_answer_that_was_not_asked_for_is_the_stores_fault(
    faulty: Callable[[str, bytes], RemoteFile], tmp_path: Path, plan: str
) -> None:
    path = numbered_clip(tmp_path / "a.mp4", frames=900).path
    with pytest.raises(StorageError, match="can't be checked just now"):
        PROBER.probe(faulty(plan, path.read_bytes()))


def test_a_store_that_is_gone_refuses_nobodys_file() -> None:
    with pytest.raises(StorageError) as caught:
        PROBER.probe(RemoteFile(url="http://127.0.0.1:1/x?secret", size_bytes=1000, sha256="0" * 64))
    assert "secret" not in caught.value.detail


def test_the_command_wants_an_address_it_can_read() -> None:
    for given in ("", "{}", '{"url": "file:///etc/passwd", "size_bytes": 3}', "[1]", "{"):
        command = [sys.executable, "-m", "pipeline", "--probe", "--remote", "--json", "a.mp4"]
        done = subprocess.run(command, cwd=PROJECT_ROOT, input=given, capture_output=True, text=True, timeout=60)
        assert (done.returncode, json.loads(done.stdout)["code"]) == (2, "usage")
