"""How a video should come back: the choices of the upload page and of "process again", and the record they make."""

from __future__ import annotations

import math
from collections.abc import Mapping

import streamlit as st

from jobs.models import Json
from pipeline.options import (
    DEFAULT_PACE,
    MAX_VOCABULARY_CHARS,
    OPTIONS_VERSION,
    PACES,
    Captions,
    OptionError,
    PipelineOptions,
    Style,
    parse_job_options,
)
from ui.languages import LANGUAGE_NAMES
from ui.styles import pick_style

PACE_NAMES: Mapping[str, str] = {"relaxed": "Relaxed", "natural": "Natural", "tight": "Tight"}
CAPTION_NAMES: Mapping[Captions, str] = {
    Captions.SOFT: "In the player",
    Captions.BURNED: "Burned in",
    Captions.BOTH: "Both",
    Captions.NONE: "None",
}
_LISTEN = "Find out by listening"
_LANGUAGES = ("", *sorted(LANGUAGE_NAMES, key=lambda code: LANGUAGE_NAMES[code]))
_TRACKS = {"default": "The file's default", "mix": "All tracks mixed", **{str(n): f"Track {n}" for n in range(1, 9)}}
_QUIETEST_DB = -90.0


def read_options(raw: Json) -> PipelineOptions:
    """Return remembered job options; the defaults when they can't be read any more."""
    try:
        return parse_job_options(raw)
    except OptionError:
        return PipelineOptions()


def build_options(
    *,
    pace: str = DEFAULT_PACE,
    language: str = "",
    captions: Captions = Captions.SOFT,
    style: Style = Style.CLEAN,
    vocabulary: str = "",
    pause_s: float | None = None,
    before_s: float | None = None,
    after_s: float | None = None,
    threshold_db: float | None = None,
    audio_track: str = "default",
) -> dict[str, object]:
    """Return the job options of some choices, as `pipeline.options.parse_job_options` takes them.

    None takes the pace's own number; one air without the other takes the other from the pace. No language is found by
    listening; a sound track is ``default``, ``mix`` or its number.
    """
    margin: list[int] | None = None
    if before_s is not None or after_s is not None:
        own = PACES[pace].margin_ms
        margin = [own[0] if before_s is None else _ms(before_s), own[1] if after_s is None else _ms(after_s)]
    return {
        "version": OPTIONS_VERSION,
        "pace": pace,
        "threshold": None if threshold_db is None else f"{threshold_db:g}dB",
        "margin_ms": margin,
        "min_pause_ms": None if pause_s is None else _ms(pause_s),
        "language": language or "auto",
        "vocabulary": " ".join(vocabulary.split()),
        "captions": captions.value,
        "style": style.value,
        "audio_track": int(audio_track) if audio_track.isdecimal() else audio_track,
    }


def describe_cuts(options: PipelineOptions) -> str:
    """Return what is cut, in the numbers that are in force."""
    before, after = options.effective_margin_ms
    cut = f"Pauses over {_seconds(options.min_cut_ms + before + after)} s are cut"
    if before == after:
        return f"{cut}, {_seconds(before)} s of air is left around speech."
    return f"{cut}, {_seconds(before)} s of air is left before speech, {_seconds(after)} s after it."


def describe_conflict(options: PipelineOptions) -> str:
    """Return the sentence about a shortest pause that the air around speech makes longer; empty when it does not."""
    air = sum(options.effective_margin_ms)
    if options.min_pause_ms is None or options.min_pause_ms >= air:
        return ""
    return f"No pause shorter than the air around speech can be cut: that is {_seconds(air)} s."


