"""Each way in which S3 fails has a sentence for the person, one for the operator, and tells its cause to the log.

As far as the local store can be brought to fail so, it does; what it can't is told by a stand-in that only gives the
answers S3 documents (`tests.servers.s3_answers`).
"""

from __future__ import annotations

import contextlib
import datetime as clocks
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.auth
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters import s3_client, s3_transfer
from jobs.errors import Conflict, NotFound, StorageError
from jobs.ports import FileStore, ignore_progress
from tests.integration.files.conftest import Corner, open_s3
from tests.servers.s3_answers import Answer, Asked, S3Answers, refuse
from tests.servers.weed import LocalS3

KEY = "user/a/video/b/job/c/1/video.mp4"
WAIT = "The file store does not answer just now. Try again in a minute."
TELL = "The file store can't be used just now. Ask the administrator to look at it."
FULL = "The file store is full. Ask the administrator to make room, then go on."


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A small file to store."""
    path = tmp_path / "made"
    path.write_bytes(b"data")
    return path


def list_calls(files: FileStore, made: Path) -> dict[str, Callable[[], object]]:
    """Return everything that asks the store for something."""
    target = made.with_name("target")
    return {
        "received": lambda: files.received(KEY),
        "sign_part": lambda: files.sign_part(KEY, 1, 1, expires_s=60),
        "finish_upload": lambda: files.finish_upload(KEY),
        "discard_upload": lambda: files.discard_upload(KEY),
        "list_uploads": lambda: list(files.list_uploads()),
        "stat": lambda: files.stat(KEY),
        "put": lambda: files.put(KEY, made),
        "fetch": lambda: files.fetch(KEY, target),
        "read": lambda: list(files.read(KEY)),
        "open_remote": lambda: files.open_remote(KEY),
        "list_files": lambda: list(files.list_files("user/a/")),
        "delete": lambda: files.delete([KEY]),
        "delete_all": lambda: files.delete_all("user/a/"),
        "check": files.check,
    }


def expect(call: Callable[[], object], code: str, message: str, word: str) -> StorageError:
    """Check what a person, the operator and the log are told; return the error."""
    with pytest.raises(StorageError) as caught:
        call()
    error = caught.value
    assert error.code == code, error.detail
    assert error.message == message
    assert word in error.remedy
    assert error.remedy.endswith(".")
    assert error.status == 503
    assert error.detail
    for told in (error.remedy, error.message):
        assert "://" not in told
    for told in (error.remedy, error.message, error.detail):
        assert "Signature=" not in told
    return error


# --- the real store ---


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"access_key_id": "AKUNKNOWN"}, "WASABI_ACCESS_KEY_ID"),
        ({"secret_access_key": "wrong"}, "WASABI_SECRET_ACCESS_KEY"),
    ],
)
def test_wrong_keys(local_s3: LocalS3, bucket: str, made: Path, given: dict[str, str], word: str) -> None:
    for call in list_calls(open_s3(local_s3, bucket, **given), made).values():
        error = expect(call, "files_keys", TELL, word)
        for secret in (local_s3.access_key_id, local_s3.secret_access_key, *given.values()):
            assert secret not in error.detail


def test_a_missing_bucket(local_s3: LocalS3, made: Path) -> None:
    for name, call in list_calls(open_s3(local_s3, "is-not-there"), made).items():
        if name != "delete":  # the local store finds that nothing is left to delete
            expect(call, "files_bucket", TELL, "`make bucket`")


def test_a_key_that_may_only_read(local_s3: LocalS3, bucket: str, local_corner: Corner, made: Path) -> None:
    key = local_corner.key()
    local_corner.send(key, b"data")
    local_corner.files.finish_upload(key)
    reader = open_s3(
        local_s3, bucket, access_key_id=local_s3.reader_key_id, secret_access_key=local_s3.reader_secret
    )  # fmt: skip
    assert b"".join(reader.read(key)) == b"data"
    for call in (
        lambda: reader.put(KEY, made),
        lambda: reader.sign_part(KEY, 1, 1, expires_s=60),
        lambda: reader.delete([key]),
        lambda: reader.delete_all(local_corner.prefix),
        reader.check,
    ):
        expect(call, "files_denied", TELL, "access key may not")
    assert b"".join(reader.read(key)) == b"data"


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_wrong_clock(
    monkeypatch: pytest.MonkeyPatch, local_s3: LocalS3, bucket: str, made: Path, hours: int
) -> None:  # fmt: skip
    off = clocks.timedelta(hours=hours)
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda **_: clocks.datetime.now(clocks.UTC).replace(tzinfo=None) + off
    )
    for call in list_calls(open_s3(local_s3, bucket), made).values():
        expect(call, "files_clock", TELL, "clock")


def test_nobody_answers(local_s3: LocalS3, bucket: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_transfer, "_PATIENCE_S", 0.5)
    for call in list_calls(open_s3(local_s3, bucket, endpoint="http://127.0.0.1:1"), made).values():
        expect(call, "files_unreachable", WAIT, "WASABI_ENDPOINT")


def test_a_name_that_leads_nowhere(local_s3: LocalS3, bucket: str) -> None:
    files = open_s3(local_s3, bucket, endpoint="http://store.invalid")
    expect(lambda: files.stat(KEY), "files_unreachable", WAIT, "WASABI_ENDPOINT")


# --- what is on the wire ---


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less than the product does."""
    monkeypatch.setattr(s3_transfer, "_PATIENCE_S", 0.2)
    less = Config(connect_timeout=1, read_timeout=0.3, retries={"mode": "standard", "total_max_attempts": 2})
    monkeypatch.setattr(s3_client, "CONFIG", s3_client.CONFIG.merge(less))


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve connections by a function; yields the address without its scheme."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    with contextlib.suppress(OSError):
                        serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_silent(local_s3: LocalS3, bucket: str) -> None:
    with listening(lambda _: None) as address:
        files = open_s3(local_s3, bucket, endpoint=f"http://{address}")
        expect(lambda: files.stat(KEY), "files_unreachable", WAIT, "WASABI_ENDPOINT")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_store_that_hangs_up(local_s3: LocalS3, bucket: str, scheme: str) -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.recv(100)
        connection.close()

    with listening(hang_up) as address:
        files = open_s3(local_s3, bucket, endpoint=f"{scheme}://{address}")
        expect(lambda: files.stat(KEY), "files_cut", WAIT, "network")


