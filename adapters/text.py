"""Text as it is compared: the same in every database, whatever locale it has."""

from __future__ import annotations

import unicodedata


def fold_text(text: str) -> str:
    """Return text as it is compared in a search: without case, composed."""
    return unicodedata.normalize("NFKC", text).casefold()
