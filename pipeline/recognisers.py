"""The engines that turn one window of sound into words. Their libraries are imported when a model is loaded."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from pipeline.ctranslate2_weights import read_alignment_heads, read_dimensions, read_variables, to_whisper_state
from pipeline.devices import choose_device, find_device
from pipeline.errors import ToolMissing
from pipeline.models import Word
from pipeline.options import SpeechEngine
from pipeline.speech import SPEECH_RATE, Pcm

logger = logging.getLogger(__name__)

BEAM = 5
_MAX_THREADS = 8
"""Whisper gains nothing from more: the decoder works on one token at a time."""
_TAIL_S = 0.4
"""What is left of a window after its last words: padding, which Whisper would only make words up for."""


class SpeechModel(Protocol):
    """A loaded recogniser. Both engines take the same weights and give the same kind of answer."""

    def detect_language(self, clips: Sequence[Pcm]) -> tuple[str, float]:
        """Return the language of the clips (at most 30 s of each are heard) and its mean probability."""
        ...

    def transcribe_window(self, pcm: Pcm, language: str, vocabulary: str, check: Callable[[], None]) -> list[Word]:
        """Return the words of at most 30 s of sound, in window time. ``check`` is called often, and may raise."""
        ...


def load_model(engine: SpeechEngine, weights: Path) -> SpeechModel:
    """Return the model of ``engine`` with the CTranslate2 ``weights``. Raises `ToolMissing`; never downloads."""
    return OpenAiWhisperModel(weights) if engine is SpeechEngine.OPENAI_WHISPER else FasterWhisperModel(weights)


def count_threads(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many threads a model should use: the cores this process may run on, at most 8.

    A container's share of the machine (cgroup v2 ``cpu.max``) counts as well: threads beyond it only wait.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text().split()
        if granted != "max":
            cores = min(cores, -(-int(granted) // int(period)))
    except (OSError, ValueError):
        pass  # no container, or not Linux
    return max(1, min(cores, _MAX_THREADS))


def pick_language(heard: Iterable[dict[str, float]]) -> tuple[str, float]:
    """Return the language with the largest sum of probabilities over clips, and its mean; empty without clips."""
    sums: Counter[str] = Counter()
    clips = 0
    for probabilities in heard:
        sums.update(probabilities)
        clips += 1
    if not sums:
        return "", 0.0
    code = max(sums, key=lambda code: sums[code])
    return code, sums[code] / clips


class FasterWhisperModel:
    """CTranslate2 through ``faster-whisper``: int8 on the CPU, float16 on a GPU that works."""

    def __init__(self, weights: Path) -> None:
        import numpy as np  # deferred, as the next: the web process must not load them
        from faster_whisper import WhisperModel

        def load(device: str, compute_type: str) -> Any:
            return WhisperModel(
                str(weights),
                device=device,
                compute_type=compute_type,
                cpu_threads=count_threads(),
                local_files_only=True,
            )

        device = find_device(SpeechEngine.FASTER_WHISPER)
        try:
            if device.name == "cuda":
                try:
                    self._model = load(device.name, device.compute_type)
                    # A driver without its libraries shows at the first computation only.
                    self._model.encode(np.zeros((self._model.feature_extractor.mel_filters.shape[0], 3000), np.float32))
                    return
                except (RuntimeError, ValueError) as error:
                    logger.warning("the GPU can't be used, transcribing on the CPU: %s", error)
                    device = choose_device(SpeechEngine.FASTER_WHISPER, gpus=0)
            self._model = load(device.name, device.compute_type)
        except (RuntimeError, ValueError, OSError) as error:
            raise _unreadable(weights, error) from error

    def detect_language(self, clips: Sequence[Pcm]) -> tuple[str, float]:
        """Return the most probable language over all clips, and its mean probability."""
        if not self._model.model.is_multilingual:
            return "en", 1.0
        return pick_language(dict(self._model.detect_language(clip)[2]) for clip in clips)

    def transcribe_window(self, pcm: Pcm, language: str, vocabulary: str, check: Callable[[], None]) -> list[Word]:
        """Return the words of one window, in window time."""
        if not self._model.model.is_multilingual:
            language = "en"
        segments, _ = self._model.transcribe(
            pcm,
            language=language,
            beam_size=BEAM,
            condition_on_previous_text=False,
            initial_prompt=vocabulary or None,
            word_timestamps=True,
            vad_filter=False,
        )
        words: list[Word] = []
        for segment in segments:
            check()
            words += (_to_word(word.start, word.end, word.word, word.probability) for word in segment.words or ())
            if segment.end > pcm.size / SPEECH_RATE - _TAIL_S:
                break
        return words


class OpenAiWhisperModel:
    """The original implementation on torch, with the same weights: a tenth of the speed, for comparison and trust.

    Its ``transcribe`` is one call that can't be interrupted, so ``check`` is asked before and after a window only.
    """

    def __init__(self, weights: Path) -> None:
        try:
            import torch  # deferred, as above: half a gigabyte
            import whisper
            from whisper.model import ModelDimensions, Whisper
        except ImportError as error:
            raise ToolMissing(
                "The engine openai-whisper needs its package. Install openai-whisper, or choose faster-whisper.",
                str(error),
            ) from error

        try:
            variables = read_variables(weights / "model.bin")
            state = {name: torch.from_numpy(array) for name, array in to_whisper_state(variables).items()}
            model = Whisper(ModelDimensions(**read_dimensions(variables)))
            model.load_state_dict(state)
            heads = read_alignment_heads(weights / "config.json")
        except (RuntimeError, ValueError, OSError) as error:
            raise _unreadable(weights, error) from error
        if heads:  # else Whisper's own default, all heads of the upper half
            mask = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
            for layer, head in heads:
                mask[layer, head] = True
            model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
        device = find_device(SpeechEngine.OPENAI_WHISPER)
        self._on_gpu = device.name == "cuda"
        torch.set_num_threads(count_threads())
        self._model = model.to(device.name).eval()
        self._whisper = whisper

    def detect_language(self, clips: Sequence[Pcm]) -> tuple[str, float]:
        """Return the most probable language over all clips, and its mean probability."""
        if not self._model.is_multilingual:
            return "en", 1.0
        return pick_language(self._hear_language(clip) for clip in clips)

    def _hear_language(self, clip: Pcm) -> dict[str, float]:
        sound = self._whisper.pad_or_trim(clip)
        mel = self._whisper.log_mel_spectrogram(sound, self._model.dims.n_mels).to(self._model.device)
        return dict(self._model.detect_language(mel)[1])

    def transcribe_window(self, pcm: Pcm, language: str, vocabulary: str, check: Callable[[], None]) -> list[Word]:
        """Return the words of one window, in window time."""
        check()
        result = self._model.transcribe(
            pcm,
            language=language if self._model.is_multilingual else "en",
            beam_size=BEAM,
            condition_on_previous_text=False,
            initial_prompt=vocabulary or None,
            word_timestamps=True,
            fp16=self._on_gpu,
        )
        check()
        return [
            _to_word(word["start"], word["end"], word["word"], word["probability"])
            for segment in result["segments"]
            for word in segment["words"]
        ]


def _to_word(start_s: float, end_s: float, text: str, probability: float) -> Word:
    start_ms = round(start_s * 1000)
    return Word(
        start_ms=start_ms,
        end_ms=max(start_ms, round(end_s * 1000)),
        text=text,
        probability=round(float(probability), 3),
    )


def _unreadable(weights: Path, error: Exception) -> ToolMissing:
    return ToolMissing(
        f"The Whisper weights in {weights} can't be read. Remove that folder, then run `make weights`.", str(error)
    )
