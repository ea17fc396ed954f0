"""What every file store of ours asks of a key."""

from __future__ import annotations


def check_key(key: str) -> str:
    """Return ``key``. Raises `ValueError` for one that could leave its place, or that is no file's."""
    parts = key.split("/")
    if not key or "\0" in key or "\\" in key or any(part in ("", ".", "..") for part in parts) or parts[0][0] == ".":
        raise ValueError(f"{key!r} is no key")
    return key


def check_folder(prefix: str) -> str:
    """Return ``prefix``. Raises `ValueError` for one that names no folder."""
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} is no folder: it must end in a slash")
    return prefix
