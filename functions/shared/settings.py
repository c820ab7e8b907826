"""Settings: environment variables read once, at start, into a frozen dataclass.

A function declares its table as a dataclass whose fields are `variable(...)`; `load` fills it.

Rules:
1. Every wrong variable is named at once, with what it must look like, never with its value.
2. `load_or_exit` ends the process with one line and exit code 1: a function that would fail
   later does not start.
3. A secret may come as NAME or as NAME_FILE, the path of a file that holds it (a Secret Manager
   volume). It does not show in the `repr` of the dataclass.
4. The dataclass is the documentation: `variables(cls)` lists names, defaults and meanings.
"""

import base64
import binascii
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from shared.strict_json import NotStrictJson, parse_object

S = TypeVar("S")
KEY_BYTES = 32  # HS256 wants a key as long as its hash: RFC 7518 section 3.2
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class SettingsError(Exception):
    """Wrong settings; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """One row of the table: an environment variable.

    `parse` raises ValueError for a value that does not look like `shape`. No default: required.
    """

    name: str
    parse: Callable[[str], Any]
    shape: str
    meaning: str
    default: str | None
    secret: bool


@dataclasses.dataclass(frozen=True, slots=True)
class KeySet:
    """Named keys, one of them in use for new work; the others still verify old work."""

    current: str
    keys: Mapping[str, bytes] = dataclasses.field(repr=False)

    @property
    def current_key(self) -> bytes:
        """The key for new work."""
        return self.keys[self.current]


def variable(
    name: str,
    parse: Callable[[str], Any],
    shape: str,
    meaning: str,
    *,
    default: str | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field that is read from the environment variable `name`."""
    row = Variable(name, parse, shape, meaning, default, secret)
    return dataclasses.field(repr=not secret, metadata={"variable": row})


def variables(settings_class: type) -> list[Variable]:
    """The table of a settings dataclass."""
    return [field.metadata["variable"] for field in dataclasses.fields(settings_class)]


def load(settings_class: type[S], environment: Mapping[str, str]) -> S:
    """Read and check every variable, then what its `contradictions()` says of them together.

    Raises:
        SettingsError: naming every wrong variable.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]  # any dataclass
        row: Variable = field.metadata["variable"]
        try:
            values[field.name] = row.parse(_text(row, environment))
        except KeyError:
            problems.append(f"{row.name} is missing: {row.shape}")
        except (ValueError, OSError):
            problems.append(f"{row.name} is wrong: {row.shape}")
    if problems:
        raise SettingsError(problems)
    settings = settings_class(**values)
    contradictions: list[str] = getattr(settings, "contradictions", list)()
    if contradictions:
        raise SettingsError(contradictions)
    return settings


def load_or_exit(settings_class: type[S]) -> S:
    """The settings of this process, or its end: one line on stderr, exit code 1."""
    try:
        return load(settings_class, os.environ)
    except SettingsError as error:
        raise SystemExit(f"refusing to start: {error}") from None


def _text(row: Variable, environment: Mapping[str, str]) -> str:
    path = environment.get(f"{row.name}_FILE", "") if row.secret else ""
    value = environment.get(row.name, "")
    if path and value:
        raise ValueError("given twice")
    if path:
        value = Path(path).read_text("utf-8").rstrip("\r\n")
    if value:
        return value
    if row.default is None:
        raise KeyError(row.name)
    return row.default


# --- what a value may look like -------------------------------------------------------------


def text(value: str) -> str:
    """Any printable text."""
    if not value.isprintable():
        raise ValueError("control characters")
    return value


def matching(pattern: str) -> Callable[[str], str]:
    """Text that matches the whole of a regular expression."""
    compiled = re.compile(pattern)

    def parse(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError("no match")
        return value

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise ValueError("out of range")
        return int(value)

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A duration in seconds, decimals allowed."""

    def parse(value: str) -> float:
        number = float(value)
        if not low <= number <= high:  # false for NaN too
            raise ValueError("out of range")
        return number

    return parse


def secret_key(value: str) -> bytes:
    """Base64 of a key long enough, and not one byte repeated."""
    try:
        key = base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    # 32 random bytes have fewer than 8 different values about never; typed-in ones often do.
    if len(key) < KEY_BYTES or len(set(key)) < 8:
        raise ValueError("weak")
    return key


KEY_SET_SHAPE = (
    'JSON {"current": "kid", "keys": {"kid": "<base64>"}}, '
    f"each key at least {KEY_BYTES} random bytes"
)


def key_set(value: str) -> KeySet:
    """A key set, as KEY_SET_SHAPE says."""
    try:
        parsed = parse_object(value.encode("utf-8"))
    except NotStrictJson:
        raise ValueError("not JSON") from None
    current, keys = parsed.get("current"), parsed.get("keys")
    if set(parsed) != {"current", "keys"} or not isinstance(keys, dict):
        raise ValueError("other members")
    if not isinstance(current, str) or current not in keys:
        raise ValueError("no current key")
    if not all(_KEY_ID.fullmatch(kid) and isinstance(key, str) for kid, key in keys.items()):
        raise ValueError("not names and text")
    return KeySet(current, {kid: secret_key(key) for kid, key in keys.items()})


# --- rows that several functions have -------------------------------------------------------


def project_variable() -> Any:
    """The project that everything lives in."""
    return variable(
        "GOOGLE_CLOUD_PROJECT",
        matching(r"[a-z][a-z0-9-]{1,61}[a-z0-9]"),
        "a project id: lower-case letters, digits and hyphens",
        "the project of Firestore, Pub/Sub and the traces",
    )


def database_variable() -> Any:
    """The Firestore database."""
    return variable(
        "FIRESTORE_DATABASE",
        matching(r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]"),
        "a Firestore database id, or (default)",
        "the Firestore database",
        default="(default)",
    )


def firestore_timeout_variable() -> Any:
    """How long one step in Firestore may take."""
    return variable(
        "FIRESTORE_TIMEOUT_SECONDS",
        seconds(0.1, 30),
        "seconds, 0.1 to 30",
        "bound on one step in Firestore, retries included",
        default="5",
    )


def function_timeout_variable() -> Any:
    """How long one request may take before the platform ends it."""
    return variable(
        "FUNCTION_TIMEOUT_SECONDS",
        seconds(0.1, 3600),
        "seconds, 0.1 to 3600",
        "the timeout that the platform gives the function",
    )
