"""Makes up the values of secrets: for the local stack, and for a deployment's first versions.

A secret of kind `external` has a value that only its maker knows: nobody asks here for one.
"""

import base64
import json
import secrets
from typing import Literal

KEY_BYTES = 32  # what HS256 wants at least: RFC 7518 section 3.2


def key() -> str:
    """Random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def made_up(kind: Literal["key", "key_set"], key_id: str) -> str:
    """A new value as text: a key, or a key set that holds one key under `key_id`."""
    if kind == "key":
        return key()
    return json.dumps({"current": key_id, "keys": {key_id: key()}})
