"""Recordings, and the cards that show them with their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from adapters.supabase.client import Project
from adapters.supabase.rows import format_time, make_card, make_job, make_video
from adapters.text import fold_text
from jobs.errors import NotFound
from jobs.models import Json, Page, ProcessingJob, Upload, Video, VideoCard, VideoFacts, VideoQuery
from jobs.ports import NIL, Charge


class SupabaseVideos:
    """`jobs.ports.Videos`."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def create_with_job(
        self, upload: Upload, *, title: str, facts: VideoFacts, options: Json, charge: Charge, limit_bytes: int
    ) -> tuple[Video, ProcessingJob]:
        """As the port says. Raises `NotFound` when the upload is gone, `Conflict` when it was refused."""
        made = self._project.call(
            "create_video",
            again=True,
            user_id=upload.user_id,
            upload_id=upload.id,
            video_id=upload.video_id,
            title=title,
            title_key=fold_text(title),
            file_name=upload.name,
            file_name_key=fold_text(upload.name),
            facts=asdict(facts),
            options=options,
            charge_key=charge.key,
            limit_ms=charge.limit_ms,
            limit_bytes=limit_bytes,
        )
        if made is None:
            raise NotFound(detail="no such upload")
        return make_video(made["video"]), make_job(made["job"])

    def get(self, user_id: str, video_id: str) -> Video | None:
        rows = self._project.select("videos", {"id": video_id, "user_id": user_id}, person=user_id)
        return make_video(rows[0]) if rows else None

    def get_card(self, user_id: str, video_id: str) -> VideoCard | None:
        found = self._project.call("list_cards", person=user_id, again=True, user_id=user_id, video_id=video_id)
        return make_card(found["cards"][0]) if found and found["cards"] else None

    def list_cards(self, user_id: str, query: VideoQuery) -> Page[VideoCard]:
        """As the port says; a title matches when it, the note, tags or file name hold every word of the search."""
        found = self._project.call(
            "list_cards",
            person=user_id,
            again=True,
            user_id=user_id,
            words=fold_text(query.search).split(),
            states=sorted(query.states),
            sort=query.sort,
            offset=query.offset,
            limit=query.limit,
        )
        if found is None:
            return Page(items=(), total=0)
        return Page(items=tuple(map(make_card, found["cards"])), total=found["total"])

    def set_title(self, user_id: str, video_id: str, title: str) -> bool:
        return self._set(user_id, video_id, title=title, title_key=fold_text(title))

    def set_details(self, user_id: str, video_id: str, *, note: str, tags: Sequence[str], recorded_on: str) -> bool:
        key = fold_text("\n".join((note, *tags)))
        return self._set(user_id, video_id, note=note, tags=list(tags), recorded_on=recorded_on, details_key=key)

    def _set(self, user_id: str, video_id: str, **values: object) -> bool:
        return bool(self._project.update("videos", values, {"id": video_id, "user_id": user_id}, again=True))

    def delete(self, user_id: str, video_id: str) -> bool:
        return bool(self._project.call("delete_video", user_id=user_id, video_id=video_id))

    def stored_bytes(self, user_id: str) -> int:
        return int(self._project.call("get_stored_bytes", person=user_id, again=True, user_id=user_id) or 0)

    def exists(self, video_id: str) -> bool:
        return bool(self._project.select("videos", {"id": video_id}, columns="id"))

    def list_older(self, before: datetime, limit: int = 100) -> Sequence[Video]:
        rows = self._project.call("list_older_videos", again=True, before=format_time(before), limit=limit)
        return tuple(map(make_video, rows))

    def list_with_jobs(
        self, *, after: tuple[str, str] = (NIL, NIL), limit: int = 100
    ) -> Sequence[tuple[Video, Sequence[ProcessingJob]]]:
        found = self._project.call(
            "list_videos_with_jobs", again=True, after_user_id=after[0], after_video_id=after[1], limit=limit
        )
        return tuple((make_video(item["video"]), tuple(map(make_job, item["jobs"]))) for item in found or ())
