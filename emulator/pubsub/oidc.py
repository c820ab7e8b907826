"""The identity that signs pushes: a key of the emulator's own, and what is needed to check it.

A push with `oidc_token` carries `Authorization: Bearer <JWT>`, RS256, for example
    {"iss": "http://127.0.0.1:8086", "aud": "https://example.com/push", "sub": "1097...",
     "azp": "1097...", "email": "pusher@p.iam.gserviceaccount.com", "email_verified": true,
     "iat": 1700000000, "exp": 1700003600}
`iss` is the HTTP side, which serves the OpenID configuration and the key set.

The key is made at its first use (it takes a tenth of a second) and lives as long as the server.
Source: https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

import asyncio
import hashlib
from typing import Any

from emulator.clock import SECOND_US, Clock

LIFE_SECONDS = 3600
_RENEW_SECONDS = 300  # a token is used again until this long before its end
JWKS_PATH = "/oauth2/v3/certs"


class Identity:
    """The issuer `url` and its key."""

    def __init__(self, clock: Clock) -> None:
        self.url = ""
        self._clock = clock
        self._key: asyncio.Future[Any] | None = None
        self._tokens: dict[tuple[str, str], tuple[int, str]] = {}

    def prepare(self) -> None:
        """Begin to make the key, so that the first push need not wait for it."""
        if self._key is None:
            self._key = asyncio.ensure_future(asyncio.to_thread(_make_key))

    async def close(self) -> None:
        """Wait for a key that is being made: a thread cannot be stopped."""
        if self._key is not None:
            await self._key

    async def _private_key(self) -> Any:
        self.prepare()
        assert self._key is not None  # noqa: S101  # tells mypy
        return await asyncio.shield(self._key)

    async def token(self, email: str, audience: str) -> str:
        """A token for the account and audience, made or still good."""
        key = await self._private_key()
        now = self._clock.now_us() // SECOND_US
        expires, token = self._tokens.get((email, audience), (0, ""))
        if expires - _RENEW_SECONDS > now:
            return token
        import jwt

        account_id = str(int.from_bytes(hashlib.sha256(email.encode()).digest()[:8]))
        claims = {
            "iss": self.url,
            "aud": audience,
            "azp": account_id,
            "sub": account_id,
            "email": email,
            "email_verified": True,
            "iat": now,
            "exp": now + LIFE_SECONDS,
        }
        token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": _key_id(key)})
        self._tokens[email, audience] = now + LIFE_SECONDS, token
        return token

    async def jwks(self) -> dict[str, Any]:
        """The key set: {"keys": [{"kty": "RSA", "kid": ..., "n": ..., "e": "AQAB", ...}]}."""
        key = await self._private_key()
        from jwt.algorithms import RSAAlgorithm

        public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": _key_id(key), "alg": "RS256", "use": "sig"}]}

    def configuration(self) -> dict[str, Any]:
        """The OpenID configuration."""
        return {
            "issuer": self.url,
            "jwks_uri": self.url + JWKS_PATH,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "sub"],
        }


def _make_key() -> Any:
    import jwt  # noqa: F401  # here, in a thread, rather than with the first push
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _key_id(key: Any) -> str:
    modulus: int = key.public_key().public_numbers().n
    return hashlib.sha256(modulus.to_bytes(256)).hexdigest()[:40]
