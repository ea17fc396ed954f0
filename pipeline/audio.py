"""Sound, decoded once: every track as 16-bit samples at its own rate in a scratch file, aligned to t = 0.

t = 0 is the first video frame. Sound before it is dropped, missing sound is silence. The same pass writes the 16 kHz
mono that speech recognition wants. Scratch files are read in blocks: pages of a memory map would count as resident.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import av.error
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from pipeline.media import open_media, reading, writing
from pipeline.models import AudioStream, RunContext, Stage
from pipeline.timeline import round_half_up

logger = logging.getLogger(__name__)

SPEECH_RATE = 16_000
BLOCK_SAMPLES = 1 << 18
_CONTIGUOUS_S = Fraction(20, 1000)
"""Time stamps jitter; within this a frame continues the one before, beyond it there is a gap or an overlap."""
_DEFAULT_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One decoded sound track: interleaved s16le samples, sample 0 at t = 0."""

    path: Path
    rate: int
    channels: int
    layout: str
    samples: int
    """Samples a channel."""

    @property
    def seconds(self) -> Fraction:
        """Length from t = 0."""
        return Fraction(self.samples, self.rate)

    def read(self, start: int, stop: int) -> Iterator[Samples]:
        """Yield samples ``start`` to ``stop`` as blocks of shape (n, channels); silence where the track has none."""
        width = 2 * self.channels
        with self.path.open("rb", buffering=0) as file:
            at = start
            while at < stop:
                count = min(BLOCK_SAMPLES, stop - at)
                block = np.zeros((count, self.channels), dtype=np.int16)
                if at < self.samples:
                    file.seek(at * width)
                    got = file.readinto(block.data.cast("B")[: min(count, self.samples - at) * width])
                    assert got is not None
                yield block
                at += count


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """All sound of a source."""

    tracks: tuple[Track, ...]
    delivered: tuple[Track, ...]
    """The tracks that go into the result: one, all of them when mixed, none when there is no sound."""
    speech: Path | None
    """The delivered sound as 16 kHz mono s16le; None when there is none."""
    speech_samples: int

    @property
    def seconds(self) -> Fraction:
        """Length of the longest track."""
        return max((track.seconds for track in self.tracks), default=Fraction(0))


def choose_tracks(streams: Sequence[AudioStream], audio_track: int | None) -> tuple[int, ...]:
    """Return the positions of the tracks to deliver: the file's default (None), all (0), or one counted from 1.

    A number past the last track falls back to the default; `run` says so in a note.
    """
    if not streams:
        return ()
    if audio_track == 0:
        return tuple(range(len(streams)))
    if audio_track is not None and audio_track <= len(streams):
        return (audio_track - 1,)
    return (next((i for i, stream in enumerate(streams) if stream.is_default), 0),)


def decode_audio(
    source: Path,
    streams: Sequence[AudioStream],
    *,
    origin: Fraction,
    duration_ms: int,
    delivered: Sequence[int],
    ctx: RunContext,
) -> Sound:
    """Decode all ``streams`` in one pass into ``ctx.workdir`` and return them.

    ``origin`` is t = 0 in container seconds, ``delivered`` the positions of the streams to hear. Packets that do not
    decode leave silence of their length. Raises what `media.reading` and `media.writing` translate to.
    """
    if not streams:
        return Sound(tracks=(), delivered=(), speech=None, speech_samples=0)
    folder = ctx.workdir
    with ExitStack() as stack:
        stack.enter_context(writing(folder))
        writers = {}
        for position, stream in enumerate(streams):
            raw = stack.enter_context((folder / f"track{position}.s16").open("wb"))
            speech = (
                stack.enter_context((folder / f"speech{position}.s16").open("wb")) if position in delivered else None
            )
            writers[stream.index] = _TrackWriter(raw, speech, origin, limit_s=duration_ms / 1000 + 60)
        with open_media(source) as container, reading(source):
            chosen = [container.streams[stream.index] for stream in streams]
            broken = 0
            for count, packet in enumerate(container.demux(chosen)):
                if count % 200 == 0:
                    ctx.check_cancelled()
                    if packet.pts is not None and duration_ms > 0:
                        done = (packet.pts * packet.time_base - origin) * 1000 / duration_ms
                        ctx.report(Stage.AUDIO, float(done))
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    broken += 1
                    continue
                for frame in frames:
                    if isinstance(frame, AudioFrame):
                        writers[packet.stream.index].add(frame, _end_of(packet))
            if broken:
                logger.warning("%d sound packets of %s did not decode and are silent", broken, source.name)
        for writer in writers.values():
            writer.finish()
    tracks = tuple(
        writers[stream.index].describe(folder / f"track{position}.s16", stream)
        for position, stream in enumerate(streams)
    )
    with writing(folder):
        speech_path, speech_samples = _mix_speech(folder, delivered)
    ctx.report(Stage.AUDIO, 1.0)
    return Sound(
        tracks=tracks,
        delivered=tuple(tracks[position] for position in delivered),
        speech=speech_path,
        speech_samples=speech_samples,
    )


def _end_of(packet: Packet[Stream]) -> Fraction | None:
    if packet.pts is None or not packet.duration or packet.time_base is None:
        return None
    return (packet.pts + packet.duration) * packet.time_base


