"""What the upload page makes of a person's choices, and what it says about limits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.models import Usage
from pipeline.burn import _LOOKS, _OUTLINE_AND_SHADOW
from pipeline.options import LANGUAGES, PACES, Captions, PipelineOptions, Style, parse_job_options
from ui.languages import LANGUAGE_NAMES, name_language
from ui.options import CAPTION_NAMES, PACE_NAMES, build_options, describe_conflict, describe_cuts, read_options
from ui.styles import LOOKS, build_data, rgba
from ui.uploader import describe_limits

HOUR_MS, MINUTE_MS, GB = 3_600_000, 60_000, 10**9


def test_every_choice_of_the_pipeline_can_be_made() -> None:
    assert set(PACE_NAMES) == set(PACES)
    assert set(CAPTION_NAMES) == set(Captions)
    assert set(LANGUAGE_NAMES) == LANGUAGES
    assert len(set(LANGUAGE_NAMES.values())) == len(LANGUAGES)
    assert (name_language("de"), name_language(None), name_language("tlh")) == ("German", "", "tlh")


def test_the_first_choices_are_the_defaults_of_the_pipeline() -> None:
    assert parse_job_options(build_options()) == PipelineOptions()


def test_choices_arrive_in_the_pipeline() -> None:
    made = build_options(
        pace="tight",
        language="de",
        captions=Captions.BOTH,
        style=Style.BOLD,
        vocabulary="  Mara,\n Kubernetes ",
        pause_s=0.45,
        before_s=0.1,
        after_s=0.25,
        threshold_db=-28,
        audio_track="2",
    )
    assert parse_job_options(made) == PipelineOptions(
        pace="tight",
        language="de",
        captions=Captions.BOTH,
        style=Style.BOLD,
        vocabulary="Mara, Kubernetes",
        min_pause_ms=450,
        margin_ms=(100, 250),
        threshold=10 ** (-28 / 20),
        audio_track=2,
    )


@pytest.mark.parametrize(("track", "expected"), [("default", None), ("mix", 0), ("1", 1)])
def test_sound_tracks(track: str, expected: int | None) -> None:
    assert parse_job_options(build_options(audio_track=track)).audio_track == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(0.5, None, (500, 450)), (None, 0.0, (350, 0)), (None, None, None)]
)
def test_one_air_alone_takes_the_other_from_the_pace(
    before: float | None, after: float | None, expected: tuple[int, int] | None
) -> None:
    made = build_options(pace="relaxed", before_s=before, after_s=after)
    assert parse_job_options(made).margin_ms == expected


@pytest.mark.parametrize("raw", [{"pace": "frantic"}, {"version": 7}, {"colour": "red"}])
def test_options_that_cannot_be_read_any_more_give_way_to_the_defaults(raw: dict[str, object]) -> None:
    assert read_options(raw) == PipelineOptions()


def test_the_sentence_below_the_pace_tells_the_numbers_in_force() -> None:
    assert describe_cuts(PipelineOptions()) == "Pauses over 0.6 s are cut, 0.2 s of air is left around speech."
    tight = describe_cuts(PipelineOptions(pace="tight"))
    assert tight == "Pauses over 0.35 s are cut, 0.1 s of air is left before speech, 0.15 s after it."
    assert "Pauses over 1.2 s" in describe_cuts(PipelineOptions(margin_ms=(500, 500)))
    assert "Pauses over 0.8 s" in describe_cuts(PipelineOptions(min_pause_ms=800))


def test_a_pause_shorter_than_the_air_is_told() -> None:
    too_short = PipelineOptions(min_pause_ms=300, margin_ms=(300, 200))
    assert describe_conflict(too_short) == "No pause shorter than the air around speech can be cut: that is 0.5 s."
    assert "Pauses over 0.5 s are cut" in describe_cuts(too_short)
    assert not describe_conflict(PipelineOptions(min_pause_ms=500, margin_ms=(300, 200)))
    assert not describe_conflict(PipelineOptions(margin_ms=(3000, 2000)))


@pytest.mark.parametrize("style", Style)
def test_the_pictures_show_what_the_pipeline_draws(style: Style) -> None:
    shown, drawn = LOOKS[style], _LOOKS[style]
    assert shown.fill == rgba(drawn.text.r, drawn.text.g, drawn.text.b, drawn.text.a)
    assert shown.shade == rgba(drawn.back.r, drawn.back.g, drawn.back.b, drawn.back.a)
    assert (shown.outline, shown.shadow) == (drawn.outline, drawn.shadow)
    assert shown.boxed is (drawn.border != _OUTLINE_AND_SHADOW)
    if shown.edge:
        assert shown.edge == rgba(drawn.edge.r, drawn.edge.g, drawn.edge.b, drawn.edge.a)
    else:
        assert drawn.outline == 0


def test_the_picker_knows_all_styles_in_their_order() -> None:
    data = build_data(Style.BOLD, None)
    assert [look["id"] for look in data["looks"]] == [style.value for style in Style]
    assert (data["chosen"], data["poster"]) == ("bold", "")


def make_usage(*, used_min: int = 0, limit_min: int = 0, stored: int = 0, limit: int = 0) -> Usage:
    return Usage(
        used_ms=used_min * MINUTE_MS,
        limit_ms=limit_min * MINUTE_MS,
        stored_bytes=stored,
        limit_bytes=limit,
        period_ends_at=datetime(2026, 12, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("most", "longest", "usage", "free", "expected"),
    [
        (10 * GB, 3 * HOUR_MS, make_usage(used_min=19, limit_min=60), None,
         "up to 10 GB or 3 hours. 41 minutes left this month."),
        (10 * GB, HOUR_MS, make_usage(used_min=59, limit_min=60), 500 * GB,
         "up to 10 GB or 1 hour. 1 minute left this month."),
        (0, 0, make_usage(), None, "MP4, MOV, MKV, AVI, WebM and others."),
        (0, 90 * MINUTE_MS, make_usage(), None, "up to 1 h 30 min."),
        (10 * GB, 0, make_usage(stored=48 * GB, limit=50 * GB), 5 * GB, "up to 10 GB. Room for 2 GB."),
        (10 * GB, 0, make_usage(), 5 * GB, "up to 10 GB. Room for 5 GB."),
    ],
)  # fmt: skip
def test_limits_in_words(most: int, longest: int, usage: Usage, free: int | None, expected: str) -> None:
    sentence = describe_limits(max_bytes=most, max_duration_ms=longest, usage=usage, free_bytes=free)
    assert sentence.startswith("MP4, MOV, MKV, AVI, WebM and others")
    assert sentence.endswith(expected)


@pytest.mark.parametrize("name", ["words.js", "transfer.js", "uploader.js"])
def test_scripts_never_take_text_for_markup(name: str) -> None:
    script = (Path(__file__).resolve().parents[2] / "ui" / "uploader" / name).read_text("utf-8")
    assert "innerHTML" not in script
    assert "insertAdjacentHTML" not in script
