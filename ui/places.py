"""Where the pages lie: the files `st.switch_page` and `st.page_link` take, and the one path people see."""

from __future__ import annotations

from pathlib import Path

_PAGES = Path(__file__).resolve().parents[1] / "pages"

VIDEOS = _PAGES / "videos.py"
UPLOAD = _PAGES / "upload.py"
VIDEO = _PAGES / "video.py"
ACCOUNT = _PAGES / "account.py"
ADMIN = _PAGES / "admin.py"

PRODUCT = "Mini Video Factory"


def link_video(video_id: str) -> str:
    """Return the path of a video's page."""
    return f"/video?id={video_id}"
