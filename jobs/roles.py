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
