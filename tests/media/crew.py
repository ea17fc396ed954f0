"""A crew of one hand: every part is made in this process, alone in a folder of its own, from values that travelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.chunks import Chunk, parse_chunk, render_chunk
from pipeline.models import RunContext
from pipeline.options import PipelineOptions
from pipeline.recognisers import load_model
from pipeline.shares import WindowShare, parse_share, transcribe_share
from pipeline.transcribe import LoadModel
from pipeline.weights import find_weights


class LocalCrew:
    """Makes the parts of one video, the last first, and keeps what they were."""

    least_windows = 1

    def __init__(
        self,
        source: Path,
        options: PipelineOptions,
        folder: Path,
        *,
        parts: int,
        least_s: float = 1.0,
        load: LoadModel = load_model,
    ) -> None:
        self.shares: list[WindowShare] = []
        self.chunks: list[Chunk] = []
        self.least_s = least_s
        self._source, self._options, self._folder = source, replace(options, timeline=None), folder
        self._parts, self._load = parts, load

    def count_parts(self) -> int:
        """Return how many parts are wanted."""
        return self._parts

    def write_down(self, shares: Sequence[tuple[WindowShare, Path]]) -> Sequence[Path]:
        """Return the checkpoint file of each share."""
        self.shares = [parse_share(json.loads(json.dumps(share.to_json()))) for share, _ in shares]
        assert self.shares == [share for share, _ in shares]
        return [self.write_share(number, sound) for number, (_, sound) in reversed(list(enumerate(shares)))][::-1]

    def render(self, chunks: Sequence[Chunk]) -> Sequence[Path]:
        """Return the picture of each chunk."""
        self.chunks = [parse_chunk(json.loads(json.dumps(chunk.to_json()))) for chunk in chunks]
        assert self.chunks == list(chunks)
        return [self.render_chunk(number) for number in reversed(range(len(chunks)))][::-1]

    def write_share(self, number: int, sound: Path) -> Path:
        """Write one share down."""
        options = self._options
        weights = find_weights(options.model, options.model_dir)
        ctx = self._context(f"share{number}")
        return transcribe_share(
            sound, self.shares[number], weights=weights, options=options, ctx=ctx, load=self._load
        )  # fmt: skip

    def render_chunk(self, number: int) -> Path:
        """Make the picture of one chunk."""
        return render_chunk(self._source, self._options, self.chunks[number], self._context(f"chunk{number}"))

    def _context(self, name: str) -> RunContext:
        (self._folder / name).mkdir(parents=True)
        return RunContext(workdir=self._folder / name)
