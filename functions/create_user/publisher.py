"""Pub/Sub: publish one message and know, within seconds, whether it was taken.

The client library's `publish` batches in a background thread, forgets its timeout there and goes
on for 600 s. One unary Publish call with a deadline is all an event needs; what it cannot do in
time, the outbox remembers.
"""

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.cloud.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher import PublisherClient as PublishCalls

from shared.events import Message

from .outbox import PublishRefused, PublishUnavailable

_AGAIN_AT_ONCE = if_exception_type(
    exceptions.Aborted,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)


class PubSubPublisher:
    """Publishes to one topic."""

    def __init__(self, project: str, topic: str, timeout_seconds: float) -> None:
        self._topic = f"projects/{project}/topics/{topic}"
        self._timeout_seconds = timeout_seconds
        # The outer client is the one that knows PUBSUB_EMULATOR_HOST; only its channel is used.
        self._calls = PublishCalls(transport=PublisherClient().transport)

    def publish(self, message: Message) -> None:
        """Return when Pub/Sub has stored the message.

        Raises:
            PublishUnavailable: not confirmed within the timeout; it may have been stored.
            PublishRefused: this message is invalid.
        """
        request = {
            "topic": self._topic,
            "messages": [{"data": message.data, "attributes": dict(message.attributes)}],
        }
        seconds = self._timeout_seconds
        retry = Retry(_AGAIN_AT_ONCE, initial=0.05, maximum=0.5, multiplier=2, timeout=seconds)
        try:
            self._calls.publish(request=request, retry=retry, timeout=seconds)
        except exceptions.InvalidArgument as error:
            raise PublishRefused("invalid message") from error
        except exceptions.GoogleAPIError as error:
            # A missing topic or permission is here too: an outage of our own making, which the
            # relay outlives as well.
            raise PublishUnavailable(type(error).__name__) from error
