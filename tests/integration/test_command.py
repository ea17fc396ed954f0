"""The command as a person and a program use it: files, flags, lines, sentences and exit statuses of the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from config import PROJECT_ROOT
from pipeline.models import RESULT_FILES, Stage
from pipeline.timeline import read_timeline
from tests.media.clips import AWKWARD_NAME
from tests.media.speech import SPEECH_RATE, noise
from tests.media.talks import Ended, run_command, short_talk, write_video


@pytest.fixture(scope="module")
def talk_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / AWKWARD_NAME, short_talk().samples)


@pytest.fixture(scope="module")
def result(talk_video: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    assert weights.is_dir()
    out = tmp_path_factory.mktemp("result") / "new" / "folder"
    ended = run_command(talk_video, "-o", out, "--captions", "both", "--style", "boxed")
    assert ended.status == 0, ended.errors
    return out, ended


def test_nine_files_and_nothing_else(result: tuple[Path, Ended]) -> None:
    out, _ = result
    assert sorted(path.name for path in out.iterdir()) == sorted(RESULT_FILES)


def test_report_has_the_fields_of_the_contract(result: tuple[Path, Ended]) -> None:
    report = json.loads((result[0] / "report.json").read_text())
    assert set(report) == {"version", "source", "result", "cuts", "speech", "qa", "notes", "stages"}
    assert set(report["source"]) == {
        "name", "duration_ms", "width", "height", "fps", "vfr", "hdr", "rotation", "video_codec", "audio",
    }  # fmt: skip
    assert set(report["result"]) == {"duration_ms", "frames", "width", "height", "fps", "size_bytes", "captions"}
    assert set(report["cuts"]) == {
        "engine", "engine_version", "threshold", "threshold_mode", "margin_ms", "count", "removed_ms", "removed",
    }  # fmt: skip
    assert [check["id"] for check in report["qa"]] == [
        "av_sync", "duration", "decodes", "captions_inside", "reading_speed", "black_seams", "frozen_seams", "loudness",
    ]  # fmt: skip
    assert [stage["name"] for stage in report["stages"]] == [stage.value for stage in list(Stage)[:-1]]
    assert report["source"]["name"] == AWKWARD_NAME
    assert report["cuts"]["count"] == len(report["cuts"]["removed"]) == 4
    removed = report["cuts"]["removed_ms"]
    assert abs(report["source"]["duration_ms"] - removed - report["result"]["duration_ms"]) <= 50
    assert report["result"]["size_bytes"] == (result[0] / "video.mp4").stat().st_size


def test_texts_agree_with_each_other(result: tuple[Path, Ended]) -> None:
    out = result[0]
    transcript = json.loads((out / "transcript.json").read_text())
    assert transcript["language"] == "en"
    assert set(transcript["words"][0]) == {"start_ms", "end_ms", "text", "probability"}
    text = (out / "transcript.txt").read_text()
    assert "".join(text.split()) == "".join("".join(word["text"] for word in transcript["words"]).split())
    assert "cutting videos" in text
    vtt, srt = (out / "captions.vtt").read_text(), (out / "captions.srt").read_text()
    assert vtt.startswith("WEBVTT\n")
    assert vtt.count("-->") == srt.count("-->") == json.loads((out / "report.json").read_text())["speech"]["cues"]
    peaks = json.loads((out / "peaks.json").read_text())
    assert peaks["per_second"] == 10
    assert len(peaks["peaks"]) in range(110, 150)
    assert 100 < max(peaks["peaks"]) <= 255
    assert (out / "poster.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def read_track(video: Path) -> tuple[str | None, list[str]]:
    """Return the language of a video's caption track and its texts; None and nothing when there is none."""
    with av.open(str(video)) as container:
        if not container.streams.subtitles:
            return None, []
        track = container.streams.subtitles[0]
        packets = [bytes(packet) for packet in container.demux(track) if packet.size > 2]
        texts = [packet[2 : 2 + int.from_bytes(packet[:2])].decode() for packet in packets]  # ISO 14496-17, 5.17
        return track.language, [text for text in texts if text]


def test_the_caption_track_says_what_the_captions_say(result: tuple[Path, Ended]) -> None:
    language, texts = read_track(result[0] / "video.mp4")
    assert language == "eng"
    blocks = (result[0] / "captions.vtt").read_text().strip().split("\n\n")[1:]
    assert texts == [block.split("\n", 1)[1] for block in blocks]


