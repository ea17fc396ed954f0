"""Speech for tests on a bare machine: espeak-ng from the package ``espeakng-loader``, driven through ctypes.

What is spoken is known, so it is the truth that a transcript is measured against. `talk` places every word itself and
therefore knows where it starts and ends. Nothing here imports the code under test.
"""

from __future__ import annotations

import ctypes
import threading
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import espeakng_loader
import numpy as np
import numpy.typing as npt

SPEECH_RATE = 22_050
"""Samples a second of everything made here; espeak-ng's own rate."""
EDGE_DBFS = -45.0
"""Sound below this level, relative to the utterance's own peak, is trimmed from its edges."""
PEAK = 0.7
"""Peak of a finished talk, as a share of full scale."""

Samples = npt.NDArray[np.int16]

_DEFAULT_WPM = 150
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE = 1
_BUFFER_MS = 200
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


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


class _Espeak:
    """The one espeak-ng of this process. The library has global state, so calls are made one at a time."""

    def __init__(self) -> None:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        library.espeak_SetSynthCallback.argtypes = [_SYNTH_CALLBACK]
        library.espeak_SetSynthCallback.restype = None
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        library.espeak_Synchronize.argtypes = []
        data = str(Path(espeakng_loader.get_data_path()).parent).encode()
        rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data, _DONT_EXIT)
        if rate != SPEECH_RATE:
            raise RuntimeError(f"espeak-ng did not start: rate {rate}")
        self._library = library
        self._blocks: list[Samples] = []
        self._callback = _SYNTH_CALLBACK(self._collect)  # kept: ctypes frees what nobody holds
        self._lock = threading.Lock()
        library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).astype(np.int16))
        return 0  # go on

    def speak(self, text: str, voice: str, rate_wpm: int) -> Samples:
        encoded = text.encode() + b"\0"
        with self._lock:
            self._blocks.clear()
            if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            self._library.espeak_SetParameter(_PARAMETER_RATE, rate_wpm, 0)
            status = self._library.espeak_Synth(encoded, len(encoded), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
            self._library.espeak_Synchronize()
            if status != 0 or not self._blocks:
                raise RuntimeError(f"espeak-ng said nothing for {text!r} (status {status})")
            return np.concatenate(self._blocks)


@lru_cache(maxsize=1)
def _espeak() -> _Espeak:
    return _Espeak()


@lru_cache(maxsize=1024)
def speak(text: str, voice: str = "en", rate_wpm: int = _DEFAULT_WPM) -> Samples:
    """Return ``text`` spoken, mono at `SPEECH_RATE`, with the short silences that espeak-ng leaves at its edges.

    ``voice`` is an espeak-ng voice such as ``en``, ``en-us``, ``de``, ``fr``. Raises `ValueError` for an unknown one.
    The samples are read-only and remembered: the oscillators keep their phases, so a second synthesis of the same text
    sounds the same but differs in its samples.
    """
    samples = _espeak().speak(text, voice, rate_wpm)
    samples.setflags(write=False)
    return samples


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
) -> Talk:
    """Return ``words`` spoken one by one (each may be a phrase), with exact silences around them.

    ``pauses_ms`` has one more entry than ``words``: before the first, between two, after the last. The speech peaks at
    ``peak`` of full scale; ``noise_dbfs`` adds white noise of that RMS under everything, the same for one ``seed``.
    """
    if len(pauses_ms) != len(words) + 1:
        raise ValueError(f"{len(words)} words need {len(words) + 1} pauses, not {len(pauses_ms)}")
    parts: list[npt.NDArray[np.float64]] = [_silence(pauses_ms[0])]
    spoken: list[SpokenWord] = []
    position = parts[0].size
    for word, pause_ms in zip(words, pauses_ms[1:], strict=True):
        voiced = trim_edges(speak(word, voice, rate_wpm)).astype(np.float64)
        start, position = position, position + voiced.size
        spoken.append(SpokenWord(start_ms=_to_ms(start), end_ms=_to_ms(position), text=word))
        parts += [voiced, _silence(pause_ms)]
        position += parts[-1].size
    samples = np.concatenate(parts)
    loudest = float(np.abs(samples).max(initial=0.0))
    if loudest > 0:
        samples *= peak * 32767 / loudest
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
