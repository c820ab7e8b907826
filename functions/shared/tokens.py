"""JWTs (RFC 7519) as RFC 8725 advises: one algorithm, a kind in `typ`, every claim required.

Rules:
1. HS256 and nothing else, whatever a token's header says.
2. `kid` picks the key: one key signs, all of them verify. Rotate by adding a key, then making it
   the signing one, then removing the old one when its last token has expired.
3. A token made for one purpose is refused for another: `typ` and `aud` both say which.
4. Claims are iss, sub, aud, iat, nbf, exp, jti, and the few a purpose adds; nothing of the record.
5. PyJWT accepts a token without `exp`: `read` therefore requires every claim by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import jwt

from shared.settings import KeySet

ALGORITHM = "HS256"
CLAIMS = ("iss", "sub", "aud", "iat", "nbf", "exp", "jti")


class InvalidToken(Exception):
    """Not a token of this kind, or not any more. Says nothing about why."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One kind of token: who issues it, for whom, for how long, and what else it carries."""

    keys: KeySet
    issuer: str
    audience: str
    typ: str
    ttl_seconds: int
    extra_claims: tuple[str, ...] = field(default=())

    def issue(
        self, subject: str, issued_time: datetime, jti: str, extra: Mapping[str, str] | None = None
    ) -> str:
        """A signed token; equal arguments give an equal token.

        Raises:
            ValueError: `extra` does not have exactly the claims of this kind.
        """
        extra = dict(extra or {})
        if set(extra) != set(self.extra_claims):
            raise ValueError(f"a {self.typ} carries {self.extra_claims}")
        issued = int(issued_time.timestamp())
        claims = {
            "iss": self.issuer,
            "sub": subject,
            "aud": self.audience,
            "iat": issued,
            "nbf": issued,
            "exp": issued + self.ttl_seconds,
            "jti": jti,
        }
        headers = {"kid": self.keys.current, "typ": self.typ}
        return jwt.encode(claims | extra, self.keys.current_key, ALGORITHM, headers)

    def read(self, token: str) -> Mapping[str, Any]:
        """The claims of a valid token.

        Raises:
            InvalidToken: malformed, unknown or wrong key, wrong kind, issuer or audience, a
                claim missing, not yet or no longer valid.
        """
        try:
            header = jwt.get_unverified_header(token)
            key = self.keys.keys.get(str(header.get("kid")))
            if key is None or header.get("typ") != self.typ:
                raise InvalidToken
            return jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self.audience,
                issuer=self.issuer,
                options={"require": [*CLAIMS, *self.extra_claims], "strict_aud": True},
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken from error