def test_a_certificate_that_nobody_knows(local_s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_certificate(tmp_path))
    with listening(lambda connection: context.wrap_socket(connection, server_side=True).close()) as address:
        files = open_s3(local_s3, bucket, endpoint=f"https://{address}")
        expect(lambda: files.stat(KEY), "files_tls", TELL, "certificates")


def test_a_store_that_speaks_no_tls(local_s3: LocalS3, bucket: str) -> None:
    files = open_s3(local_s3, bucket, endpoint=local_s3.endpoint.replace("http://", "https://"))
    expect(lambda: files.stat(KEY), "files_tls", TELL, "WASABI_ENDPOINT")


def write_certificate(folder: Path) -> Path:
    """Write a key and a certificate that it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = clocks.datetime.now(clocks.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - clocks.timedelta(days=1))
        .not_valid_after(now + clocks.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip
    return path


# --- the stand-in ---


REGION = "<Region>us-west-1</Region>"
DOCUMENTED = [
    (refuse(503, "SlowDown"), "files_busy", WAIT, "wait"),
    (refuse(503, "ServiceUnavailable"), "files_busy", WAIT, "wait"),
    (refuse(500, "InternalError"), "files_busy", WAIT, "wait"),
    (Answer(status=502, body="<html>Bad gateway</html>"), "files_busy", WAIT, "wait"),
    (refuse(400, "RequestTimeout"), "files_busy", WAIT, "wait"),
    (refuse(429, "TooManyRequests"), "files_busy", WAIT, "wait"),
    (refuse(403, "QuotaExceeded"), "files_full", FULL, "limit"),
    (refuse(507, "InsufficientStorage"), "files_full", FULL, "limit"),
    (Answer(status=507), "files_full", FULL, "limit"),
    (refuse(400, "AuthorizationHeaderMalformed", REGION), "files_region", TELL, "WASABI_REGION"),
    (refuse(301, "PermanentRedirect"), "files_region", TELL, "WASABI_REGION"),
    (Answer(status=301), "files_region", TELL, "WASABI_REGION"),
    (refuse(403, "AccountProblem"), "files_account", TELL, "paid"),
    (refuse(403, "AllAccessDisabled"), "files_denied", TELL, "access key"),
    (refuse(403, "RequestTimeTooSkewed"), "files_clock", TELL, "clock"),
    (Answer(status=403), "files_denied", TELL, "access key"),
    (refuse(400, "SomethingNew"), "files", WAIT, "log"),
]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("answer", "code", "message", "word"), DOCUMENTED)
def test_what_s3_documents(
    local_s3: LocalS3, bucket: str, made: Path, answer: Answer, code: str, message: str, word: str
) -> None:
    with S3Answers(lambda _: answer) as stand_in:
        files = open_s3(local_s3, bucket, endpoint=stand_in.endpoint)
        calls = list_calls(files, made)
        for name in ("stat", "put", "list_files", "delete"):
            expect(calls[name], code, message, word)


def test_what_passes_is_asked_again(local_s3: LocalS3, bucket: str, made: Path) -> None:
    answers = iter([refuse(503, "SlowDown")] * 6)
    with S3Answers(lambda _: next(answers, Answer())) as stand_in:
        open_s3(local_s3, bucket, endpoint=stand_in.endpoint).put(KEY, made)
        assert len(stand_in.asked) == 7
        assert {asked.body for asked in stand_in.asked} == {b"data"}


@pytest.mark.parametrize("code", ["AccessDenied", "QuotaExceeded", "InvalidAccessKeyId"])
def test_what_does_not_pass_is_asked_once(local_s3: LocalS3, bucket: str, made: Path, code: str) -> None:
    with S3Answers(lambda _: refuse(403, code)) as stand_in:
        with pytest.raises(StorageError):
            open_s3(local_s3, bucket, endpoint=stand_in.endpoint).put(KEY, made)
        assert len(stand_in.asked) == 1


def test_a_file_that_is_not_deleted_is_told(local_s3: LocalS3, bucket: str) -> None:
    """The answer as a whole is a success then."""
    body = (
        "<DeleteResult><Error><Key>user/x</Key><Code>AccessDenied</Code><Message>No.</Message></Error></DeleteResult>"
    )
    with S3Answers(lambda _: Answer(body=body)) as stand_in:
        files = open_s3(local_s3, bucket, endpoint=stand_in.endpoint)
        error = expect(lambda: files.delete(["user/x"]), "files_denied", TELL, "access key")
        assert "user/x" in error.detail


def test_more_files_than_s3_deletes_at_once(local_s3: LocalS3, bucket: str) -> None:
    with S3Answers(lambda _: Answer(body="<DeleteResult></DeleteResult>")) as stand_in:
        open_s3(local_s3, bucket, endpoint=stand_in.endpoint).delete(f"user/{number}" for number in range(2001))
        assert [asked.body.count(b"<Key>") for asked in stand_in.asked] == [1000, 1000, 1]


def test_a_store_that_knows_no_conditions(bucket: str, made: Path) -> None:
    """Then the look before is all there is."""

    def answer(asked: Asked) -> Answer:
        return refuse(501, "NotImplemented") if "if-none-match" in asked.headers else Answer()

    with S3Answers(answer) as stand_in:
        client = s3_client.ClientOfProcess(
            endpoint=stand_in.endpoint, region="r-1", access_key_id="a", secret_access_key="b"
        )()
        s3_transfer.send_file(
            client, bucket, KEY, made, media_type="video/mp4", only_new=True, on_progress=ignore_progress
        )
        assert ["if-none-match" in asked.headers for asked in stand_in.asked] == [True, False]


def test_a_store_that_ignores_ranges_is_not_believed(local_s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    tag = {"ETag": '"1"', "Last-Modified": "Mon, 23 Nov 2026 11:20:40 GMT"}

    def answer(asked: Asked) -> Answer:
        return Answer(body="x" * (40 << 20) if asked.method == "HEAD" else "short", headers=tag)

    with S3Answers(answer) as stand_in, pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_transfer, "_PATIENCE_S", 0.2)
        files = open_s3(local_s3, bucket, endpoint=stand_in.endpoint)
        expect(lambda: files.fetch(KEY, tmp_path / "target"), "files_cut", WAIT, "network")
    assert not list(tmp_path.iterdir())


def test_a_conflict_and_a_missing_file_are_no_trouble_of_the_store(local_s3: LocalS3, bucket: str) -> None:
    files = open_s3(local_s3, bucket)
    with pytest.raises(NotFound):
        list(files.read("user/nobody/x"))
    with pytest.raises(Conflict):
        files.append("user/nobody/x", 0, b"")


def test_a_check_writes_now_and_then(local_s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file costs months of storage at Wasabi, and a check may come every few seconds."""
    files = open_s3(local_s3, bucket)
    asked: list[str] = []
    files._clients.quick.meta.events.register("before-send.s3", lambda request, **_: asked.append(request.method))
    files.check()
    files.check()
    assert asked.count("PUT") == asked.count("POST") == 1
    assert asked.count("DELETE") == 2  # the file, and the upload in parts
    monkeypatch.setattr("adapters.s3_files._WRITE_AGAIN_S", 0.0)
    files.check()
    assert asked.count("PUT") == asked.count("POST") == 2


