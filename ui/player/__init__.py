"""The player with its transcript, facts and waveform, and the button that takes the video away.

Python sends a few words and addresses; captions, waveform and report are fetched by the component itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import streamlit as st

from jobs.models import Json, ProcessingJob, Video
from ui import words
from ui.languages import name_language
from ui.parts import read_texts

_HERE = Path(__file__).parent
_MENU = _HERE.parent / "menu"

_player = st.components.v2.component(
    "factory.player",
    html=(_HERE / "player.html").read_text("utf-8"),
    css=(_HERE / "player.css").read_text("utf-8"),
    js=read_texts(
        _HERE / "cuts.js", _HERE / "transcript.js", _HERE / "wave.js", _MENU.with_name("nodes.js"), _HERE / "player.js"
    ),
)
_download = st.components.v2.component(
    "factory.download",
    html=(_HERE / "download.html").read_text("utf-8"),
    css=read_texts(_HERE / "download.css", _MENU.with_suffix(".css")),
    js=read_texts(_MENU.with_name("nodes.js"), _MENU.with_suffix(".js"), _HERE / "download.js"),
)

_CHECKS = (
    (("av_sync",), "In sync", "Sound may be off"),
    (("captions_inside", "reading_speed"), "Captions readable", "Captions are fast"),
    (("loudness",), "Sound level", "Sound is very quiet or loud"),
)
"""Ids of checks that are shown as one, what they say when all went well, and when not."""

_FILES = (
    ("captions.srt", "Captions, SRT"),
    ("captions.vtt", "Captions, WebVTT"),
    ("transcript.txt", "Text, TXT"),
    ("timeline.json", "Cut list"),
)


def render_player(video: Video, job: ProcessingJob) -> None:
    """Draw the player for a finished version of a video."""
    _player(key="player", data=build_player(video, job))


def render_download(video: Video, job: ProcessingJob) -> None:
    """Draw the button that downloads a finished version, and the menu of its other files."""
    _download(key="download", data=build_download(video, job))


def build_player(video: Video, job: ProcessingJob) -> dict[str, object]:
    """Return what the player is told: addresses, lengths in milliseconds, and the facts in words."""
    result = job.result
    kind = str(result.get("captions", "soft"))
    cues = words.read_number(result, "cues")
    files = f"/api/jobs/{job.id}/files"
    return {
        "job": job.id,
        "video": f"{files}/video.mp4",
        "poster": f"{files}/poster.jpg",
        "captions": f"{files}/captions.vtt" if cues else "",
        "report": f"{files}/report.json",
        "peaks": f"{files}/peaks.json",
        "original": f"/api/videos/{video.id}/original",
        "duration_ms": words.read_number(result, "duration_ms"),
        "source_ms": words.read_number(result, "source_ms") or video.facts.duration_ms,
        "fps": _read_rate(result.get("fps")),
        "language": str(result.get("language") or ""),
        "burned": kind in ("burned", "both"),
        "silent": "There are no captions in this version." if kind == "none" else "No speech was heard.",
        "facts": build_facts(video, job),
        "checks": build_checks(result),
    }


def build_facts(video: Video, job: ProcessingJob) -> list[dict[str, str]]:
    """Return the row of facts: before and after, how much shorter, pauses cut, language."""
    result = job.result
    before = words.read_number(result, "source_ms") or video.facts.duration_ms
    after, cuts = words.read_number(result, "duration_ms"), words.read_number(result, "cuts")
    shorter = words.format_shorter(before, after)
    clocks = {"before": words.format_clock(before), "after": words.format_clock(after), "text": ""}
    facts = [clocks if shorter else {"before": "", "after": "", "text": clocks["after"]}]
    texts = (
        shorter,
        words.count(cuts, "pause", "pauses") + " cut" if cuts else "Nothing to cut",
        name_language(str(result.get("language") or "")),
    )
    return facts + [{"before": "", "after": "", "text": text} for text in texts if text]


def build_checks(result: Json) -> list[dict[str, object]]:
    """Return the ticks: several checks of the report as one, with the first sentence that did not hold."""
    found = {str(check.get("id")): check for check in _read_list(result.get("checks"))}
    if not words.read_number(result, "cues"):
        found = {name: check for name, check in found.items() if name not in ("captions_inside", "reading_speed")}
    if any(note.get("code") == "no_audio" for note in _read_list(result.get("notes"))):
        found.pop("loudness", None)
    ticks: list[dict[str, object]] = []
    for ids, good, bad in _CHECKS:
        checks = [found[name] for name in ids if name in found]
        if checks:
            failed = [check for check in checks if not check.get("ok")]
            text = str((failed or checks)[0].get("text", ""))
            ticks.append({"label": bad if failed else good, "ok": not failed, "text": text})
    return ticks


def build_download(video: Video, job: ProcessingJob) -> dict[str, object]:
    """Return the addresses of a version's files, with their sizes in words."""
    sizes = job.result.get("files")
    sizes = sizes if isinstance(sizes, Mapping) else {}
    base = f"/api/jobs/{job.id}"
    has_words = words.read_number(job.result, "cues") > 0
    files = [
        {"id": name, "label": label, "href": f"{base}/files/{name}?download=1", "note": _size(sizes.get(name))}
        for name, label in _FILES
        if has_words or name == "timeline.json"
    ]
    original = f"/api/videos/{video.id}/original?download=1"
    return {
        "href": f"{base}/files/video.mp4?download=1",
        "size": _size(sizes.get("video.mp4") or job.result.get("size_bytes")),
        "files": [
            *files,
            {"id": "zip", "label": "Everything, ZIP", "href": f"{base}/archive", "note": _size(_sum(sizes.values()))},
            {"id": "original", "label": "Original", "href": original, "note": _size(video.facts.size_bytes)},
        ],
    }


def _sum(values: Iterable[object]) -> int:
    return sum(value for value in values if isinstance(value, int))


def _size(value: object) -> str:
    return words.format_size(value) if isinstance(value, int) and value > 0 else ""


def _read_rate(value: object) -> float:
    """Return frames per second; 0 when it can't be told."""
    try:
        return float(Fraction(str(value)))
    except (ValueError, ZeroDivisionError):
        return 0.0


def _read_list(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []
