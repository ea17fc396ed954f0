"""Files on their way in."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.supabase.client import Project
from adapters.supabase.rows import make_upload
from jobs.models import Json, Upload, UploadState

_UNFINISHED = ("state", (UploadState.RECEIVING, UploadState.CHECKING))


class SupabaseUploads:
    """`jobs.ports.Uploads`. Done and refused are ends: such an upload changes no more."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def create(self, user_id: str, *, name: str, size_bytes: int, fingerprint: str, options: Json) -> Upload:
        """As the port says. Raises `NotFound` for nobody's upload."""
        values = {
            "user_id": user_id,
            "name": name,
            "size_bytes": size_bytes,
            "fingerprint": fingerprint,
            "options": options,
        }
        return make_upload(self._project.insert("uploads", values))

    def get(self, user_id: str, upload_id: str) -> Upload | None:
        rows = self._project.select("uploads", {"id": upload_id, "user_id": user_id}, person=user_id)
        return make_upload(rows[0]) if rows else None

    def find_open(self, user_id: str, *, fingerprint: str, size_bytes: int) -> Upload | None:
        rows = self._project.select(
            "uploads",
            {
                "user_id": user_id,
                "fingerprint": fingerprint,
                "size_bytes": size_bytes,
                "state": UploadState.RECEIVING,
            },
            order=("created_at.desc", "seq.desc"),
            limit=1,
            person=user_id,
        )
        return make_upload(rows[0]) if rows else None

    def list_open(self, user_id: str) -> Sequence[Upload]:
        rows = self._project.select(
            "uploads", {"user_id": user_id}, among=_UNFINISHED, order=("created_at.desc", "seq.desc"), person=user_id
        )
        return tuple(map(make_upload, rows))

    def list_unfinished(self) -> Sequence[Upload]:
        return tuple(map(make_upload, self._project.call("list_unfinished_uploads", again=True)))

    def touch(self, user_id: str, upload_id: str) -> None:
        self._project.call("touch_upload", again=True, user_id=user_id, upload_id=upload_id)

    def set_options(self, user_id: str, upload_id: str, options: Json) -> None:
        self._set(user_id, upload_id, {"options": options}, again=True)

    def set_state(
        self, user_id: str, upload_id: str, state: UploadState, *, error_code: str = "", error_message: str = ""
    ) -> bool:
        values = {"state": state, "error_code": error_code, "error_message": error_message}
        return self._set(user_id, upload_id, values, again=state in _UNFINISHED[1])

    def _set(self, user_id: str, upload_id: str, values: Json, *, again: bool) -> bool:
        match = {"id": upload_id, "user_id": user_id}
        return bool(self._project.update("uploads", values, match, among=_UNFINISHED, again=again))

    def delete(self, user_id: str, upload_id: str) -> bool:
        return self._project.delete("uploads", {"id": upload_id, "user_id": user_id})

    def purge(self, *, older_than_s: int) -> int:
        return int(self._project.call("purge_uploads", older_than_s=older_than_s))
