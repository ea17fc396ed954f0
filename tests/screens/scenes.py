"""Drawn pictures that stand in for recordings: somebody in front of a wall, in colours of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One picture."""

    name: str
    size: tuple[int, int]
    wall: tuple[str, str]
    """Colours of the wall, from left to right."""
    skin: str
    hair: str
    clothes: str
    behind: str = "window"
    """What stands behind: ``window``, ``shelf``, ``board`` or ``plant``."""


SCENES: Sequence[Scene] = (
    Scene(name="lesson", size=(1280, 720), wall=("#b9b4ab", "#e4e0d8"), skin="#d6a17c", hair="#2b211d",
          clothes="#2f3a52", behind="window"),
    Scene(name="update", size=(720, 720), wall=("#39444d", "#5b6a70"), skin="#e6b99a", hair="#8c5a35",
          clothes="#7a2f3b", behind="shelf"),
    Scene(name="intro", size=(1280, 720), wall=("#6d7178", "#9a9da3"), skin="#c98f6b", hair="#4a3426",
          clothes="#3d3f45", behind="plant"),
    Scene(name="reading", size=(1280, 720), wall=("#4b3a2c", "#7b6248"), skin="#e3b797", hair="#1f1a18",
          clothes="#c8b28a", behind="shelf"),
    Scene(name="weekly", size=(640, 800), wall=("#27365c", "#43588f"), skin="#b97d58", hair="#17120f",
          clothes="#1e222b", behind="board"),
    Scene(name="climbing", size=(540, 960), wall=("#5a4a45", "#8d7466"), skin="#dba582", hair="#5b3b20",
          clothes="#c4552d", behind="plant"),
    Scene(name="telescope", size=(1280, 720), wall=("#0d1220", "#1d2740"), skin="#c48e6c", hair="#25201d",
          clothes="#39455f", behind="board"),
    Scene(name="kitchen", size=(1280, 720), wall=("#c7d2cf", "#eef1ec"), skin="#8d5b3f", hair="#14100e",
          clothes="#d9b44a", behind="plant"),
)  # fmt: skip


def draw_scenes(browser: Browser, folder: Path) -> dict[str, Path]:
    """Draw every scene into ``folder`` as PNG and return the files by name."""
    drawn = {}
    for scene in SCENES:
        page = browser.new_page(viewport={"width": scene.size[0], "height": scene.size[1]})
        page.set_content(f'<body style="margin:0">{build_svg(scene)}')
        drawn[scene.name] = folder / f"{scene.name}.png"
        page.screenshot(path=drawn[scene.name])
        page.close()
    return drawn


def build_svg(scene: Scene) -> str:
    """Return the picture as SVG."""
    width, height = scene.size
    middle, unit = width / 2, min(width * 1.3, height * 1.1) / 100
    floor = height

    def at(x: float, y: float) -> str:
        return f"{middle + x * unit:.1f} {floor - y * unit:.1f}"

    head_y = 52.0
    neck = f'x="{middle - 6.5 * unit:.1f}" y="{floor - 34 * unit:.1f}" width="{13 * unit:.1f}"'
    shoulders = (
        f"M{at(-34, 0)} C{at(-34, 18)} {at(-24, 25)} {at(-9, 28)} L{at(9, 28)} C{at(24, 25)} {at(34, 18)} {at(34, 0)} Z"
    )
    lapels = f"M{at(-9, 28)} L{at(0, 8)} L{at(9, 28)} Z"
    hair = (
        f"M{at(-14.5, head_y)} C{at(-17, head_y + 22)} {at(17, head_y + 22)} {at(14.5, head_y)} "
        f"C{at(13, head_y + 9)} {at(4, head_y + 11)} {at(-3, head_y + 9)} C{at(-9, head_y + 8)} "
        f"{at(-13, head_y + 5)} {at(-14.5, head_y)} Z"
    )
    face = f"M{at(-13, head_y)} C{at(-13, head_y + 18)} {at(13, head_y + 18)} {at(13, head_y)} " + (
        f"C{at(13, head_y - 14)} {at(6, head_y - 20)} {at(0, head_y - 20)} "
        f"C{at(-6, head_y - 20)} {at(-13, head_y - 14)} {at(-13, head_y)} Z"
    )
    eyes = "".join(f'<circle cx="{middle + x * unit}" cy="{floor - 51 * unit}" r="{1.25 * unit}"/>' for x in (-5, 5))
    mouth = f"M{at(-4, 40.5)} Q{at(0, 38)} {at(4, 40.5)}"
    nose = f"M{at(0.5, 50)} Q{at(2.2, 46)} {at(-0.6, 45.6)}"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" style="display:block">
