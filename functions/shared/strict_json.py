"""JSON as two programs can agree on it (RFC 8259, and I-JSON's RFC 7493 where 8259 is loose).

Refused, beyond what is malformed: anything but an object at the top, two equal keys in one
object, NaN and infinities (`1e999` too), lone surrogates, another encoding than UTF-8, a byte
order mark, integers of thousands of digits, and nesting deeper than the interpreter follows.
"""

import json
from typing import Any


class NotStrictJson(ValueError):
    """The bytes are not one such object. The message never quotes them."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise NotStrictJson("an object has the same key twice")
    return parsed


def parse_object(data: bytes) -> dict[str, Any]:
    """The object that `data` holds.

    Raises:
        NotStrictJson: with a reason that is safe to show and to log.
    """
    try:
        parsed = json.loads(data.decode("utf-8"), object_pairs_hook=_unique_keys)
        # Writing it back is the shortest complete check for what `loads` lets through: NaN,
        # infinities and lone surrogates, at any depth.
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except NotStrictJson:
        raise
    except UnicodeError:
        raise NotStrictJson("the text is not valid Unicode in UTF-8") from None
    except RecursionError:
        raise NotStrictJson("the nesting is too deep") from None
    except ValueError:
        raise NotStrictJson("the text is not valid JSON") from None
    if not isinstance(parsed, dict):
        raise NotStrictJson("the top value is not an object")
    return parsed
