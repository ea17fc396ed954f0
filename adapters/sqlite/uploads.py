"""Files on their way in."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.sqlite.rows import dump_json, make_id, make_upload
from adapters.sqlite.store import Store
from jobs.models import Json, Upload, UploadState


class SqliteUploads:
    """`jobs.ports.Uploads`. Done and refused are ends: such an upload changes no more."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, user_id: str, *, name: str, size_bytes: int, fingerprint: str, options: Json) -> Upload:
        now = self._store.now_ms()
        with self._store.write() as connection:
            row = connection.execute(
                """
                INSERT INTO uploads
                    (id, user_id, video_id, name, size_bytes, fingerprint, options, created_at, updated_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *
                """,
                (make_id(), user_id, make_id(), name, size_bytes, fingerprint, dump_json(options), now, now),
            ).fetchone()
        return make_upload(row)

    def get(self, user_id: str, upload_id: str) -> Upload | None:
        rows = self._list("id = ? AND user_id = ?", upload_id, user_id)
        return rows[0] if rows else None

    def find_open(self, user_id: str, *, fingerprint: str, size_bytes: int) -> Upload | None:
        rows = self._list(
            """
            user_id = ? AND fingerprint = ? AND size_bytes = ? AND state = 'receiving'
            ORDER BY created_at DESC, rowid DESC LIMIT 1
            """,
            user_id,
            fingerprint,
            size_bytes,
        )
        return rows[0] if rows else None

    def list_open(self, user_id: str) -> Sequence[Upload]:
        return self._list(
            "user_id = ? AND state IN ('receiving', 'checking') ORDER BY created_at DESC, rowid DESC", user_id
        )

    def list_unfinished(self) -> Sequence[Upload]:
        return self._list("state IN ('receiving', 'checking') ORDER BY updated_at, rowid")

    def _list(self, where: str, *values: str | int) -> Sequence[Upload]:
        with self._store.read() as connection:
            rows = connection.execute(f"SELECT * FROM uploads WHERE {where}", values).fetchall()
        return tuple(map(make_upload, rows))

    def touch(self, user_id: str, upload_id: str) -> None:
        self._set(user_id, upload_id)

    def set_options(self, user_id: str, upload_id: str, options: Json) -> None:
        self._set(user_id, upload_id, options=dump_json(options))

    def set_state(
        self, user_id: str, upload_id: str, state: UploadState, *, error_code: str = "", error_message: str = ""
    ) -> bool:
        return self._set(user_id, upload_id, state=state, error_code=error_code, error_message=error_message)

    def _set(self, user_id: str, upload_id: str, **values: str) -> bool:
        columns = "".join(f", {name} = ?" for name in values)
        with self._store.write() as connection:
            changed = connection.execute(
                f"""
                UPDATE uploads SET updated_at = ?{columns}
                WHERE id = ? AND user_id = ? AND state IN ('receiving', 'checking')
                """,
                (self._store.now_ms(), *values.values(), upload_id, user_id),
            )
            return changed.rowcount == 1

    def delete(self, user_id: str, upload_id: str) -> bool:
        with self._store.write() as connection:
            gone = connection.execute("DELETE FROM uploads WHERE id = ? AND user_id = ?", (upload_id, user_id))
            return gone.rowcount == 1

    def purge(self, *, older_than_s: int) -> int:
        with self._store.write() as connection:
            return connection.execute(
                "DELETE FROM uploads WHERE state IN ('done', 'refused') AND updated_at <= ?",
                (self._store.now_ms() - older_than_s * 1000,),
            ).rowcount