<defs><linearGradient id="wall"><stop stop-color="{scene.wall[0]}"/><stop offset="1" stop-color="{scene.wall[1]}"/>
</linearGradient><linearGradient id="light" x1="0" y1="0" x2="1" y2="0"><stop stop-color="#fff" stop-opacity=".18"/>
<stop offset=".55" stop-opacity="0"/><stop offset="1" stop-color="#000" stop-opacity=".28"/></linearGradient>
<filter id="far"><feGaussianBlur stdDeviation="{unit * 1.1:.1f}"/></filter></defs>
<rect width="100%" height="100%" fill="url(#wall)"/>
<g filter="url(#far)">{_draw_behind(scene, unit)}</g>
<rect {neck} height="{14 * unit}" fill="{scene.skin}"/><rect {neck} height="{5 * unit}" fill="#000" opacity=".18"/>
<path d="{shoulders}" fill="{scene.clothes}"/><path d="{lapels}" fill="#f1ede6"/><path d="{face}" fill="{scene.skin}"/>
<path d="{hair}" fill="{scene.hair}"/><g fill="#1b1512">{eyes}</g>
<g fill="none" stroke="#7a4a3a" stroke-width="{unit * 0.7:.1f}" stroke-linecap="round"><path d="{mouth}"/>
<path d="{nose}" opacity=".5"/></g><rect width="100%" height="100%" fill="url(#light)"/></svg>"""


def _draw_behind(scene: Scene, unit: float) -> str:
    width, height = scene.size

    def box(x: float, y: float, wide: float, high: float, fill: str, opacity: float = 1) -> str:
        place = f'x="{x * width:.1f}" y="{y * height:.1f}" width="{wide * width:.1f}" height="{high * height:.1f}"'
        return f'<rect {place} fill="{fill}" opacity="{opacity}"/>'

    if scene.behind == "window":
        bars = "".join(box(0.62, 0.08 + 0.13 * row, 0.34, 0.022, "#cfd8dc") for row in range(5))
        return box(0.62, 0, 0.34, 0.72, "#f6f8f8", 0.8) + bars
    if scene.behind == "shelf":
        colours = ("#b5533c", "#d8b36a", "#4f7a8a", "#8b8f5a", "#caa58b", "#5d4a66")
        return "".join(
            box(
                0.03 + 0.047 * i,
                0.12 + 0.42 * row,
                0.034,
                0.2 + 0.05 * ((i * 7 + row) % 4),
                colours[(i + row) % 6],
                0.75,
            )
            for row in range(2)
            for i in range(20)
        )
    if scene.behind == "board":
        lines = "".join(box(0.08, 0.16 + 0.09 * row, 0.34 - 0.05 * (row % 3), 0.018, "#fff", 0.35) for row in range(6))
        return box(0.04, 0.08, 0.44, 0.62, "#fff", 0.09) + lines
    pot = box(0.81, 0.6, 0.1, 0.4, "#a5673f")
    return pot + "".join(
        _draw_leaf(0.86 * width + turn * unit * 6, 0.45 * height + up * unit * 7, unit, turn * 32)
        for turn, up in ((-1.2, 0.5), (-0.5, -0.5), (0.2, -1), (0.8, -0.3), (1.5, 0.6))
    )


def _draw_leaf(x: float, y: float, unit: float, degrees: float) -> str:
    shape = f'cx="{x:.1f}" cy="{y:.1f}" rx="{unit * 3.2:.1f}" ry="{unit * 9:.1f}"'
    return f'<ellipse {shape} fill="#4f7a55" transform="rotate({degrees} {x:.1f} {y:.1f})"/>'
