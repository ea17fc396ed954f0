"""Password hashes, signed tokens, one-time tokens and sealed texts: what proves who somebody is."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

import bcrypt
import jwt
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jobs.fields import MAX_PASSWORD_BYTES, clean_password

BCRYPT_COST = 12
UNUSABLE_HASH = "!"
"""Stands for the hash of an account whose password has not been set yet."""

_NOBODYS_HASH = "$2b$12$vyexDblhPceIS4SyZ0VlPego7ipVLEcOI43lmLo8k6DIPzvIrc7nS"
"""Of a password nobody has: checking an unknown name takes as long as checking a known one."""
_ALGORITHM = "HS256"


def hash_password(password: str) -> str:
    """Return the bcrypt hash of a checked password."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()


def match_password(password: str, stored: str | None) -> bool:
    """Tell whether a password has this hash; it takes the same time when there is none."""
    data = clean_password(password).encode("utf-8", "replace")
    known = stored is not None and stored != UNUSABLE_HASH
    hashed = stored if stored is not None and known else _NOBODYS_HASH
    matches = bcrypt.checkpw(data[:MAX_PASSWORD_BYTES], hashed.encode())
    return matches and known and len(data) <= MAX_PASSWORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a signed token says. It counts only as long as the database agrees."""

    user_id: str
    session_id: str
    version: int
    expires_at: datetime


def sign_token(claims: Claims, *, key: str, audience: str, now: datetime) -> str:
    """Return the claims as a signed token for one purpose."""
    payload = {
        "aud": audience,
        "sub": claims.user_id,
        "sid": claims.session_id,
        "ver": claims.version,
        "iat": int(now.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
    }
    return jwt.encode(payload, key, algorithm=_ALGORITHM)


def read_token(token: str, *, key: str, audience: str, now: datetime) -> Claims | None:
    """Return what a token says; None unless we signed it, for this purpose, and it has not expired."""
    required = ["aud", "sub", "sid", "ver", "iat", "exp"]
    try:
        payload = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=audience,
            # the times are compared with the product's own clock, below
            options={"require": required, "verify_exp": False, "verify_iat": False},
        )
    except jwt.InvalidTokenError:
        return None
    match payload:
        case {"sub": str(user_id), "sid": str(session_id), "ver": int(version), "exp": int(expires)}:
            if expires > now.timestamp():
                expires_at = datetime.fromtimestamp(expires, now.tzinfo)
                return Claims(user_id=user_id, session_id=session_id, version=version, expires_at=expires_at)
    return None


def make_link_token() -> str:
    """Return the secret part of a one-time link."""
    return secrets.token_urlsafe(32)


def hash_link_token(token: str) -> str:
    """Return the only form in which a one-time token is stored."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def seal(text: str, *, key: str) -> str:
    """Return a secret as it is stored, encrypted with a key that is made of ``key``."""
    return _make_cipher(key).encrypt(text.encode()).decode()


def unseal(sealed: str, *, key: str) -> str | None:
    """Return what was sealed; None unless it was, with this key."""
    try:
        return _make_cipher(key).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


def _make_cipher(key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"sealed texts").derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
