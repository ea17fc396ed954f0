"""The voice of the tests: what it says is the same however often, and whatever was said before."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.espeak import speak

anew = speak.__wrapped__  # what it remembers would always be the same


def test_what_is_spoken_does_not_depend_on_what_was_spoken_before() -> None:
    first = anew("river")
    anew("Guten Morgen.", "de", 220)
    assert np.array_equal(anew("river"), first)
    assert np.abs(first).max() > 3000


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(ValueError, match="no voice"):
        speak("river", "xx-nobody")
    assert speak("stone").size
