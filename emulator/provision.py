"""Puts the topology's schemas, topics and subscriptions into a running Pub/Sub.

Through its own API: the same calls that Terraform makes of production, so what a backend does
not take is found here. What is there already is left as it is.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc.aio
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.protobuf import duration_pb2
from google.pubsub_v1 import types
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.schema_service import SchemaServiceAsyncClient
from google.pubsub_v1.services.schema_service.transports import SchemaServiceGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from msgspec.structs import replace

from emulator.backends import BackendName
from emulator.errors import SetupError
from emulator.topology import Subscription, Topic, Topology

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


def schema_name(project: str, topic: str) -> str:
    """projects/PROJECT/schemas/TOPIC: a schema is named as the topic that it is of."""
    return f"projects/{project}/schemas/{topic}"


def topic_request(project: str, name: str, wanted: Topic) -> types.Topic:
    """The topic as Pub/Sub takes it."""
    made = types.Topic(name=topic_name(project, name))
    if wanted.retention_seconds is not None:
        made.message_retention_duration = _seconds(wanted.retention_seconds)
    if wanted.schema is not None:
        made.schema_settings = types.SchemaSettings(
            schema=schema_name(project, name), encoding=wanted.schema.encoding
        )
    return made


def subscription_request(
    project: str, name: str, wanted: Subscription, push_url: str | None
) -> types.Subscription:
    """The subscription as Pub/Sub takes it; `push_url` is the base URL of the function, if any."""
    settings: dict[str, Any] = {
        "name": subscription_name(project, name),
        "topic": topic_name(project, wanted.topic),
        "ack_deadline_seconds": wanted.ack_deadline_seconds,
        "message_retention_duration": _seconds(wanted.retention_seconds),
        "expiration_policy": types.ExpirationPolicy(),  # no ttl: never expires
        "retry_policy": types.RetryPolicy(
            minimum_backoff=_seconds(wanted.minimum_backoff_seconds),
            maximum_backoff=_seconds(wanted.maximum_backoff_seconds),
        ),
    }
    if push_url is not None:
        # functions-framework reads the topic from the path and from nowhere else.
        path = topic_name(project, wanted.topic)
        settings["push_config"] = types.PushConfig(push_endpoint=push_url + path)
    if wanted.dead_letter_topic is not None:
        settings["dead_letter_policy"] = types.DeadLetterPolicy(
            dead_letter_topic=topic_name(project, wanted.dead_letter_topic),
            max_delivery_attempts=wanted.max_delivery_attempts,
        )
    return types.Subscription(**settings)


def for_backend(topology: Topology, backend: BackendName) -> tuple[Topology, list[str]]:
    """The topology as far as the backend takes it, and a sentence for each thing it does not."""
    if backend == "embedded":
        return topology, []
    told = [
        f"Google's Pub/Sub emulator has no protobuf schemas: {name} takes any message"
        for name, topic in topology.topics.items()
        if topic.schema
    ]

    def shortened(subscription: Subscription) -> Subscription:
        kept = min(subscription.retention_seconds, _GCLOUD_RETENTION_SECONDS)
        return replace(subscription, retention_seconds=kept)

    taken = replace(
        topology,
        topics={name: replace(topic, schema=None) for name, topic in topology.topics.items()},
        subscriptions={name: shortened(sub) for name, sub in topology.subscriptions.items()},
    )
    for name, push in topology.pushes.items():
        kept = shortened(push).retention_seconds
        taken = taken.with_push(name, retention_seconds=kept)
    return taken, told


async def provision(
    topology: Topology,
    *,
    project: str,
    address: str,
    definitions: Path,
    push_urls: Mapping[str, str],
) -> None:
    """Create every schema, topic and subscription of the topology in the Pub/Sub at `address`.

    `definitions` is the folder that the schemas' paths are in; `push_urls` has each function's
    base URL.

    Raises:
        SetupError: Pub/Sub refuses something, with what it said; a definition cannot be read.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        subscriber = SubscriberAsyncClient(
            transport=SubscriberGrpcAsyncIOTransport(channel=channel)
        )
        for name, topic in topology.topics.items():
            if topic.schema is not None:
                schemas = SchemaServiceAsyncClient(
                    transport=SchemaServiceGrpcAsyncIOTransport(channel=channel)
                )
                definition = _text(definitions / topic.schema.definition)
                schema = _schema_request(project, name, definition)
                await _create(f"schema {name}", schemas.create_schema, schema)
            made = topic_request(project, name, topic)
            await _create(f"topic {name}", publisher.create_topic, made)
        for name, wanted in {**topology.subscriptions, **topology.pushes}.items():
            request = subscription_request(project, name, wanted, push_urls.get(name))
            await _create(f"subscription {name}", subscriber.create_subscription, request)


def _text(definition: Path) -> str:
    try:
        return definition.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{definition}: cannot be read as UTF-8: {error}") from error


def _schema_request(project: str, topic: str, definition: str) -> types.CreateSchemaRequest:
    kind = types.Schema.Type.PROTOCOL_BUFFER
    return types.CreateSchemaRequest(
        parent=f"projects/{project}",
        schema_id=topic,
        schema=types.Schema(type_=kind, definition=definition),
    )


async def _create(what: str, create: Callable[..., Awaitable[object]], request: Any) -> None:
    try:
        await create(request, timeout=_TIMEOUT_SECONDS)
    except AlreadyExists:
        return
    except GoogleAPICallError as error:
        raise SetupError(f"Pub/Sub does not take {what} of the topology: {error}") from error
