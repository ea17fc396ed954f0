"""The picker of a burned caption style: radio buttons that show each style on a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from pipeline.options import Style

_HERE = Path(__file__).parent
_LABEL = "Style of burned-in captions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a style is drawn; lengths in font sizes. The pipeline draws it into the video with the same numbers."""

    name: str
    fill: str
    edge: str
    """Of the outline; empty draws none."""
    outline: float
    shade: str
    """Of the shadow, or of the box."""
    shadow: float
    """Offset of the shadow, or how far the box reaches beyond the text."""
    boxed: bool = False
    scale: float = 1.0
    """Size beside the other styles."""


def rgba(red: int, green: int, blue: int, transparency: int = 0) -> str:
    """Return a CSS colour; ``transparency`` is 0 (solid) to 255, as subtitles count it."""
    return f"rgba({red}, {green}, {blue}, {1 - transparency / 255:.3f})"


_WHITE = rgba(255, 255, 255)
LOOKS: Mapping[Style, Look] = {
    Style.CLEAN: Look(
        name="Clean",
        fill=_WHITE,
        edge=rgba(16, 16, 16, 0x18),
        outline=0.05,
        shade=rgba(0, 0, 0, 0x78),
        shadow=0.035,
    ),
    Style.BOXED: Look(
        name="Boxed", fill=_WHITE, edge="", outline=0, shade=rgba(12, 12, 14, 0x3D), shadow=0.2, boxed=True
    ),
    Style.BOLD: Look(
        name="Bold",
        fill=rgba(255, 214, 64),
        edge=rgba(10, 10, 10),
        outline=0.085,
        shade=rgba(0, 0, 0, 0x60),
        shadow=0.05,
    ),
    Style.LARGE: Look(
        name="Large",
        fill=_WHITE,
        edge=rgba(16, 16, 16, 0x10),
        outline=0.055,
        shade=rgba(0, 0, 0, 0x70),
        shadow=0.04,
        scale=1.3,
    ),
}

_component = st.components.v2.component(
    "mvf.styles",
    html=f'<div class="styles"></div><template>{(_HERE / "sample.svg").read_text("utf-8")}</template>',
    css=(_HERE / "styles.css").read_text("utf-8"),
    js=(_HERE / "styles.js").read_text("utf-8"),
)


def build_data(chosen: Style, poster: str | None) -> dict[str, Any]:
    """Return what the picker is drawn from."""
    looks = [{"id": style.value, **asdict(look)} for style, look in LOOKS.items()]
    return {"label": _LABEL, "poster": poster or "", "chosen": chosen.value, "looks": looks}


def pick_style(key: str, initial: Style, *, poster: str | None = None) -> Style:
    """Draw the picker and return the chosen style; ``poster`` is the address of a picture to show them on."""
    result = _component(
        key=key,
        data=build_data(initial, poster),
        default={"style": initial.value},
        on_style_change=lambda: None,
    )
    value = result.get("style")
    return Style(value) if value in set(Style) else initial
