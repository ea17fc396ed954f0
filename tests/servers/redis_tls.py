"""A Redis of the machine's own, with TLS, a password and an authority of its own; it keeps nothing when it ends."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from redis.exceptions import RedisError

from tests.servers.guarded import GuardedServer, ServerMissing, find_free_port, give_to_lesser, make_folder

PASSWORD = "open sesame/#1"
QUOTED = "open%20sesame%2F%231"


class TlsRedis:
    """A server at a free port, from `start` on. Raises `ServerMissing` where none that speaks TLS is installed."""

    def __init__(self) -> None:
        self._program = find_program()
        self._folder = make_folder("redis")
        self.authority = write_certificates(self._folder)
        self.port = find_free_port()
        self._server: GuardedServer | None = None
        self.start()

    def __enter__(self) -> TlsRedis:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Address, password and authority, as REDIS_URL has them."""
        return f"rediss://:{QUOTED}@127.0.0.1:{self.port}/0?ssl_ca_certs={self.authority}"

    def start(self, *, password: str = PASSWORD) -> None:
        """Start it, empty, and wait until it answers."""
        folder = self._folder / datetime.now(UTC).strftime("%H%M%S%f")  # whoever ends it takes its folder along
        folder.mkdir(mode=0o755)
        config = folder / "redis.conf"
        config.write_text(
            f'requirepass "{password}"\nport 0\nbind 127.0.0.1\ntls-port {self.port}\nsave ""\nappendonly no\n'
            f"tls-auth-clients no\ntls-cert-file {self._folder}/server.pem\ntls-key-file {self._folder}/server.key\n"
            f"tls-ca-cert-file {self.authority}\ndir {folder}\n"
        )
        give_to_lesser(folder, config, *self._folder.glob("*.key"))
        self._server = GuardedServer([self._program, str(config)], folder=folder, as_lesser=True)
        self._server.wait_until(self._answers)

    def stop(self) -> None:
        """End it; all it held is lost."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=5) as client:
                return bool(client.ping())
        except RedisError as error:
            return "password" in str(error)  # another one than that of the address


def find_program() -> str:
    """Return the path of a ``redis-server`` that speaks TLS. Raises `ServerMissing`."""
    program = shutil.which("redis-server")
    if program is None:
        raise ServerMissing("there is no redis-server on this machine (Debian: apt install redis-server)")
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    if "libssl" not in libraries:
        raise ServerMissing(f"{program} was built without TLS")
    return program


def write_certificates(folder: Path) -> Path:
    """Write a server's certificate for this machine, and return that of the authority that signed it."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the tests")])
    now = datetime.now(UTC)

    def begin(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .issuer_name(authority_name)
            .subject_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority = (
        begin(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = (
        begin(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), key.public_key())
        .add_extension(x509.SubjectAlternativeName(here), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "server.key").chmod(0o600)
    return folder / "authority.pem"
