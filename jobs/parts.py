"""A part of a long video: what it is, as a small file in the store says it, and how any machine makes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.chunks import Chunk, parse_chunk, render_chunk
from pipeline.join import is_whole as is_picture
from pipeline.models import RunContext
from pipeline.options import PipelineOptions
from pipeline.shares import WindowShare, is_written, parse_share, transcribe_share
from pipeline.weights import find_weights

PART_VERSION = 1
MAX_SPEC_BYTES = 50_000_000
"""A chunk says every cut and caption that it has; hours of them are some megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some windows of the speech, or a stretch of the picture."""

    work: WindowShare | Chunk
    engine: str
    """What hears speech where the video is being made; a part of it is no use from another."""
    model: str

    @property
    def name(self) -> str:
        """What the part is, by its content: the same part of another attempt has the same name."""
        kind = "speech" if isinstance(self.work, WindowShare) else "picture"
        return f"{kind}-{hashlib.sha256(self.to_bytes()).hexdigest()}"

    @property
    def spec_name(self) -> str:
        """Name of the file that says what the part is."""
        return f"{self.name}.json"

    @property
    def sound_name(self) -> str | None:
        """Name of the file with what has to be heard for it; None for a part of the picture, which takes the source."""
        return f"{self.name}.s16" if isinstance(self.work, WindowShare) else None

    @property
    def result_name(self) -> str:
        """Name of the file that the part comes to."""
        return f"{self.name}.jsonl" if isinstance(self.work, WindowShare) else f"{self.name}.mp4"

    @property
    def weight(self) -> int:
        """How much work it is, beside other parts of the same step."""
        return len(self.work.windows) if isinstance(self.work, WindowShare) else self.work.frames

    def fits(self, options: PipelineOptions) -> bool:
        """Tell whether a machine with ``options`` makes of it what the others make."""
        return isinstance(self.work, Chunk) or (self.engine, self.model) == name_engine(options)

    def to_bytes(self) -> bytes:
        """Return what `parse_part` reads."""
        document: dict[str, object] = {"version": PART_VERSION, "engine": self.engine, "model": self.model}
        document["speech" if isinstance(self.work, WindowShare) else "picture"] = self.work.to_json()
        return json.dumps(document, sort_keys=True).encode()


def is_whole(part: Part, path: Path) -> bool:
    """Tell whether a file is all that ``part`` comes to."""
    if isinstance(part.work, WindowShare):
        return is_written(part.work, path)
    return is_picture(path, part.work.frames, part.work.timeline.timebase)


def describe_part(work: WindowShare | Chunk, options: PipelineOptions) -> Part:
    """Return a part of a video that is being made with ``options``."""
    engine, model = name_engine(options)
    return Part(work=work, engine=engine, model=model)


def name_engine(options: PipelineOptions) -> tuple[str, str]:
    """Return what hears speech with ``options``, wherever its weights lie."""
    return options.speech_engine.value, Path(options.model).name


def parse_part(data: bytes) -> Part:
    """Return the part that `Part.to_bytes` wrote. Raises `ValueError` for anything else."""
    match json.loads(data):
        case {"version": 1, "engine": str(engine), "model": str(model), "speech": dict(share)}:
            return Part(work=parse_share(share), engine=engine, model=model)
        case {"version": 1, "engine": str(engine), "model": str(model), "picture": dict(chunk)}:
            return Part(work=parse_chunk(chunk), engine=engine, model=model)
    raise ValueError(f"no part of version {PART_VERSION}")


def make_part(part: Part, options: PipelineOptions, ctx: RunContext, bring: Callable[[], Path]) -> Path:
    """Return the file that ``part`` comes to, inside ``ctx.workdir``.

    ``bring`` returns the sound of a part of the speech, the source for one of the picture. Raises what it and
    `run.run_pipeline` raise.
    """
    if isinstance(part.work, Chunk):
        return render_chunk(bring(), options, part.work, ctx)
    weights = find_weights(options.model, options.model_dir)
    return transcribe_share(bring(), part.work, weights=weights, options=options, ctx=ctx)
