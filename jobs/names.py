"""What a file's name tells: whether it can be a video, and what to call that."""

from __future__ import annotations

import unicodedata

from jobs.errors import Refused

MAX_NAME_CHARS, MAX_TITLE_CHARS = 255, 200

_NO_VIDEO = frozenset(
    """
    pdf txt md csv doc docx odt ppt pptx xls xlsx zip rar 7z gz tar jpg jpeg png gif heic webp svg tif tiff bmp psd
    html htm srt vtt json xml mp3 wav flac aac m4a opus exe dmg iso
    """.split()  # noqa: SIM905 - a list of forty strings is harder to read
)
"""Endings of files that are certainly none of ours; everything else is judged by what is in it."""


def clean_name(name: str) -> str:
    """Return a file's name without folders and control characters. Raises `Refused` when it names no video."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(char for char in unicodedata.normalize("NFC", last) if char.isprintable()).strip()
    stem, dot, extension = shown.rpartition(".")
    if dot and extension.lower() in _NO_VIDEO:
        raise Refused("not_media", "This is not a video. Choose an MP4, MOV, AVI, MKV or WebM file.")
    if len(shown) > MAX_NAME_CHARS:
        shown = f"{stem[: MAX_NAME_CHARS - len(extension) - 1]}.{extension}"[:MAX_NAME_CHARS]
    return shown or "Video"


def make_title(name: str) -> str:
    """Return a title for a file: its name without extension, words apart."""
    stem, dot, extension = name.rpartition(".")
    if not (dot and stem.strip(" .") and len(extension) <= 5 and extension.isalnum()):
        stem = name
    words = stem.replace("_", " ").split()
    title = " ".join(words)
    if len(words) == 1 and title.count("-") > 1 and not any(char.isdigit() for char in title):
        title = title.replace("-", " ")
    return title.strip(" .")[:MAX_TITLE_CHARS].strip() or "Video"
