"""A talk to try the pipeline on when there is no recording at hand: ``python -m pipeline.sample talk.mp4``.

A synthetic voice over a moving picture, with the pauses and the room noise of a real recording.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import ffmpeg
import numpy as np

from config import SettingsError, load_settings
from pipeline.errors import PipelineError
from pipeline.espeak import VOICE_RATE, Samples, speak
from pipeline.ffmpeg import Feed, find_ffmpeg, run_ffmpeg

TALK = (
    ("Welcome to Mini Video Factory.", 1.6),
    ("This is a sample talk, spoken by a machine.", 2.4),
    ("Between the sentences there are pauses, as in every raw recording.", 1.2),
    ("Some are short.", 0.5),
    ("And some are much too long.", 4.0),
    ("When you watch the result, the long pauses are gone, and every word is still there.", 2.0),
    ("The captions follow the cut. They were written down from the sound alone.", 1.8),
    ("Now try it with a recording of your own.", 1.5),
)
"""Sentences and the seconds of silence after each."""
_DRAWN, _SHOWN, _RATE = "320x180", (1280, 720), 30
"""Smooth colours look the same drawn small and enlarged, and take a tenth of the time."""
_NOISE_DBFS = -56.0


def build_talk() -> Samples:
    """Return the talk as mono samples at `VOICE_RATE`: a second of silence, the sentences, a little noise under all."""
    parts: list[Samples] = [np.zeros(VOICE_RATE, np.int16)]
    for sentence, pause_s in TALK:
        parts += [speak(sentence), np.zeros(round(pause_s * VOICE_RATE), np.int16)]
    samples = np.concatenate(parts).astype(np.float64)
    noise = np.random.default_rng(0).normal(0, 32767 * 10 ** (_NOISE_DBFS / 20), len(samples))
    return np.asarray(np.clip(np.rint(samples + noise), -32768, 32767), dtype=np.int16)


def write_sample(target: Path, ffmpeg_binary: Path) -> None:
    """Write the sample talk to ``target`` as MP4. Raises what `run_ffmpeg` raises."""
    samples = build_talk()
    seconds = len(samples) / VOICE_RATE
    picture = ffmpeg.input(
        f"gradients=size={_DRAWN}:rate={_RATE}:speed=0.02:c0=0x1d2b53:c1=0x7e2553:nb_colors=2:seed=7",
        f="lavfi",
        t=seconds,
    )
    sound = ffmpeg.input("voice", f="s16le", ar=VOICE_RATE, ch_layout="mono")
    partial = target.with_name(f".{target.name}.part")
    output = ffmpeg.output(
        picture.filter("scale", *_SHOWN), sound, str(partial.resolve()),
        **{"c:v": "libx264", "preset": "veryfast", "pix_fmt": "yuv420p", "c:a": "aac", "b:a": "128k", "f": "mp4"},
    )  # fmt: skip
    try:
        run_ffmpeg(
            ["-v", "warning", "-y", *ffmpeg.get_args(output)],
            ffmpeg=ffmpeg_binary,
            cwd=target.parent.resolve(),
            feeds=[Feed(placeholder="voice", blocks=lambda: [samples.tobytes()])],
        )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sample talk to the file that is named and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1:
        print("Usage: python -m pipeline.sample TALK.mp4", file=sys.stderr)
        return 2
    target = Path(arguments[0])
    try:
        write_sample(target, find_ffmpeg(load_settings().ffmpeg_binary))
    except PipelineError as error:
        print(error.message, file=sys.stderr)
        return error.exit_status
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Made a sample talk: {target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
