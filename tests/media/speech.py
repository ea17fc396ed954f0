"""Speech for tests on a bare machine, spoken by espeak-ng.

What is spoken is known, so it is the truth that a transcript is measured against. `talk` places every word itself and
therefore knows where it starts and ends.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.espeak import VOICE_RATE, Samples, speak

SPEECH_RATE = VOICE_RATE
"""Samples a second of everything made here."""
EDGE_DBFS = -45.0
"""Sound below this level, relative to the utterance's own peak, is trimmed from its edges."""
PEAK = 0.7
"""Peak of a finished talk, as a share of full scale."""

_DEFAULT_WPM = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """One utterance of a talk and where it really sounds."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Samples at `SPEECH_RATE`, and the truth about them."""

    samples: Samples
    words: tuple[SpokenWord, ...]

    @property
    def text(self) -> str:
        """The running text."""
        return " ".join(word.text for word in self.words)

    @property
    def duration_ms(self) -> int:
        """Length of the samples."""
        return round(self.samples.size * 1000 / SPEECH_RATE)


def trim_edges(samples: Samples, edge_dbfs: float = EDGE_DBFS) -> Samples:
    """Return ``samples`` without the edges that stay below ``edge_dbfs``, relative to their own peak."""
    level = np.abs(samples.astype(np.int32))
    loud = np.flatnonzero(level > level.max(initial=0) * 10 ** (edge_dbfs / 20))
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples[:0]


def talk(
    words: Sequence[str],
    pauses_ms: Sequence[int],
    noise_dbfs: float | None = None,
    seed: int = 0,
    *,
    voice: str = "en",
    rate_wpm: int = _DEFAULT_WPM,
    peak: float = PEAK,
    edge_dbfs: float = EDGE_DBFS,
) -> Talk:
    """Return ``words`` spoken one by one (each may be a phrase), with exact silences around them.

    ``pauses_ms`` has one more entry than ``words``: before the first, between two, after the last. Each utterance
    peaks at ``peak`` of full scale and is trimmed to ``edge_dbfs`` below its own peak; ``noise_dbfs`` adds white
    noise of that RMS under everything, the same for one ``seed``.
    """
    if len(pauses_ms) != len(words) + 1:
        raise ValueError(f"{len(words)} words need {len(words) + 1} pauses, not {len(pauses_ms)}")
    parts: list[npt.NDArray[np.float64]] = [_silence(pauses_ms[0])]
    spoken: list[SpokenWord] = []
    position = parts[0].size
    for word, pause_ms in zip(words, pauses_ms[1:], strict=True):
        voiced = trim_edges(speak(word, voice, rate_wpm), edge_dbfs).astype(np.float64)
        voiced *= peak * 32767 / np.abs(voiced).max()
        start, position = position, position + voiced.size
        spoken.append(SpokenWord(start_ms=_to_ms(start), end_ms=_to_ms(position), text=word))
        parts += [voiced, _silence(pause_ms)]
        position += parts[-1].size
    samples = np.concatenate(parts)
    if noise_dbfs is not None:
        samples += noise(samples.size, noise_dbfs, seed)
    return Talk(samples=np.clip(np.rint(samples), -32768, 32767).astype(np.int16), words=tuple(spoken))


def noise(count: int, dbfs: float, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return ``count`` samples of white noise with an RMS of ``dbfs``, in units of 16-bit samples."""
    return np.random.default_rng(seed).normal(0.0, 32767 * 10 ** (dbfs / 20), count)


def _silence(length_ms: int) -> npt.NDArray[np.float64]:
    return np.zeros(round(length_ms * SPEECH_RATE / 1000))


def _to_ms(samples: int) -> int:
    return round(samples * 1000 / SPEECH_RATE)


def resample(samples: Samples, rate: int, source_rate: int = SPEECH_RATE) -> Samples:
    """Return ``samples`` at ``rate``, without aliases: frequencies that do not fit are cut off in the spectrum.

    The whole signal is transformed at once, so this is for minutes, not hours.
    """
    count = round(samples.size * rate / source_rate)
    if samples.size == 0 or rate == source_rate:
        return samples
    spectrum = np.fft.rfft(samples.astype(np.float64))
    changed = np.fft.irfft(spectrum[: count // 2 + 1], count) * (count / samples.size)
    return np.clip(np.rint(changed), -32768, 32767).astype(np.int16)


def write_wav(path: Path, samples: Samples, rate: int = SPEECH_RATE) -> Path:
    """Write mono 16-bit ``samples`` to ``path`` and return it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path
