"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import load_settings
from pipeline.errors import ToolMissing
from pipeline.weights import WeightsUnavailable, find_weights


def _no_hub(model: str, _folder: Path) -> None:
    raise WeightsUnavailable(f"tests fetch nothing, {model} neither")


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder with the base weights; skips where `make weights` has not run."""
    try:
        return find_weights("base", load_settings().whisper_model_dir, hub=_no_hub)
    except ToolMissing as error:
        pytest.skip(error.message)
