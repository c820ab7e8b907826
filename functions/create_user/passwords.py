"""Passwords: which are accepted, and what is stored instead of them.

Rules:
1. NFC first: the same password typed on two keyboards is the same password. Lengths count code
   points of that form.
2. No composition rules (NIST SP 800-63B-4 section 3.1.1.2). Refused are short, very long and
   common ones, and what is little more than the person's own name or address.
3. bcrypt reads 72 bytes and bcrypt 5 raises above them, so it is given the base64 of a keyed
   hash: 44 bytes without NUL for any password, and no two passwords cut to the same start.
4. The key (pepper) is not in the database: a stolen database alone cannot be guessed against.
5. What is stored describes itself, so that cost, pepper and scheme can change one by one:
   `{"alg": "bcrypt-hmac-sha256", "v": 1, "cost": 12, "pepper_kid": "p1", "hash": "$2b$12$..."}`
"""

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import bcrypt

from shared.settings import KeySet

MAX_LENGTH = 1024
_ALGORITHM = "bcrypt-hmac-sha256"
_DRESSING = re.compile(r"^[^a-z]{1,4}|[^a-z]{1,4}$")
_WORD = re.compile(r"[^\W_]+")
_LOOKS_LIKE = str.maketrans("0134578@$!", "oieastbasi")
_OWN_CHARACTERS = 6


@dataclass(frozen=True, slots=True)
class PasswordProblem:
    """Why a password is refused: a stable code and a sentence for people."""

    code: str
    message: str


def normalise(password: str) -> str:
    """The form that is counted, compared and hashed."""
    return unicodedata.normalize("NFC", password)


def find_problem(password: str, min_length: int, context: Iterable[str]) -> PasswordProblem | None:
    """What is wrong with a normalised password; `context` is what anyone knows of its owner."""
    if len(password) < min_length:
        return PasswordProblem("too_short", f"has fewer than {min_length} characters")
    if len(password) > MAX_LENGTH:
        return PasswordProblem("too_long", f"has more than {MAX_LENGTH} characters")
    if _is_common(password):
        return PasswordProblem("too_common", "is among the first that are guessed")
    if _is_like(password, context):
        return PasswordProblem("too_personal", "is little more than the name or the address")
    return None


def _is_common(password: str) -> bool:
    """Whether a guesser tries it early: a listed word, plain, dressed up, or hardly any variety."""
    folded = password.casefold()
    dressed = _DRESSING.sub("", folded)
    undone = _DRESSING.sub("", folded.translate(_LOOKS_LIKE))
    return len(set(folded)) < 4 or not {folded, dressed, undone}.isdisjoint(_common_words())


def _is_like(password: str, context: Iterable[str]) -> bool:
    words = {word for text in context for word in _WORD.findall(text.casefold()) if len(word) > 2}
    rest = folded = "".join(_WORD.findall(password.casefold()))
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != folded and len(rest) < _OWN_CHARACTERS


@cache
def _common_words() -> frozenset[str]:
    lines = (Path(__file__).parent / "common_passwords.txt").read_text("utf-8").split()
    return frozenset(lines)


@dataclass(frozen=True, slots=True)
class StoredPassword:
    """What a user document holds under `password`; see rule 5."""

    cost: int
    pepper_kid: str
    hash: str

    def document(self) -> dict[str, str | int]:
        """Its form in Firestore."""
        return {
            "alg": _ALGORITHM,
            "v": 1,
            "cost": self.cost,
            "pepper_kid": self.pepper_kid,
            "hash": self.hash,
        }


def prehash(password: str, pepper: bytes) -> bytes:
    """What bcrypt is given for a normalised password: 44 bytes of base64."""
    return base64.b64encode(hmac.digest(pepper, password.encode("utf-8"), hashlib.sha256))


@dataclass(frozen=True, slots=True)
class Hasher:
    """Hashes new passwords with the current pepper; takes about 0.25 s at cost 12, by design."""

    peppers: KeySet
    cost: int

    def hash(self, password: str) -> StoredPassword:
        """The record of a normalised password, with a fresh salt. bcrypt releases the GIL."""
        secret = prehash(password, self.peppers.current_key)
        hashed = bcrypt.hashpw(secret, bcrypt.gensalt(self.cost))
        return StoredPassword(self.cost, self.peppers.current, hashed.decode("ascii"))
