"""Firestore as the functions use it: calls bounded in time, outages told from mistakes.

Rules:
1. Every call passes `**bounded(seconds)`: the library's own policy would go on for a minute.
2. Every call runs inside `outages_named()`: what may pass becomes `StoreUnavailable`, which the
   edges answer with "later"; anything else is a mistake of ours and stays what it is.
3. `StoreUnavailable` after a write says that the outcome is unknown, not that it failed.
4. `AlreadyExists` and `Aborted` are both `Conflict` in google.api_core: name them, never that.

Source: https://firebase.google.com/docs/firestore/understand-error-codes
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.cloud import firestore

_AGAIN_AT_ONCE = (
    exceptions.ServiceUnavailable,
    exceptions.ResourceExhausted,
    exceptions.Aborted,
)
_MAY_PASS = (
    *_AGAIN_AT_ONCE,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.Unknown,
    exceptions.Cancelled,
    exceptions.RetryError,
)


class StoreUnavailable(Exception):
    """Firestore did not answer, not in time, or under too much contention."""


def connect(project: str, database: str) -> firestore.Client:
    """A client; it finds Google's emulator by FIRESTORE_EMULATOR_HOST."""
    return firestore.Client(project=project, database=database)


def bounded(seconds: float) -> dict[str, Any]:
    """The `retry` and `timeout` arguments of a call that ends within `seconds`."""
    predicate = if_exception_type(*_AGAIN_AT_ONCE)
    retry = Retry(predicate, initial=0.05, maximum=0.5, multiplier=2, timeout=seconds)
    return {"retry": retry, "timeout": seconds}


@contextmanager
def outages_named() -> Iterator[None]:
    """Turn the errors that may pass by themselves into `StoreUnavailable`."""
    try:
        yield
    except _MAY_PASS as error:
        raise StoreUnavailable(type(error).__name__) from error
