"""Builds the data of the screens: once for all pictures, kept in ``build/screens`` for the next time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from playwright.sync_api import Browser

from config import PROJECT_ROOT
from jobs.models import User
from pipeline.ffmpeg import find_ffmpeg, run_ffmpeg
from tests.product import LIMITS as LIMITS_OF_TESTS
from tests.product import Product, make_product
from tests.screens import data
from tests.screens.data import MINUTE, Recording
from tests.screens.sample import process, write_talk
from tests.screens.scenes import SCENES, draw_scenes

LIMITS = replace(LIMITS_OF_TESTS, quota_bytes=8_000_000_000, quota_minutes=600)
KEPT = PROJECT_ROOT / "build" / "screens"
LESSON = "Lesson 4 – Strong openings"

WORKING = Recording(title="Lesson 5 – Clear sentences", scene="kitchen", length_ms=866_000, ago=timedelta(minutes=2))
WAITING = Recording(title="Team update, week 47", scene="update", length_ms=552_000, ago=timedelta(minutes=3))
FAILED = Recording(title="Intro, take 2", scene="intro", length_ms=192_000, ago=timedelta(minutes=9))
SOMEBODY_ELSES = Recording(title="Board meeting", scene="intro", length_ms=900_000, ago=timedelta(minutes=4))
READY = (
    Recording(title="Reading: the night train, scene 3", scene="reading", length_ms=422_000, result_ms=348_000,
              ago=timedelta(days=1), cuts=31),
    Recording(title="Weekly address, 17 November", scene="weekly", length_ms=380_000, result_ms=271_000,
              ago=timedelta(days=6), cuts=44),
    Recording(title="Climbing notes, wall B", scene="climbing", length_ms=294_000, result_ms=129_000,
              ago=timedelta(days=8), cuts=52),
    Recording(title="How the telescope unfolds", scene="telescope", length_ms=800_000, result_ms=697_000,
              ago=timedelta(days=11), cuts=40),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """The real recording, its real result, and the pictures."""

    talk: Path
    out: Path
    posters: Mapping[str, Path]


def open_studio(browser: Browser, folder: Path = KEPT) -> Studio:
    """Return everything that takes long to make; what is there already is used again."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw_scenes(browser, folder)
    posters = {name: _to_jpeg(picture) for name, picture in pictures.items()}
    talk, out = folder / "lesson-4.mp4", folder / "out"
    if not talk.exists():
        write_talk(talk, pictures["lesson"])
    if not (out / "report.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        process(talk, out)
    return Studio(talk=talk, out=out, posters=posters)


def _to_jpeg(picture: Path) -> Path:
    target = picture.with_suffix(".jpg")
    if not target.exists():
        arguments = ["-v", "error", "-y", "-i", picture.name, "-q:v", "4", target.name]
        run_ffmpeg(arguments, ffmpeg=find_ffmpeg(), cwd=picture.parent)
    return target


def fill(root: Path, studio: Studio) -> tuple[Product, User]:
    """Make the product under ``root`` as it looks on a busy morning."""
    product = make_product(root, limits=LIMITS)
    user = data.add_administrator(product)
    for recording in reversed(READY):
        _add_ready(product, user, recording, studio)
    _add_lesson(product, user, studio)
    other = data.add_person(product, "jonas", "Jonas")
    _add_under_way(product, other, SOMEBODY_ELSES, studio)
    for recording in (FAILED, WAITING, WORKING):
        _add_under_way(product, user, recording, studio)
    return product, user


def _sizes() -> dict[str, tuple[int, int]]:
    return {scene.name: scene.size for scene in SCENES}


def _add_ready(product: Product, user: User, recording: Recording, studio: Studio) -> None:
    facts = data.make_facts(recording.length_ms, _sizes()[recording.scene])
    job = data.add_video(product, user, recording, studio.talk, facts)
    changes = {"duration_ms": recording.result_ms, "source_ms": recording.length_ms, "cuts": recording.cuts}
    data.succeed(product, job, recording.ago, studio.out, changes, studio.posters[recording.scene])


def _add_lesson(product: Product, user: User, studio: Studio) -> None:
    recording = Recording(title=LESSON, scene="lesson", length_ms=0, ago=timedelta(minutes=20))
    facts = product.ports.prober.probe(studio.talk)
    job = data.add_video(product, user, recording, studio.talk, facts)
    data.succeed(product, job, recording.ago, studio.out, {}, studio.posters["lesson"])


def _add_under_way(product: Product, user: User, recording: Recording, studio: Studio) -> None:
    facts = data.make_facts(recording.length_ms, _sizes()[recording.scene], size_bytes=3 * MINUTE)
    still = studio.posters[recording.scene].with_suffix(".mp4")
    if not still.exists():
        filters = "crop=trunc(iw/2)*2:trunc(ih/2)*2"
        arguments = ["-v", "error", "-y", "-loop", "1", "-t", "3", "-i", still.with_suffix(".png").name, "-vf", filters]
        arguments += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", still.name]
        run_ffmpeg(arguments, ffmpeg=find_ffmpeg(), cwd=still.parent)
    job = data.add_video(product, user, recording, still, facts)
    if recording is WORKING:
        data.begin(product, job, stage="captions", progress=0.62, for_s=110)
    if recording is FAILED:
        sentence = "The file ends in the middle. Copy it again, then upload it."
        data.fail(product, job, timedelta(minutes=1), code="truncated", message=sentence)