def test_burned_captions_come_without_a_track(talk_video: Path, weights: Path, tmp_path: Path) -> None:
    assert weights.is_dir()
    assert run_command(talk_video, "-o", tmp_path, "--captions", "burned").status == 0
    assert read_track(tmp_path / "video.mp4") == (None, [])
    assert "-->" in (tmp_path / "captions.vtt").read_text()
    plain = tmp_path / "plain"
    assert run_command(talk_video, "-o", plain, "--captions", "soft").status == 0
    assert read_track(plain / "video.mp4")[0] == "eng"
    first = parse_first_cue((plain / "captions.vtt").read_text())
    at = (first[0] + first[1]) / 2
    burned, clean = (read_picture_at(path / "video.mp4", at) for path in (tmp_path, plain))
    changed = np.abs(burned.astype(int) - clean.astype(int)) > 60
    assert changed[: 180 * 6 // 10].sum() == 0, "captions belong at the bottom"
    assert changed[180 * 7 // 10 :].sum() > 200


def parse_first_cue(vtt: str) -> tuple[float, float]:
    times = vtt.split("\n\n")[1].split("\n")[0].split(" --> ")
    start, end = (
        sum(float(part) * 60**place for place, part in enumerate(reversed(time.split(":")))) for time in times
    )
    return start, end


def read_picture_at(video: Path, seconds: float) -> NDArray[np.uint8]:
    with av.open(str(video)) as container:
        for frame in container.decode(container.streams.video[0]):
            if frame.time is not None and frame.time >= seconds:
                return np.asarray(frame.to_ndarray(format="gray"), dtype=np.uint8)
    raise AssertionError(f"{video} has no picture at {seconds} s")


def test_progress_never_goes_back_and_ends_whole(result: tuple[Path, Ended]) -> None:
    events = result[1].events
    steps = [event for event in events if event["event"] == "progress"]
    overall = [float(str(step["overall"])) for step in steps]
    assert overall == sorted(overall)
    assert overall[-1] == pytest.approx(0.99)  # publishing is the rest
    stages = list(dict.fromkeys(str(step["stage"]) for step in steps))
    assert stages == [stage.value for stage in list(Stage)[:-1]]
    assert events[-1] == {"event": "done", "out": str(result[0])}


def test_a_second_run_replaces_the_first(talk_video: Path, tmp_path: Path) -> None:
    for pace in ("relaxed", "tight"):
        assert run_command(talk_video, "-o", tmp_path, "--captions", "none", "--pace", pace).status == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["cuts"]["margin_ms"] == [100, 150]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(RESULT_FILES)


def test_cuts_only_writes_the_timeline_alone(talk_video: Path, tmp_path: Path) -> None:
    ended = run_command(talk_video, "-o", tmp_path, "--cuts-only")
    assert ended.status == 0, ended.errors
    assert [path.name for path in tmp_path.iterdir()] == ["timeline.json"]
    assert json.loads((tmp_path / "timeline.json").read_text())["timebase"] == "30/1"


@pytest.mark.parametrize("spelling", [["--threshold", "-28dB"], ["--threshold=-28dB"]])
def test_values_may_begin_with_a_minus(spelling: list[str], talk_video: Path, tmp_path: Path) -> None:
    ended = run_command(talk_video, "-o", tmp_path, "--cuts-only", *spelling, "--margin", "-0.1s,0.2s")
    assert ended.status == 0, ended.errors


def test_an_imported_timeline_is_played_as_it_stands(talk_video: Path, tmp_path: Path) -> None:
    cuts = tmp_path / "cuts.json"
    cuts.write_text('{"version":"1","source":"x","timebase":"30/1","chunks":[[0,30,0.0],[30,90,1.0],[90,400,99999.0]]}')
    ended = run_command(talk_video, "-o", tmp_path / "out", "--timeline", cuts, "--captions", "none")
    assert ended.status == 0, ended.errors
    assert json.loads((tmp_path / "out" / "report.json").read_text())["result"]["frames"] == 60
    timeline = read_timeline(tmp_path / "out" / "timeline.json", default_timebase=Fraction(30))
    assert timeline.kept == ((30, 90),)


def test_no_cut_keeps_every_frame(talk_video: Path, tmp_path: Path) -> None:
    assert run_command(talk_video, "-o", tmp_path, "--no-cut", "--captions", "none").status == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["cuts"]["count"] == 0
    assert report["result"]["duration_ms"] == pytest.approx(report["source"]["duration_ms"], abs=34)


def test_no_captions_give_empty_caption_files(talk_video: Path, tmp_path: Path) -> None:
    assert run_command(talk_video, "-o", tmp_path, "--captions", "none").status == 0
    assert (tmp_path / "captions.vtt").read_text() == "WEBVTT\n"
    assert (tmp_path / "captions.srt").read_text() == ""
    assert (tmp_path / "transcript.txt").read_text() == ""
    assert json.loads((tmp_path / "transcript.json").read_text())["words"] == []


def test_probe_prints_what_the_file_is(talk_video: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--probe", str(talk_video)],
        cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    probe = json.loads(done.stdout)
    assert (probe["width"], probe["height"], probe["fps"], probe["video_codec"]) == (320, 180, 30.0, "h264")


def test_silence_and_noise_are_delivered_with_a_note(tmp_path: Path, weights: Path) -> None:
    assert weights.is_dir()
    hiss = noise(4 * SPEECH_RATE, -40, seed=3).astype("int16")
    for name, samples, note in (("silent", hiss * 0, "all_silent"), ("hiss", hiss, "nothing_cut")):
        video = write_video(tmp_path / f"{name}.mp4", samples)
        ended = run_command(video, "-o", tmp_path / name)
        assert ended.status == 0, ended.errors
        assert [event["code"] for event in ended.events if event["event"] == "note"] == ["no_speech", note]
        assert json.loads((tmp_path / name / "report.json").read_text())["result"]["frames"] == 120


REFUSED = {
    "empty": (b"", "empty", "The file is empty"),
    "text": (b"This is no video at all. " * 100, "not_media", "not a video we can read"),
    "playlist": (b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "not_media", "not a video we can read"),
    "concat": (b"ffconcat version 1.0\nfile /etc/passwd\n", "not_media", "not a video we can read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_content(name: str, tmp_path: Path) -> None:
    content, code, sentence = REFUSED[name]
    source = tmp_path / "video.mp4"
    source.write_bytes(content)
    ended = run_command(source, "-o", tmp_path / "out")
    assert (ended.status, ended.last()["code"], ended.last()["exit"]) == (3, code, 3)
    assert sentence in str(ended.last()["message"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--max-duration", "5s"], "too_long", ["at most 5.0 s fit", "Split it"]),
        (["--max-pixels", "10000"], "too_many_pixels", ["320 x 180", "Export it smaller"]),
    ],
)
def test_limits_name_both_values(
    flags: list[str], code: str, words: list[str], talk_video: Path, tmp_path: Path
) -> None:
    ended = run_command(talk_video, "-o", tmp_path / "out", *flags)
    assert (ended.status, ended.last()["code"]) == (3, code)
    assert all(word in str(ended.last()["message"]) for word in words)


def test_a_cut_off_copy_is_truncated(talk_video: Path, tmp_path: Path) -> None:
    whole = talk_video.read_bytes()
    for name, part in (("no-index.mp4", whole[: len(whole) // 2]), ("no-tail.mp4", whole[:-500])):
        (tmp_path / name).write_bytes(part)
        ended = run_command(tmp_path / name, "-o", tmp_path / "out")
        assert (ended.status, ended.last()["code"]) == (3, "truncated"), name


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--threshold", "loud"], "no threshold"),
        (["--threshold", "150%"], "between 0% and 100%"),
        (["--margin", "1s,2s,3s"], "no margin"),
        (["--min-pause", "soon"], "no shortest pause"),
        (["--language", "klingon"], "no language"),
        (["--audio-track", "first"], "no audio track"),
        (["--vocabulary", "word " * 200], "The vocabulary has"),
        (["--timeline", "no-such.json"], "can't read"),
        ([], "Where should the result go"),
    ],
)
def test_bad_usage_is_one_sentence(arguments: list[str], sentence: str, talk_video: Path, tmp_path: Path) -> None:
    target = ["-o", str(tmp_path / "out")] if arguments else []
    ended = run_command(talk_video, *target, *arguments, "--captions", "none")
    assert (ended.status, ended.last()["code"]) == (2, "usage")
    assert sentence in str(ended.last()["message"])
    assert "Traceback" not in ended.errors
    assert not (tmp_path / "out").exists()


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    ended = run_command(tmp_path / "nowhere.mp4", "-o", tmp_path / "out")
    assert (ended.status, ended.last()["code"]) == (4, "source_gone")
    assert "nowhere.mp4" in str(ended.last()["message"])


def test_people_get_sentences_not_tracebacks(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    ended = run_command(tmp_path / "notes.mp4", "-o", tmp_path / "out", json_lines=False)
    assert ended.status == 3
    assert ended.errors.splitlines()[-1] == "This is not a video we can read. Export it as MP4 and use that."
    assert "Traceback" not in ended.errors
