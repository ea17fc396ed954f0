"""How a component is put together out of the files beside it."""

from __future__ import annotations

from pathlib import Path


def read_texts(*paths: Path) -> str:
    """Return the text of some files as one: a component is one script and one stylesheet."""
    return "\n".join(path.read_text("utf-8") for path in paths)
