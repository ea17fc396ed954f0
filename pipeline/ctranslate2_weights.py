"""CTranslate2's ``model.bin`` read as the state of an openai-whisper model, so that one set of weights serves both.

The file is little-endian: u32 version, string spec, u32 revision, u32 count; then for each variable its name, u8 rank,
u32 dimensions, u8 type, u32 bytes, data; then aliases, which are not needed. Strings are u16 length with the final NUL.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

HEAD_SIZE = 64
"""States of one attention head, in every published Whisper model."""
SPEC = "WhisperSpec"
_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_MAX_RANK = 8


class WeightsFormatError(ValueError):
    """The file is not float Whisper weights as CTranslate2 writes them."""


def read_variables(path: Path) -> dict[str, Array]:
    """Return the variables of a ``model.bin`` by name. Raises `WeightsFormatError`, `OSError`."""
    with open(path, "rb") as file:
        _read(file, "<I")
        if (spec := _read_string(file)) != SPEC:
            raise WeightsFormatError(f"{spec!r} instead of {SPEC}")
        _, count = _read(file, "<II")
        return dict(_read_variable(file) for _ in range(count))


def _read(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, _read_bytes(file, struct.calcsize(form)))


def _read_bytes(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise WeightsFormatError("the file ends early")
    return data


def _read_string(file: BinaryIO) -> str:
    (length,) = _read(file, "<H")
    return _read_bytes(file, length).rstrip(b"\0").decode("utf-8", "replace")


def _read_variable(file: BinaryIO) -> tuple[str, Array]:
    name = _read_string(file)
    (rank,) = _read(file, "<B")
    if rank > _MAX_RANK:
        raise WeightsFormatError(f"{name} has {rank} dimensions")
    shape = _read(file, f"<{rank}I")
    kind, size = _read(file, "<BI")
    if kind not in _TYPES:
        raise WeightsFormatError(f"{name} has the unknown type {kind}")
    values = np.frombuffer(_read_bytes(file, size), dtype=_TYPES[kind])
    if values.size != int(np.prod(shape, dtype=np.int64)):
        raise WeightsFormatError(f"{name} does not hold {shape} values")
    return name, values.reshape(shape)


def read_dimensions(variables: Mapping[str, Array]) -> dict[str, int]:
    """Return the arguments of ``whisper.model.ModelDimensions``. Raises `WeightsFormatError`."""
    try:
        n_vocab, n_state = variables["decoder/embeddings/weight"].shape
        return {
            "n_mels": variables["encoder/conv1/weight"].shape[1],
            "n_audio_ctx": variables["encoder/position_encodings/encodings"].shape[0],
            "n_audio_state": variables["encoder/conv1/weight"].shape[0],
            "n_audio_head": variables["encoder/conv1/weight"].shape[0] // HEAD_SIZE,
            "n_audio_layer": _count_layers(variables, "encoder"),
            "n_vocab": n_vocab,
            "n_text_ctx": variables["decoder/position_encodings/encodings"].shape[0],
            "n_text_state": n_state,
            "n_text_head": n_state // HEAD_SIZE,
            "n_text_layer": _count_layers(variables, "decoder"),
        }
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsFormatError(f"no Whisper dimensions: {error}") from error


def _count_layers(variables: Mapping[str, Array], side: str) -> int:
    return len({name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_") and name.count("/") > 2})


def to_whisper_state(variables: Mapping[str, Array]) -> dict[str, npt.NDArray[np.float32]]:
    """Return openai-whisper's parameters by its names, in float32. Raises `WeightsFormatError` for quantised ones."""
    try:
        parts = dict(_translate(variables))
    except (KeyError, ValueError) as error:
        raise WeightsFormatError(f"not the parameters of Whisper: {error}") from error
    if any(array.dtype.kind != "f" for array in parts.values()):
        raise WeightsFormatError("quantised weights: only float32 and float16 can be read")
    return {name: array.astype(np.float32) for name, array in parts.items()}


def _translate(variables: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    yield "decoder.token_embedding.weight", variables["decoder/embeddings/weight"]
    for conv in ("conv1", "conv2"):
        yield from _affine(variables, f"encoder/{conv}", f"encoder.{conv}")
    for side, final in (("encoder", "ln_post"), ("decoder", "ln")):
        yield f"{side}.positional_embedding", variables[f"{side}/position_encodings/encodings"]
        yield from _norm(variables, f"{side}/layer_norm", f"{side}.{final}")
        for layer in range(_count_layers(variables, side)):
            theirs, ours = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            # linear_0 stacks query, key and value; Whisper has no bias for keys (here it is zero).
            yield from _attention(variables, f"{theirs}/self_attention", f"{ours}.attn", (("query", "key", "value"),))
            yield from _norm(variables, f"{theirs}/self_attention/layer_norm", f"{ours}.attn_ln")
            if side == "decoder":
                stacks = (("query",), ("key", "value"))
                yield from _attention(variables, f"{theirs}/attention", f"{ours}.cross_attn", stacks)
                yield from _norm(variables, f"{theirs}/attention/layer_norm", f"{ours}.cross_attn_ln")
            yield from _affine(variables, f"{theirs}/ffn/linear_0", f"{ours}.mlp.0")
            yield from _affine(variables, f"{theirs}/ffn/linear_1", f"{ours}.mlp.2")
            yield from _norm(variables, f"{theirs}/ffn/layer_norm", f"{ours}.mlp_ln")


def _attention(
    variables: Mapping[str, Array], theirs: str, ours: str, stacks: tuple[tuple[str, ...], ...]
) -> Iterator[tuple[str, Array]]:
    for index, names in enumerate(stacks):
        weights = np.split(variables[f"{theirs}/linear_{index}/weight"], len(names))
        biases = np.split(variables[f"{theirs}/linear_{index}/bias"], len(names))
        for name, weight, bias in zip(names, weights, biases, strict=True):
            yield f"{ours}.{name}.weight", weight
            if name != "key":
                yield f"{ours}.{name}.bias", bias
    yield from _affine(variables, f"{theirs}/linear_{len(stacks)}", f"{ours}.out")


def _affine(variables: Mapping[str, Array], theirs: str, ours: str) -> Iterator[tuple[str, Array]]:
    yield f"{ours}.weight", variables[f"{theirs}/weight"]
    yield f"{ours}.bias", variables[f"{theirs}/bias"]


def _norm(variables: Mapping[str, Array], theirs: str, ours: str) -> Iterator[tuple[str, Array]]:
    yield f"{ours}.weight", variables[f"{theirs}/gamma"]
    yield f"{ours}.bias", variables[f"{theirs}/beta"]


def read_alignment_heads(config: Path) -> list[tuple[int, int]]:
    """Return layer and head of the attention that follows the sound, from CTranslate2's ``config.json``.

    Empty when the file names none. Raises `WeightsFormatError`, `OSError`.
    """
    try:
        heads = json.loads(config.read_text(encoding="utf-8")).get("alignment_heads") or []
        return [(int(layer), int(head)) for layer, head in heads]
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsFormatError(f"{config.name} can't be read: {error}") from error
