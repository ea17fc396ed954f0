"""Real recordings for tests, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import load_settings

MEDIA = load_settings().test_media


def shared_file(name: str) -> Path:
    """Return a real recording; skips the test where it is not at hand."""
    path = MEDIA / name
    if not path.is_file():
        pytest.skip(f"{name} is not in TEST_MEDIA ({MEDIA})")
    return path