class _TrackWriter:
    """Turns the frames of one track into aligned samples, a second at a time."""

    def __init__(self, raw: IO[bytes], speech: IO[bytes] | None, origin: Fraction, limit_s: float) -> None:
        self._raw = raw
        self._speech = speech
        self._origin = origin
        self._limit_s = limit_s
        self._rate = 0
        self._layout = ""
        self._channels = 0
        self._key: tuple[str, str, int] | None = None
        self._fifo = AudioFifo()
        self._to_s16: AudioResampler | None = None
        self._to_speech: AudioResampler | None = None
        self._written = 0  # samples in the file or on their way there
        self._end: Fraction | None = None
        self._last_length = 0

    def add(self, frame: AudioFrame, end: Fraction | None) -> None:
        """Append one decoded frame at its presentation time; ``end`` is when its packet says it ends."""
        if self._rate == 0:
            self._rate = frame.sample_rate
            self._channels = len(frame.layout.channels)
            self._layout = _DEFAULT_LAYOUTS.get(self._channels, frame.layout.name)
            self._to_speech = AudioResampler(format="s16", layout="mono", rate=SPEECH_RATE)
        position = self._written
        if frame.pts is not None and frame.time_base is not None:
            time = frame.pts * frame.time_base - self._origin
            position = round_half_up(time * self._rate)
        if float(position) / self._rate > self._limit_s:
            return  # a broken time stamp far past the end
        skip = 0
        if abs(position - self._written) > _CONTIGUOUS_S * self._rate or (self._written == 0 and position != 0):
            if position > self._written:
                self._flush()
                self._write_silence(position - self._written)
            else:
                skip = self._written - position
        length = round_half_up(Fraction(frame.samples * self._rate, frame.sample_rate))
        if skip >= length:
            return
        self._end, self._last_length = end, length
        key = (frame.format.name, frame.layout.name, frame.sample_rate)
        if key != self._key:
            self._flush()
            self._finish_conversion()
            self._key, self._fifo = key, AudioFifo()
            self._to_s16 = AudioResampler(format="s16", layout=self._layout, rate=self._rate)
        if skip:
            self._flush()
            self._write(self._convert(frame)[skip:])
            return
        frame.pts = None
        self._fifo.write(frame)
        self._written += length
        if self._fifo.samples >= frame.sample_rate:
            self._flush()

    def _flush(self) -> None:
        """Write what the fifo holds. Its length was counted when it came in; the count is made exact here."""
        if self._key is None or self._fifo.samples == 0:
            return
        expected = round_half_up(Fraction(self._fifo.samples * self._rate, self._key[2]))
        frame = self._fifo.read(self._fifo.samples)
        if frame is not None:
            self._written -= expected
            self._write(self._convert(frame))

    def _convert(self, frame: AudioFrame | None) -> Samples:
        if self._to_s16 is None:
            return np.zeros((0, self._channels), np.int16)
        if frame is not None:
            frame.pts = None
        parts = [part.to_ndarray().reshape(-1, self._channels) for part in self._to_s16.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros((0, self._channels), np.int16)

    def _finish_conversion(self) -> None:
        """Collect what a rate conversion still holds back (only after a track changed its rate midway)."""
        if self._to_s16 is not None:
            self._write(self._convert(None))

    def _write_silence(self, count: int) -> None:
        while count > 0:
            block = min(count, BLOCK_SAMPLES)
            self._write(np.zeros((block, self._channels), np.int16))
            count -= block

    def _write(self, samples: Samples) -> None:
        if len(samples) == 0:
            return
        self._raw.write(np.ascontiguousarray(samples).data)
        self._written += len(samples)
        if self._speech is not None and self._to_speech is not None:
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), "s16", self._layout)
            frame.sample_rate = self._rate
            self._write_speech(self._to_speech.resample(frame))

    def _write_speech(self, frames: Sequence[AudioFrame]) -> None:
        assert self._speech is not None
        for frame in frames:
            self._speech.write(np.ascontiguousarray(frame.to_ndarray()).data)

    def finish(self) -> None:
        """Write what is still on its way."""
        self._flush()
        self._finish_conversion()
        if self._speech is not None and self._to_speech is not None and self._written:
            self._write_speech(self._to_speech.resample(None))
        if self._end is not None:
            end = round_half_up((self._end - self._origin) * self._rate)
            if 0 < self._written - end < self._last_length:  # what fills up a codec's last packet is no sound
                self._written = end
                self._raw.truncate(end * 2 * self._channels)

    def describe(self, path: Path, stream: AudioStream) -> Track:
        """Return the finished track; one that never decoded is an empty track of the announced shape."""
        return Track(
            path=path,
            rate=self._rate or stream.sample_rate,
            channels=self._channels or stream.channels,
            layout=self._layout or _DEFAULT_LAYOUTS.get(stream.channels, stream.layout),
            samples=self._written,
        )


def _mix_speech(folder: Path, delivered: Sequence[int]) -> tuple[Path | None, int]:
    """Return the speech file of the delivered tracks and its samples; several are summed and clipped."""
    if not delivered:
        return None, 0
    paths = [folder / f"speech{position}.s16" for position in delivered]
    if len(paths) > 1:
        mixed = folder / "speech-mix.s16"
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in paths]
            target = stack.enter_context(mixed.open("wb"))
            while blocks := [np.frombuffer(block, np.int16) for file in files if (block := file.read(1 << 20))]:
                total = np.zeros(max(len(block) for block in blocks), np.int32)
                for part in blocks:
                    total[: len(part)] += part
                target.write(np.clip(total, -32768, 32767).astype(np.int16).data)
        for path in paths:
            path.unlink()
        paths = [mixed]
    return paths[0], paths[0].stat().st_size // 2
