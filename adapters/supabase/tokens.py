"""Short-lived tokens for single people, so that the database itself keeps them apart."""

from __future__ import annotations

import json
import time

import jwt

LIFETIME_S = 14 * 60
_SKEW_S = 60
"""Our clock may be so much ahead of the database's."""
_MIN_SECRET = 32
_ALGORITHMS = {"EC": "ES256", "RSA": "RS256", "oct": "HS256"}
_RULE = (
    "SUPABASE_SIGNING_KEY is none: it must be a private key as a JWK in JSON, "
    f"or the project's shared secret of at least {_MIN_SECRET} characters."
)


class TokenSigner:
    """Signs with a private JWK (ES256, named by its kid) or a shared secret (HS256). Raises `ValueError`."""

    def __init__(self, signing_key: str) -> None:
        self._headers: dict[str, str] = {}
        if signing_key.lstrip().startswith("{"):
            self._read_jwk(signing_key)
        elif len(signing_key) >= _MIN_SECRET:
            self._key, self._algorithm = signing_key, "HS256"
        else:
            raise ValueError(_RULE)

    def _read_jwk(self, text: str) -> None:
        try:
            jwk = json.loads(text)
            self._algorithm = _ALGORITHMS[jwk["kty"]]
            if self._algorithm != "HS256" and "d" not in jwk:  # that would be the public half
                raise ValueError(_RULE)
            self._key = jwt.PyJWK.from_dict(jwk, self._algorithm).key
            if "kid" in jwk:
                self._headers["kid"] = str(jwk["kid"])
            self.sign("")
        except (ValueError, KeyError, TypeError, jwt.PyJWTError):
            raise ValueError(_RULE) from None  # what went wrong may quote the key

    def sign(self, user_id: str) -> str:
        """Return a token of that person, good for `LIFETIME_S`."""
        now = int(time.time())
        claims = {
            "sub": user_id,
            "role": "authenticated",
            "aud": "authenticated",
            "iat": now - _SKEW_S,
            "exp": now + LIFETIME_S,
        }
        return jwt.encode(claims, self._key, algorithm=self._algorithm, headers=self._headers or None)
