"""Who may do what only an administrator may."""

from __future__ import annotations

from jobs.errors import Forbidden
from jobs.models import Role, User
from jobs.ports import Ports


def require_admin(ports: Ports, actor: User) -> None:
    """Raise `Forbidden` unless that person is an administrator: as the page knows them, and in the database now."""
    if not is_admin(actor) or not is_admin(ports.database.users.get(actor.id)):
        raise Forbidden


def is_admin(user: User | None) -> bool:
    """Tell whether this is an account that may do what administrators may."""
    return user is not None and user.role is Role.ADMIN and user.is_active


def has_other_administrator(ports: Ports, user_id: str) -> bool:
    """Tell whether an active administrator is left without this one."""
    offset = 0
    while True:
        page = ports.database.users.list_all(offset=offset, limit=200)
        if any(one.role is Role.ADMIN and one.is_active and one.id != user_id for one in page.items):
            return True
        offset += len(page.items)
        if not page.items or offset >= page.total:
            return False
