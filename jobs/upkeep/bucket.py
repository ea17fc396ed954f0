"""``make bucket``: make the bucket that the settings name, let browsers upload to it, and say what was done."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from config import Settings
from jobs.upkeep.command import Command


def add_arguments(parser: ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


def run(settings: Settings, arguments: Namespace) -> int:
    """Prepare the bucket; asks nothing. Raises `StorageError`."""
    wasabi = settings.wasabi
    if wasabi is None:
        print(
            "Nothing to do: files live in the data folder. For Wasabi, or another S3 store, set WASABI_BUCKET, "
            "WASABI_REGION, WASABI_ACCESS_KEY_ID and WASABI_SECRET_ACCESS_KEY."
        )
        return 0
    from adapters.s3_bucket import prepare_bucket  # here, because its libraries are large

    for sentence in prepare_bucket(
        bucket=wasabi.bucket,
        region=wasabi.region,
        endpoint=wasabi.endpoint,
        public_endpoint=wasabi.public_endpoint,
        access_key_id=wasabi.access_key_id,
        secret_access_key=wasabi.secret_access_key,
        origin=settings.base_url,
        dry_run=arguments.dry_run,
    ):
        print(sentence)
    return 0


COMMAND = Command(
    summary="Make the bucket of WASABI_BUCKET if it is missing, and let browsers upload to it.",
    run=run,
    add_arguments=add_arguments,
)
