"""Trace context: one trace from the sign-up request to each delivery attempt of its mail.

Cloud Run sends `traceparent` (https://www.w3.org/TR/trace-context/) and the older
`X-Cloud-Trace-Context: TRACE_ID/SPAN_ID;o=FLAGS`. The event carries `traceparent` on, as the
CloudEvents distributed tracing extension names it. Without either header a trace begins here.
"""

import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
)
_CLOUD_TRACE = re.compile(
    r"(?!0{32})([0-9a-f]{32})(?:/([0-9]{1,20}))?(?:;o=([01]))?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Trace:
    """Where in which trace we are: ids in lower-case hex, flags as in `traceparent`."""

    trace_id: str
    span_id: str
    flags: str = "00"

    @property
    def traceparent(self) -> str:
        """The W3C form, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def begin() -> Trace:
    """A new trace, not sampled: whoever samples sends a header."""
    return Trace(secrets.token_hex(16), secrets.token_hex(8))


def read(traceparent: object, cloud_trace: object = None) -> Trace | None:
    """The trace named by a `traceparent` or, failing that, an `X-Cloud-Trace-Context` value."""
    if isinstance(traceparent, str) and (match := _TRACEPARENT.fullmatch(traceparent)):
        return Trace(*match.groups())
    if isinstance(cloud_trace, str) and (match := _CLOUD_TRACE.fullmatch(cloud_trace)):
        trace_id, span, sampled = match.groups()
        span_id = f"{int(span or 0) % 2**64:016x}"
        if int(span_id, 16) == 0:
            span_id = secrets.token_hex(8)
        return Trace(trace_id.lower(), span_id, "01" if sampled == "1" else "00")
    return None
