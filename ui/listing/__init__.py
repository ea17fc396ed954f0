"""A list in a card: a mark, a name, what there is to say, and at most one thing to do about each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import streamlit as st

_HERE = Path(__file__).parent

Mark = Literal["", "ok", "warning", "error"]
Tone = Literal["gray", "blue", "green", "orange", "red"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A word on a coloured ground."""

    text: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a list. Text between backticks is set as code."""

    id: str
    name: str
    text: str
    mark: Mark = ""
    below: str = ""
    """Second, quieter line of the name."""
    needs_reading: bool = False
    """Whether the text is set in full contrast."""
    chips: tuple[Chip, ...] = ()
    note: str = ""
    """At the end of the line."""
    at: datetime | None = None
    """A moment the note tells the age of, counted on in the browser; the note then stands before it."""
    action: str = ""
    """What the button says; empty for none."""


_component = st.components.v2.component(
    "mvf.listing",
    html='<ul class="listing"></ul>',
    css=(_HERE / "listing.css").read_text("utf-8"),
    js=(_HERE / "listing.js").read_text("utf-8"),
)


def build_row(row: Row) -> dict[str, object]:
    """Return what a row is drawn from."""
    return asdict(row) | {"at": None if row.at is None else round(row.at.timestamp() * 1000)}


def render_listing(key: str, rows: Sequence[Row], *, label: str) -> None:
    """Draw the rows; ``label`` names the list for those who can't see it."""
    _component(
        key=key,
        data={"label": label, "rows": [build_row(row) for row in rows]},
        on_chosen_change=_keep,
    )


def _keep() -> None:
    """Do nothing: a component keeps only values that have a listener."""


def read_chosen(key: str) -> str | None:
    """Return the id of the row whose button was pressed just now in the list of that key."""
    match st.session_state.get(key):
        case {"chosen": str(chosen)}:
            return chosen
    return None