@pytest.mark.parametrize(
    "refused", ["GET ?uploads", "GET ?uploadId=1", "DELETE ?uploadId=1"], ids=["list uploads", "list parts", "give up"]
)
def test_a_check_finds_rights_that_only_uploads_in_parts_need(local_s3: LocalS3, bucket: str, refused: str) -> None:
    """A key may well read and write files, and yet take no upload: at S3 these rights have names of their own."""
    stored: list[str] = []

    def answer(asked: Asked) -> Answer:
        method, _, word = refused.partition(" ?")
        query = asked.path.partition("?")[2].split("&")
        if asked.method == method and (word in query or f"{word}=" in query):
            return refuse(403, "AccessDenied")
        if asked.method == "PUT":
            stored.append(asked.body.decode())
        if asked.method == "POST":
            return Answer(body="<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        if asked.method == "GET" and not query[0].startswith(("list-type", "upload")) and "prefix" not in asked.path:
            return Answer(body=stored[-1])
        return Answer(body="<Result/>" if asked.method == "GET" else "")

    with S3Answers(answer) as stand_in:
        files = open_s3(local_s3, bucket, endpoint=stand_in.endpoint)
        expect(files.check, "files_denied", TELL, "uploads in parts")
        assert any("upload" in asked.path for asked in stand_in.asked)
