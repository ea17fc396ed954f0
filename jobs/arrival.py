"""How much of an upload is here: bytes of one file on this machine, or parts in a store elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jobs.errors import NotFound
from jobs.models import Upload, UploadState
from jobs.ports import Ports
from jobs.storage import original_key

GLANCE = timedelta(seconds=10)
"""So old may be what a page shows of parts in a store elsewhere; what is decided is decided on fresh numbers."""
MAX_GLANCES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlan:
    """How a file of a size is sent in parts, numbered from 1."""

    size_bytes: int
    part_bytes: int

    @property
    def count(self) -> int:
        """How many parts there are to be."""
        return -(-self.size_bytes // self.part_bytes)

    def measure(self, number: int) -> int:
        """Return the bytes of a part. Raises `NotFound` when there is no such part."""
        if not 1 <= number <= self.count:
            raise NotFound
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)

    def pick_right(self, there: Mapping[int, int]) -> tuple[int, ...]:
        """Return the numbers of the parts that are there as they are to be."""
        return tuple(number for number in range(1, self.count + 1) if there.get(number) == self.measure(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """An upload and how much of it is here."""

    upload: Upload
    received: int
    """Bytes; in parts, of those that are as they are to be."""
    plan: PartPlan | None = None
    """None where bytes are taken in order, by the product itself."""
    parts: tuple[int, ...] = ()
    """Numbers of the parts that are there."""
    is_other: bool = False
    """Whether something is there that can't be of this file."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.received == self.upload.size_bytes and not self.is_other


class Arrivals:
    """Looks at what is here, and no more often than is good for."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._glances: dict[str, tuple[datetime, UploadProgress]] = {}
        self._looks: dict[str, tuple[datetime, timedelta]] = {}
        """When those that were not whole had been touched, and how long they had been left alone."""

    def plan(self, upload: Upload) -> PartPlan | None:
        """Return the parts of an upload; None where bytes are taken in order."""
        part_bytes = self._ports.files.part_bytes(upload.size_bytes)
        return None if part_bytes is None else PartPlan(size_bytes=upload.size_bytes, part_bytes=part_bytes)

    def begin(self, upload: Upload) -> UploadProgress:
        """Return the progress of an upload that is new."""
        return UploadProgress(upload=upload, received=0, plan=self.plan(upload))

    def measure(self, upload: Upload) -> UploadProgress:
        """Return how much of an upload is here now."""
        plan = self.plan(upload)
        progress = self._count_bytes(upload) if plan is None else self._count_parts(upload, plan)
        if plan is not None:
            self._glances.pop(upload.id, None)
            self._glances[upload.id] = (self._ports.now(), progress)
            for old in list(self._glances)[:-MAX_GLANCES]:
                self._glances.pop(old, None)
        return progress

    def glance(self, upload: Upload) -> UploadProgress:
        """Return how much was here a moment ago."""
        known = self._glances.get(upload.id)
        if known is not None and self._ports.now() - known[0] < GLANCE:
            return replace(known[1], upload=upload)
        return self.measure(upload)

    def is_left_whole(self, upload: Upload, alone: timedelta) -> bool:
        """Tell whether an upload that was left ``alone`` so long is whole.

        One that is not is looked at again when it has been left alone for twice as long: there may be many of them.
        """
        known = self._looks.get(upload.id)
        if known is not None and known[0] == upload.updated_at and alone < 2 * known[1]:
            return False
        is_whole = self.measure(upload).is_whole
        if not is_whole:
            self._looks[upload.id] = (upload.updated_at, alone)
        return is_whole

    def forget_others(self, unfinished: Iterable[Upload]) -> None:
        """Keep in mind only what is still to come."""
        ids = {upload.id for upload in unfinished}
        self._looks = {upload_id: look for upload_id, look in self._looks.items() if upload_id in ids}

    def _count_bytes(self, upload: Upload) -> UploadProgress:
        files, key = self._ports.files, original_key(upload.user_id, upload.video_id)
        is_here = upload.state is UploadState.DONE or files.stat(key) is not None
        return UploadProgress(upload=upload, received=upload.size_bytes if is_here else files.received(key))

    def _count_parts(self, upload: Upload, plan: PartPlan) -> UploadProgress:
        files, key = self._ports.files, original_key(upload.user_id, upload.video_id)
        every = tuple(range(1, plan.count + 1))
        whole = UploadProgress(upload=upload, received=upload.size_bytes, plan=plan, parts=every)
        if upload.state is UploadState.DONE:
            return whole
        if there := files.list_parts(key):
            parts = plan.pick_right(there)
            received = sum(map(plan.measure, parts))
            return replace(whole, received=received, parts=parts, is_other=len(parts) < len(there))
        if (stored := files.stat(key)) is not None:  # it was put together, and is to be looked at
            return replace(whole, is_other=stored.size_bytes != upload.size_bytes)
        return replace(whole, received=0, parts=())
