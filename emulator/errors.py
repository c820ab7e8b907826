"""What a service can refuse, in the words of google.rpc.Code.

The core raises these; `wire.py` alone turns them into gRPC statuses. A raised error means
that nothing was changed. `SetupError` is the one that is not a service's.
Source: https://cloud.google.com/apis/design/errors
"""

from collections.abc import Mapping


class ServiceError(Exception):
    """A refusal. `code` is the name of a google.rpc.Code; `reasons` become an ErrorInfo detail.

    `reasons` maps a key (for example an ack id) to the machine-readable reason given for it.
    """

    code = "UNKNOWN"

    def __init__(self, message: str, reasons: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reasons = dict(reasons or {})


class InvalidArgument(ServiceError):
    """The request is wrong whatever the state; the message names the field."""

    code = "INVALID_ARGUMENT"


class NotFound(ServiceError):
    """The named resource does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """The resource to create exists."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """The state forbids it, and trying again will not help."""

    code = "FAILED_PRECONDITION"


class Aborted(ServiceError):
    """A concurrent change won: try the whole transaction again."""

    code = "ABORTED"


class OutOfRange(ServiceError):
    """A value is outside what the field allows."""

    code = "OUT_OF_RANGE"


class ResourceExhausted(ServiceError):
    """A quota or a size is used up."""

    code = "RESOURCE_EXHAUSTED"


class PermissionDenied(ServiceError):
    """Forbidden."""

    code = "PERMISSION_DENIED"


class Unimplemented(ServiceError):
    """The method or the field is not supported here; the message names it."""

    code = "UNIMPLEMENTED"


class DeadlineExceeded(ServiceError):
    """It took too long."""

    code = "DEADLINE_EXCEEDED"


class Cancelled(ServiceError):
    """The caller, or a shutdown, ended it."""

    code = "CANCELLED"


class SetupError(Exception):
    """Not a service's refusal: something on this machine that its user must put right.

    The message is for the user, whole: what is wrong and what to do next.
    """
