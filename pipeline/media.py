"""Opening media files in this process, safely: known containers and local files only, errors translated once."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
from av.container import InputContainer

from pipeline.errors import DiskFull, InputRefused, OutputUnwritable, ProcessingFailed, SourceGone, ToolFailed
from pipeline.remote import RangedFile

Source = Path | RangedFile
"""A file of this machine, or one that lies elsewhere."""

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpegts,mpeg,mpegvideo,flv,asf,mxf,ogg,dv,gxf,nut,h264,hevc,"
    "wav,mp3,flac,aac,aiff,w64"
)
"""Demuxers we accept. Playlists (HLS, DASH, concat, image sequences) are not among them on purpose: such a "video"
can name other files of this machine or addresses on its network."""

INPUT_OPTIONS = {"protocol_whitelist": "file,pipe", "format_whitelist": CONTAINERS}
"""The same walls for PyAV and for the ffmpeg command line."""

_REMOTE_OPTIONS = {**INPUT_OPTIONS, "protocol_whitelist": "none"}
"""What lies elsewhere is read by us alone."""
_BUFFER_BYTES = 8 << 10
"""Read ahead of what is looked at; small, because every jump throws it away."""


@contextmanager
def open_media(source: Source) -> Iterator[InputContainer]:
    """Yield the opened file. Raises `SourceGone`, or `InputRefused` when it is no media file we know."""
    try:
        if isinstance(source, RangedFile):
            container = av.open(source.open(), "r", options=dict(_REMOTE_OPTIONS), buffer_size=_BUFFER_BYTES)
        else:
            container = av.open(str(source), options=dict(INPUT_OPTIONS))
    except FileNotFoundError as error:
        raise SourceGone(detail=str(error)) from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputRefused(
            "not_media", "This is not a video we can read. Export it as MP4 and use that.", repr(error)
        ) from error
    with container:
        yield container


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """Translate what PyAV and the system raise while a file is read: it may vanish, or its disk may fail."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise explain_read_error(source, error) from error


def explain_read_error(source: Source, error: Exception) -> ProcessingFailed:
    """Return the failure a person should see when reading ``source`` ended in ``error``."""
    if isinstance(source, Path) and not source.is_file():
        return SourceGone(detail=repr(error))
    return ToolFailed(
        "The video could not be read to its end. Export it again as MP4, then try that file.", repr(error)
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Translate what the system raises while files are written into ``folder``: `DiskFull` or `OutputUnwritable`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(str(folder)) from error
        raise OutputUnwritable(str(folder), repr(error)) from error
