"""Tokens: the exact claims, one algorithm, rotation, and nothing malformed gets through."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings import KeySet
from shared.tokens import CLAIMS, InvalidToken, Tokens
from tests.unit.fakes import KEY, KEYS, OTHER_KEY

ACCESS = Tokens(KEYS, "issuer", "audience", "at+jwt", 900)
NOW = datetime.now(UTC)
GOOD = ACCESS.issue("u-1", NOW, "j-1")


def forged(headers: dict[str, Any] | None = None, key: bytes = KEY, **claims: Any) -> str:
    base = jwt.decode(GOOD, options={"verify_signature": False}) | claims
    base = {name: value for name, value in base.items() if value is not ...}
    return jwt.encode(base, key, "HS256", {"kid": "k1", "typ": "at+jwt"} | (headers or {}))


def test_a_token_has_exactly_its_claims() -> None:
    """Seven, and sub is text."""
    claims = ACCESS.read(GOOD)
    assert set(claims) == set(CLAIMS)
    assert (claims["sub"], claims["jti"]) == ("u-1", "j-1")


def test_equal_arguments_give_an_equal_token() -> None:
    """A link is the same on every retry."""
    assert ACCESS.issue("u-1", NOW, "j-1") == GOOD


def test_an_old_key_verifies_and_a_removed_one_does_not() -> None:
    """Rotation without downtime."""
    old = Tokens(KeySet("k0", {"k0": OTHER_KEY}), "issuer", "audience", "at+jwt", 900)
    token = old.issue("u-1", NOW, "j-1")
    assert ACCESS.read(token)["sub"] == "u-1"
    rotated = Tokens(KeySet("k1", {"k1": KEY}), "issuer", "audience", "at+jwt", 900)
    with pytest.raises(InvalidToken):
        rotated.read(token)


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_is_required(claim: str) -> None:
    """PyJWT by itself accepts a token without exp."""
    with pytest.raises(InvalidToken):
        ACCESS.read(forged(**{claim: ...}))


def unsigned() -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"k1","typ":"at+jwt"}').rstrip(b"=")
    return f"{header.decode()}.{GOOD.split('.')[1]}."


@pytest.mark.parametrize(
    "token",
    [
        forged(exp=int((NOW - timedelta(seconds=1)).timestamp())),
        forged(nbf=int((NOW + timedelta(hours=1)).timestamp())),
        forged(iss="other"),
        forged(aud="other"),
        forged(aud=["audience", "other"]),
        forged(sub=7),
        forged(exp="soon"),
        forged(key=OTHER_KEY),
        forged({"kid": "k0"}),
        forged({"kid": "k9"}),
        forged({"kid": "../../dev/null"}),
        forged({"typ": "verify-email+jwt"}),
        forged({"typ": "JWT"}),
        jwt.encode(ACCESS.read(GOOD), KEY * 2, "HS512", {"kid": "k1", "typ": "at+jwt"}),
        unsigned(),
        GOOD[:-2],
        GOOD + "x",
        GOOD.replace(".", ""),
        GOOD.rsplit(".", 1)[0],
        f".{GOOD}",
        "",
        "..",
        "a.b.c",
        "é.é.é",
        "\x00",
        "=" * 100,
    ],
)
def test_anything_else_is_an_invalid_token(token: str) -> None:
    """One exception for all of it."""
    with pytest.raises(InvalidToken):
        ACCESS.read(token)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), st.text() | st.none()),
    st.one_of(st.text(), st.integers(), st.none(), st.lists(st.none())),
)
def test_a_malformed_token_raises_nothing_else(header: dict[str, Any], payload: Any) -> None:
    """Whatever is in its parts."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, payload))
    with pytest.raises(InvalidToken):
        ACCESS.read(b".".join([*parts, b"x"]).decode())


def test_a_kind_carries_its_own_claims_and_no_others() -> None:
    """Two kinds do not pass for each other, and a missing extra is a mistake at once."""
    link = Tokens(KEYS, "issuer", "audience", "verify-email+jwt", 900, ("purpose",))
    token = link.issue("u-1", NOW, "j-1", {"purpose": "verify_email"})
    assert link.read(token)["purpose"] == "verify_email"
    with pytest.raises(InvalidToken):
        ACCESS.read(token)
    with pytest.raises(ValueError, match="carries"):
        link.issue("u-1", NOW, "j-1")
    with pytest.raises(ValueError, match="carries"):
        ACCESS.issue("u-1", NOW, "j-1", {"email": "ada@example.com"})
