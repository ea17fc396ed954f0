"""All a page or a route may call, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.accounts import SESSION_S, AuthManager, Identity, SignIn, SignUp
from jobs.admin import AdminService
from jobs.metrics import MetricsService
from jobs.models import Limits
from jobs.ports import Passwords, Ports
from jobs.recovery import Recovery
from jobs.storage import StorageManager
from jobs.uploads import UploadService
from jobs.videos import VideoService
from pipeline.options import PipelineOptions

__all__ = ["SESSION_S", "AuthManager", "Identity", "Services", "SignIn", "SignUp", "build_services"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The product without its pages."""

    auth: AuthManager
    uploads: UploadService
    videos: VideoService
    admin: AdminService
    storage: StorageManager
    recovery: Recovery
    metrics: MetricsService
    limits: Limits


def build_services(
    ports: Ports,
    *,
    limits: Limits,
    machine_options: PipelineOptions,
    cookie_key: str,
    sign_up: SignUp,
    passwords: Passwords | None = None,
    metrics_token: str = "",
) -> Services:
    """Return the services over some outside. ``machine_options`` carry engine, model and limits of this machine;
    without ``passwords`` our own table keeps them."""
    storage = StorageManager(ports.files)
    uploads = UploadService(ports, storage, limits, machine_options)
    admin = AdminService(ports, limits, passwords)
    return Services(
        auth=AuthManager(ports, cookie_key=cookie_key, sign_up=sign_up, passwords=passwords),
        uploads=uploads,
        videos=VideoService(ports, storage, limits, machine_options),
        admin=admin,
        storage=storage,
        recovery=Recovery(ports, storage, limits),
        metrics=MetricsService(ports.database, admin.check_readiness, token=metrics_token),
        limits=limits,
    )