def render_options(key: str, initial: Json, *, compact: bool = False, poster: str | None = None) -> dict[str, object]:
    """Draw the choices and return them as job options; ``initial`` counts when they are first drawn.

    ``compact`` puts everything below each other, for a dialog. ``poster`` is the address of a picture of the person's
    own that the caption styles are shown on.
    """
    start = read_options(initial)
    beside = [1] if compact else [1.26, 1]
    first = st.columns(beside, gap="medium")
    with first[0]:
        pace = st.segmented_control(
            "Pace",
            tuple(PACE_NAMES),
            default=start.pace,
            format_func=lambda value: PACE_NAMES[value],
            required=True,
            width="stretch",
            key=f"{key}_pace",
        )
        cuts = st.empty()
    with first[-1]:
        language = st.selectbox(
            "Spoken language",
            _LANGUAGES,
            index=_LANGUAGES.index(start.language or ""),
            format_func=lambda code: LANGUAGE_NAMES[code] if code else _LISTEN,
            key=f"{key}_language",
        )
    with st.columns(beside, gap="medium")[0]:
        captions = st.segmented_control(
            "Captions",
            tuple(CAPTION_NAMES),
            default=start.captions,
            format_func=lambda value: CAPTION_NAMES[value],
            required=True,
            width="stretch",
            key=f"{key}_captions",
        )
    captions = captions or Captions.SOFT
    style = _render_styles(key, start.style, shown=captions.in_picture, poster=poster)
    chosen: dict[str, object] = {"pace": pace, "language": language, "captions": captions, "style": style}
    options = _render_advanced(key, start, chosen, compact=compact)
    cuts.caption(describe_cuts(read_options(options)))
    return options


def _render_styles(key: str, initial: Style, *, shown: bool, poster: str | None) -> Style:
    """Show the style pictures where they matter; a choice outlives their being hidden."""
    kept = f"{key}_style_kept"
    style = Style(st.session_state.get(kept, initial))
    if shown:
        style = pick_style(f"{key}_style", style, poster=poster)
        st.session_state[kept] = style.value
    return style


def _render_advanced(
    key: str, start: PipelineOptions, chosen: Mapping[str, object], *, compact: bool
) -> dict[str, object]:
    pace = PACES[str(chosen["pace"])]
    margin = start.margin_ms
    with st.expander("Advanced", type="compact", key=f"{key}_advanced"):
        vocabulary = st.text_area(
            "Names and terms",
            value=start.vocabulary,
            max_chars=MAX_VOCABULARY_CHARS,
            height=90,
            placeholder="Mara Lindqvist, Kubernetes, PostgreSQL",
            help="Words the recognition may not know, with commas between them. They are then spelled like this.",
            disabled=chosen["captions"] is Captions.NONE,
            key=f"{key}_vocabulary",
        )
        fields = [st.container() for _ in range(5)] if compact else st.columns(5, gap="small", vertical_alignment="top")
        with fields[0]:
            pause_s = _number("Shortest pause, s", start.min_pause_ms, pace.min_pause_ms, f"{key}_pause", 0, 60)
        with fields[1]:
            before_s = _number("Air before, s", margin and margin[0], pace.margin_ms[0], f"{key}_before", -10, 10)
        with fields[2]:
            after_s = _number("Air after, s", margin and margin[1], pace.margin_ms[1], f"{key}_after", -10, 10)
        with fields[3]:
            threshold_db = st.number_input(
                "Speech from, dB",
                min_value=_QUIETEST_DB,
                max_value=0.0,
                value=_read_level(start.threshold),
                step=1.0,
                format="%.1f",
                placeholder="Automatic",
                help="The level from which sound counts as speech. Left empty, it is found from the recording's noise.",
                key=f"{key}_threshold",
            )
        with fields[4]:
            tracks = dict(_TRACKS)
            first = {None: "default", 0: "mix"}.get(start.audio_track, str(start.audio_track))
            tracks.setdefault(first, f"Track {first}")
            audio_track = st.selectbox(
                "Sound track",
                tuple(tracks),
                index=tuple(tracks).index(first),
                format_func=lambda track: tracks[track],
                key=f"{key}_track",
            )
        options = build_options(
            **chosen,  # type: ignore[arg-type]
            vocabulary=vocabulary or "",
            pause_s=pause_s,
            before_s=before_s,
            after_s=after_s,
            threshold_db=threshold_db,
            audio_track=audio_track,
        )
        if conflict := describe_conflict(read_options(options)):
            st.markdown(f":orange[{conflict}]")
        else:
            st.caption("Empty fields take the pace's own numbers.")
    return options


def _number(label: str, value_ms: int | None, pace_ms: int, key: str, least: int, most: int) -> float | None:
    return st.number_input(
        label,
        min_value=float(least),
        max_value=float(most),
        value=None if value_ms is None else value_ms / 1000,
        step=0.05,
        format="%.2f",
        placeholder=_seconds(pace_ms),
        key=key,
    )


def _read_level(threshold: float | None) -> float | None:
    """Return a level 0–1 in dB, rounded as it is shown."""
    if threshold is None:
        return None
    return max(_QUIETEST_DB, round(20 * math.log10(threshold), 2)) if threshold > 0 else _QUIETEST_DB


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g}"
