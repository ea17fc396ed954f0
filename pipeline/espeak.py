"""A voice for the sample talk and for tests: espeak-ng from the package ``espeakng-loader``, driven through ctypes."""

from __future__ import annotations

import _ctypes
import ctypes
import threading
from functools import lru_cache
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

VOICE_RATE = 22_050
"""Samples a second of everything spoken here; espeak-ng's own rate."""

Samples = NDArray[np.int16]

_DEFAULT_WPM = 150
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE = 1
_BUFFER_MS = 200
_lock = threading.Lock()
"""The library has global state, so there is one at a time."""
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Espeak:
    """An espeak-ng that was just loaded and has said nothing yet.

    Its oscillators go on from where the utterance before left them, whatever the library's own reset does: loaded anew
    for each, what is spoken depends on nothing that was spoken before. That takes some milliseconds.
    """

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
        if rate != VOICE_RATE:
            raise RuntimeError(f"espeak-ng did not start: rate {rate}")
        self._library = library
        self._blocks: list[Samples] = []
        self._callback = _SYNTH_CALLBACK(self._collect)  # kept: ctypes frees what nobody holds
        library.espeak_SetSynthCallback(self._callback)

    def close(self) -> None:
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).astype(np.int16))
        return 0  # go on

    def speak(self, text: str, voice: str, rate_wpm: int) -> Samples:
        encoded = text.encode() + b"\0"
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        self._library.espeak_SetParameter(_PARAMETER_RATE, rate_wpm, 0)
        status = self._library.espeak_Synth(encoded, len(encoded), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        if status != 0 or not self._blocks:
            raise RuntimeError(f"espeak-ng said nothing for {text!r} (status {status})")
        return np.concatenate(self._blocks)


@lru_cache(maxsize=1024)
def speak(text: str, voice: str = "en", rate_wpm: int = _DEFAULT_WPM) -> Samples:
    """Return ``text`` spoken, mono at `VOICE_RATE`, with the short silences that espeak-ng leaves at its edges.

    ``voice`` is an espeak-ng voice such as ``en``, ``en-us``, ``de``, ``fr``. Raises `ValueError` for an unknown one.
    The samples are read-only, remembered, and the same wherever and whenever they are made.
    """
    with _lock:
        espeak = _Espeak()
        try:
            samples = espeak.speak(text, voice, rate_wpm)
        finally:
            espeak.close()
    samples.setflags(write=False)
    return samples
