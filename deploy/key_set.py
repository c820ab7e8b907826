"""Rotates the keys of a key set: add a key, make it the current one, drop a retired one.

    {"current": "2026-11", "keys": {"2026-11": "base64 of 32 random bytes", ...}}

1. A key set is valid before and after, by the rules with which the functions read it
   (functions/shared/settings.py, which this may not import; a test holds the two together): what
   this writes never keeps a function from starting.
2. No message quotes a value.

A key goes live in three deployments: added, so that every instance can verify with it; made
current; the old one dropped, once nothing that it signed is valid any more.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from deploy.errors import UnmetError
from emulator.secret_values import KEY_BYTES, key

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MEND = "nothing was written; pass on a whole key set: gcloud secrets versions access ..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("the same name twice")
    return table


def _is_strong(value: object) -> bool:
    """Whether it is base64 of enough bytes, which are not one byte over and over."""
    if not isinstance(value, str):
        return False
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(data) >= KEY_BYTES and len(set(data)) >= 8


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by their ids, in base64. No `repr` shows them."""

    current: str
    keys: dict[str, str]

    def __repr__(self) -> str:
        return f"KeySet(current={self.current!r}, ids={list(self.keys)!r})"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a key set, in UTF-8.

        Raises:
            UnmetError: it is not one; which rule it breaks.
        """
        try:
            document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            raise UnmetError("standard input is not JSON with each name once", _MEND) from None
        if not isinstance(document, dict) or set(document) != {"current", "keys"}:
            raise UnmetError("a key set has the members current and keys, and no other", _MEND)
        current, keys = document["current"], document["keys"]
        if not isinstance(keys, dict) or not all(_KEY_ID.fullmatch(key_id) for key_id in keys):
            raise UnmetError(f"keys is an object; an id in it is {_KEY_ID.pattern}", _MEND)
        if not isinstance(current, str) or current not in keys:
            raise UnmetError("current is not the id of one of the keys", _MEND)
        if not all(map(_is_strong, keys.values())):
            raise UnmetError(
                f"a key is base64 of {KEY_BYTES} random bytes or more; one is not", _MEND
            )
        return cls(current, keys)

    def dump(self) -> str:
        """The key set as the functions read it."""
        return json.dumps({"current": self.current, "keys": self.keys})

    def add(self, key_id: str) -> Self:
        """With a new random key, which is not the current one yet."""
        if not _KEY_ID.fullmatch(key_id):
            raise UnmetError(f"{key_id!r} is not an id for a key", f"an id is {_KEY_ID.pattern}")
        if key_id in self.keys:
            raise UnmetError(
                f"there is a key {key_id} already", f"choose another id than {self._ids()}"
            )
        return type(self)(self.current, {**self.keys, key_id: key()})

    def use(self, key_id: str) -> Self:
        """With `key_id` as the current key: new work uses it."""
        self._must_have(key_id)
        return type(self)(key_id, self.keys)

    def drop(self, key_id: str) -> Self:
        """Without a key: what it signed or hashed can no longer be verified."""
        self._must_have(key_id)
        if key_id == self.current:
            raise UnmetError(
                f"key {key_id} is the current one", "use another first: key-set use KEY_ID"
            )
        return type(self)(self.current, {k: v for k, v in self.keys.items() if k != key_id})

    def _must_have(self, key_id: str) -> None:
        if key_id not in self.keys:
            raise UnmetError(f"there is no key {key_id}", f"there are: {self._ids()}")

    def _ids(self) -> str:
        return ", ".join(sorted(self.keys))


CHANGES: dict[str, Callable[[KeySet, str], KeySet]] = {
    "add": KeySet.add,
    "use": KeySet.use,
    "drop": KeySet.drop,
}
