"""Puts the topology's topics and subscriptions into a running Pub/Sub, through its own API.

The same calls that Terraform makes of production, so what a backend does not take is found
here. What is there already is left as it is.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc.aio
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.protobuf import duration_pb2
from google.pubsub_v1 import types
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from msgspec.structs import replace

from emulator.backends import BackendName
from emulator.errors import SetupError
from emulator.topology import Subscription, Topology

_TIMEOUT_SECONDS = 20.0
# Production keeps 31 days; Google's emulator refuses more than 7.
# DIFFERS: docs/differences.md. Observed: gcloud Pub/Sub emulator 0.8.20.
_GCLOUD_RETENTION_SECONDS = 604_800


def _seconds(value: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(value), nanos=round(value % 1 * 1e9))


def topic_name(project: str, topic: str) -> str:
    """projects/PROJECT/topics/TOPIC."""
    return f"projects/{project}/topics/{topic}"


def subscription_name(project: str, subscription: str) -> str:
    """projects/PROJECT/subscriptions/SUBSCRIPTION."""
    return f"projects/{project}/subscriptions/{subscription}"


def subscription_request(
    project: str, name: str, wanted: Subscription, push_urls: Mapping[str, str]
) -> types.Subscription:
    """The subscription as Pub/Sub takes it; `push_urls` gives each function's base URL."""
    settings: dict[str, Any] = {
        "name": subscription_name(project, name),
        "topic": topic_name(project, wanted.topic),
        "ack_deadline_seconds": wanted.ack_deadline_seconds,
        "message_retention_duration": _seconds(wanted.retention_seconds),
        "expiration_policy": types.ExpirationPolicy(),  # no ttl: never expires
    }
    if wanted.push_to is not None:
        # functions-framework reads the topic from the path and from nowhere else.
        path = topic_name(project, wanted.topic)
        settings["push_config"] = types.PushConfig(push_endpoint=push_urls[wanted.push_to] + path)
    if wanted.minimum_backoff_seconds is not None or wanted.maximum_backoff_seconds is not None:
        low, high = wanted.minimum_backoff_seconds, wanted.maximum_backoff_seconds
        settings["retry_policy"] = types.RetryPolicy(
            minimum_backoff=_seconds(10 if low is None else low),
            maximum_backoff=_seconds(600 if high is None else high),
        )
    if wanted.dead_letter_topic is not None:
        settings["dead_letter_policy"] = types.DeadLetterPolicy(
            dead_letter_topic=topic_name(project, wanted.dead_letter_topic),
            max_delivery_attempts=wanted.max_delivery_attempts,
        )
    return types.Subscription(**settings)


def for_backend(wanted: Subscription, backend: BackendName) -> Subscription:
    """The subscription as far as the backend takes it."""
    if backend == "embedded":
        return wanted
    kept = min(wanted.retention_seconds, _GCLOUD_RETENTION_SECONDS)
    return replace(wanted, retention_seconds=kept)


async def provision(
    topology: Topology,
    *,
    project: str,
    backend: BackendName,
    address: str,
    push_urls: Mapping[str, str],
) -> None:
    """Create every topic and subscription of the topology in the Pub/Sub at `address`.

    Raises:
        SetupError: the backend refuses one; what it said.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        subscriber = SubscriberAsyncClient(
            transport=SubscriberGrpcAsyncIOTransport(channel=channel)
        )
        for name, topic in topology.topics.items():
            request = types.Topic(name=topic_name(project, name))
            if topic.retention_seconds:
                request.message_retention_duration = _seconds(topic.retention_seconds)
            await _create(publisher.create_topic, request)
        for name, wanted in topology.subscriptions.items():
            made = subscription_request(project, name, for_backend(wanted, backend), push_urls)
            await _create(subscriber.create_subscription, made)


async def _create(create: Callable[..., Awaitable[object]], request: Any) -> None:
    try:
        await create(request, timeout=_TIMEOUT_SECONDS)
    except AlreadyExists:
        return
    except GoogleAPICallError as error:
        raise SetupError(
            f"Pub/Sub does not take {request.name} of the topology: {error}"
        ) from error
