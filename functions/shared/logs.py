"""One JSON object a line on stdout, in the field names Cloud Logging gives a meaning to.

    {"severity": "INFO", "time": "...", "message": "user_created", "event_id": "...",
     "logging.googleapis.com/trace": "projects/P/traces/T", ...}

Rules:
1. `message` is a constant, so that it can be counted; what varies has a field of its own.
2. An address is written through `mask`. A password, hash, token or key is not written at all.
3. An exception is written as its class and the lines it passed through, never as its text:
   libraries quote what they were given, and they were given addresses.

Source: https://cloud.google.com/logging/docs/structured-logging
"""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Literal

from shared.traces import Trace

Severity = Literal["INFO", "WARNING", "ERROR"]

_context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 - replaced, never changed in place


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add `fields` to every line written by this thread inside the block; None is left out."""
    token = _context.set(_context.get() | fields)
    try:
        yield
    finally:
        _context.reset(token)


def trace_fields(project: str, trace: Trace) -> dict[str, str]:
    """The fields by which Cloud Logging shows a line under its trace."""
    return {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{trace.trace_id}",
        "logging.googleapis.com/spanId": trace.span_id,
    }


def mask(address: str) -> str:
    """`j***@example.com`: enough to recognise a case by, too little to write to."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"


def error_fields(error: BaseException) -> dict[str, Any]:
    """The class of an error, those of its causes, and where it passed; not its text."""
    classes: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(classes) < 5:
        classes.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    where = [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": classes[0], "causes": classes[1:], "where": where}


def write(severity: Severity, message: str, **fields: Any) -> None:
    """Write one line; `fields` win over what is bound. Values are JSON, or written as text."""
    line = {"severity": severity, "time": datetime.now(UTC).isoformat(), "message": message}
    merged = line | {k: v for k, v in (_context.get() | fields).items() if v is not None}
    # One write of one ASCII line: threads do not interleave, and no line separator gets in.
    sys.stdout.write(json.dumps(merged, default=str) + "\n")
    sys.stdout.flush()
