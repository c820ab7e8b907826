"""google.pubsub.v1 resources to settings and back, field by field.

1. A field that is not honoured is refused with UNIMPLEMENTED by its name. In lenient mode it
   is stored, echoed and logged instead.
2. Output-only fields of a request are ignored.
3. An update takes the fields its mask names; one that may not change, or is none, is refused.

Source: the comments of google/pubsub/v1/pubsub.proto.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from emulator.errors import InvalidArgument, Unimplemented
from emulator.pubsub import names, pb
from emulator.pubsub.message import Delivery
from emulator.pubsub.schema_service import settings_from_pb, settings_to_pb
from emulator.pubsub.seek import Snapshot
from emulator.pubsub.settings import (
    DeadLetterPolicy,
    PushSettings,
    RetryPolicy,
    SubscriptionSettings,
    TopicSettings,
)
from emulator.pubsub.subscription import Subscription

log = logging.getLogger(__name__)

# Field -> why it is not honoured.
UNSUPPORTED_TOPIC_FIELDS = {
    "kms_key_name": "there is no Cloud KMS here",
    "ingestion_data_source_settings": "nothing is imported from outside",
    "message_transforms": "no JavaScript is run",
    "message_storage_policy": "there are no regions",
    "tags": "there is no Resource Manager",
}
UNSUPPORTED_SUBSCRIPTION_FIELDS = {
    "bigquery_config": "there is no BigQuery",
    "cloud_storage_config": "there is no Cloud Storage",
    "bigtable_config": "there is no Bigtable",
    "message_transforms": "no JavaScript is run",
    "tags": "there is no Resource Manager",
}
_TOPIC_UPDATES = frozenset(
    {"labels", "message_retention_duration", "schema_settings"}
    | (UNSUPPORTED_TOPIC_FIELDS.keys() - {"tags"})
)
_SUBSCRIPTION_UPDATES = frozenset(
    {
        "push_config",
        "ack_deadline_seconds",
        "retain_acked_messages",
        "message_retention_duration",
        "labels",
        "expiration_policy",
        "dead_letter_policy",
        "retry_policy",
        "enable_exactly_once_delivery",
    }
    | (UNSUPPORTED_SUBSCRIPTION_FIELDS.keys() - {"tags"})
)


def _other(message: Any, unsupported: Mapping[str, str], lenient: bool) -> dict[str, Any]:
    """The fields set that are not honoured; refused unless lenient."""
    found = {}
    for descriptor, value in message.ListFields():
        reason = unsupported.get(descriptor.name)
        if reason is None:
            continue
        kind = message.DESCRIPTOR.name
        if not lenient:
            raise Unimplemented(f"{kind}.{descriptor.name} is not supported: {reason}")
        log.warning("%s.%s is stored but not honoured: %s", kind, descriptor.name, reason)
        found[descriptor.name] = value
    return found


def _echo(other: Mapping[str, Any], message: Any) -> None:
    for name, value in other.items():
        if isinstance(value, str):
            setattr(message, name, value)
        elif hasattr(value, "items"):
            getattr(message, name).update(value)
        elif hasattr(value, "DESCRIPTOR"):
            getattr(message, name).CopyFrom(value)
        else:
            getattr(message, name).extend(value)


def check_mask(kind: str, known: Any, paths: Iterable[str], mutable: frozenset[str]) -> set[str]:
    """The fields an update names.

    Raises:
        InvalidArgument: none, an unknown one, or one that cannot change; the words of Google's
            emulator 0.8.20.
    """
    named = set(paths)
    if not named:
        raise InvalidArgument(
            f"The update_mask in the Update{kind}Request must be set, and must contain a "
            "non-empty paths list."
        )
    for path in sorted(named):
        if path in mutable:
            continue
        if path in known.fields_by_name:
            why = f"the {path} field in the {kind} is not mutable."
        else:
            why = f"{path} is not a known {kind} field."
        raise InvalidArgument(f"Invalid update_mask provided in the Update{kind}Request: {why}")
    return named


def refuse_tags(message: Any, *, lenient: bool) -> None:
    """Refuse, or warn of, the tags of a CreateSnapshotRequest."""
    _other(message, {"tags": UNSUPPORTED_TOPIC_FIELDS["tags"]}, lenient)


def topic_from(message: Any, *, lenient: bool) -> TopicSettings:
    """The settings in a Topic."""
    retention = None
    if message.HasField("message_retention_duration"):
        retention = pb.duration_us("message_retention_duration", message.message_retention_duration)
    return TopicSettings(
        name=message.name,
        labels=dict(message.labels),
        message_retention_us=retention,
        schema_settings=settings_from_pb(message.schema_settings)
        if message.schema_settings.ByteSize()
        else None,
        other=_other(message, UNSUPPORTED_TOPIC_FIELDS, lenient),
    )


def updated_topic(
    present: TopicSettings, message: Any, paths: Iterable[str], *, lenient: bool
) -> TopicSettings:
    """The present settings with the named fields of the message."""
    flat = {
        path.partition(".")[0] if path.startswith("schema_settings.") else path: path
        for path in paths
    }
    named = check_mask("Topic", pb.Topic.DESCRIPTOR, flat, _TOPIC_UPDATES)
    given = pb.Topic(name=present.name)
    for name in named:
        _copy_field(message, given, name)
    asked = topic_from(given, lenient=lenient)
    schema_settings = (
        asked.schema_settings if "schema_settings" in named else (present.schema_settings)
    )
    parts = {p.partition(".")[2] for p in paths if p.startswith("schema_settings.")}
    if parts:
        merged = pb.Topic().schema_settings
        if present.schema_settings is not None:
            merged = settings_to_pb(present.schema_settings)
        known = merged.DESCRIPTOR
        check_mask("SchemaSettings", known, parts, frozenset(known.fields_by_name))
        for part in parts:
            setattr(merged, part, getattr(message.schema_settings, part))
        schema_settings = settings_from_pb(merged)
    return TopicSettings(
        name=present.name,
        labels=asked.labels if "labels" in named else present.labels,
        message_retention_us=asked.message_retention_us
        if "message_retention_duration" in named
        else present.message_retention_us,
        schema_settings=schema_settings,
        other={k: v for k, v in present.other.items() if k not in named} | dict(asked.other),
    )


def _copy_field(source: Any, target: Any, name: str) -> None:
    for descriptor, value in source.ListFields():
        if descriptor.name == name:
            if descriptor.message_type is None and not hasattr(value, "extend"):
                setattr(target, name, value)
            else:
                _echo({name: value}, target)


def topic_to(settings: TopicSettings) -> Any:
    """The Topic that shows these settings."""
    message = pb.Topic(name=settings.name, labels=settings.labels, state=1)
    if settings.message_retention_us is not None:
        pb.set_duration(message.message_retention_duration, settings.message_retention_us)
    schema = settings.schema_settings
    if schema is not None:
        message.schema_settings.CopyFrom(settings_to_pb(schema))
    _echo(settings.other, message)
    return message


def push_from(message: Any) -> PushSettings:
    """The settings in a PushConfig."""
    return PushSettings(
        endpoint=message.push_endpoint,
        attributes=dict(message.attributes),
        has_oidc=message.HasField("oidc_token"),
        oidc_email=message.oidc_token.service_account_email,
        oidc_audience=message.oidc_token.audience,
        has_wrapper=message.HasField("pubsub_wrapper"),
        no_wrapper=message.HasField("no_wrapper"),
        write_metadata=message.no_wrapper.write_metadata,
    )


def _push_to(push: PushSettings, message: Any) -> None:
    message.SetInParent()
    message.push_endpoint = push.endpoint
    message.attributes.update(push.attributes)
    if push.has_oidc:
        message.oidc_token.service_account_email = push.oidc_email
        message.oidc_token.audience = push.oidc_audience
    if push.has_wrapper:
        message.pubsub_wrapper.SetInParent()
    if push.no_wrapper:
        message.no_wrapper.SetInParent()
        message.no_wrapper.write_metadata = push.write_metadata


def subscription_from(message: Any, *, lenient: bool) -> SubscriptionSettings:
    """The settings in a Subscription; what is not set gets its default."""
    expiration: int | None = names.DEFAULT_EXPIRATION_US
    if message.HasField("expiration_policy"):
        policy = message.expiration_policy
        expiration = (
            pb.duration_us("expiration_policy.ttl", policy.ttl) if policy.HasField("ttl") else None
        )
    retention = names.DEFAULT_RETENTION_US
    if message.HasField("message_retention_duration"):
        retention = pb.duration_us("message_retention_duration", message.message_retention_duration)
    dead_letter = None
    if message.dead_letter_policy.ByteSize():
        if not message.dead_letter_policy.dead_letter_topic:
            raise InvalidArgument("dead_letter_policy: dead_letter_topic is not set")
        dead_letter = DeadLetterPolicy(
            message.dead_letter_policy.dead_letter_topic,
            message.dead_letter_policy.max_delivery_attempts or names.MIN_DELIVERY_ATTEMPTS,
        )
    return SubscriptionSettings(
        name=message.name,
        topic=message.topic,
        push=push_from(message.push_config),
        ack_deadline_seconds=message.ack_deadline_seconds,
        retain_acked_messages=message.retain_acked_messages,
        message_retention_us=retention,
        labels=dict(message.labels),
        enable_message_ordering=message.enable_message_ordering,
        expiration_us=expiration,
        filter=message.filter,
        dead_letter_policy=dead_letter,
        retry_policy=_retry_from(message.retry_policy)
        if message.HasField("retry_policy")
        else None,
        enable_exactly_once_delivery=message.enable_exactly_once_delivery,
        other=_other(message, UNSUPPORTED_SUBSCRIPTION_FIELDS, lenient),
    )


def _retry_from(message: Any) -> RetryPolicy:
    policy = RetryPolicy()
    if message.HasField("minimum_backoff"):
        us = pb.duration_us("minimum_backoff", message.minimum_backoff)
        policy = replace(policy, minimum_backoff_us=us)
    if message.HasField("maximum_backoff"):
        us = pb.duration_us("maximum_backoff", message.maximum_backoff)
        policy = replace(policy, maximum_backoff_us=us)
    return policy


_SETTING_OF_FIELD = {
    "push_config": "push",
    "message_retention_duration": "message_retention_us",
    "expiration_policy": "expiration_us",
}


def updated_subscription(
    present: SubscriptionSettings, message: Any, paths: Iterable[str], *, lenient: bool
) -> SubscriptionSettings:
    """The present settings with the named fields of the message."""
    named = check_mask("Subscription", pb.Subscription.DESCRIPTOR, paths, _SUBSCRIPTION_UPDATES)
    given = pb.Subscription(name=present.name)
    for name in named:
        _copy_field(message, given, name)
    asked = subscription_from(given, lenient=lenient)
    changes: dict[str, Any] = {}
    for name in named - UNSUPPORTED_SUBSCRIPTION_FIELDS.keys():
        setting = _SETTING_OF_FIELD.get(name, name)
        changes[setting] = getattr(asked, setting)
    changes["other"] = {k: v for k, v in present.other.items() if k not in named} | dict(
        asked.other
    )
    return replace(present, **changes)


def subscription_to(subscription: Subscription) -> Any:
    """The Subscription that shows its settings."""
    settings = subscription.settings
    message = pb.Subscription(
        name=settings.name,
        topic=settings.topic,
        ack_deadline_seconds=settings.ack_deadline_seconds,
        retain_acked_messages=settings.retain_acked_messages,
        labels=settings.labels,
        enable_message_ordering=settings.enable_message_ordering,
        filter=settings.filter,
        detached=settings.detached,
        enable_exactly_once_delivery=settings.enable_exactly_once_delivery,
        state=1,
    )
    _push_to(settings.push, message.push_config)
    pb.set_duration(message.message_retention_duration, settings.message_retention_us)
    if subscription.topic_retention_us:
        pb.set_duration(message.topic_message_retention_duration, subscription.topic_retention_us)
    message.expiration_policy.SetInParent()
    if settings.expiration_us is not None:
        pb.set_duration(message.expiration_policy.ttl, settings.expiration_us)
    if settings.dead_letter_policy is not None:
        policy = settings.dead_letter_policy
        message.dead_letter_policy.dead_letter_topic = policy.dead_letter_topic
        message.dead_letter_policy.max_delivery_attempts = policy.max_delivery_attempts
    if settings.retry_policy is not None:
        retry = message.retry_policy
        retry.SetInParent()
        pb.set_duration(retry.minimum_backoff, settings.retry_policy.minimum_backoff_us)
        pb.set_duration(retry.maximum_backoff, settings.retry_policy.maximum_backoff_us)
    _echo(settings.other, message)
    return message


def snapshot_to(snapshot: Snapshot) -> Any:
    """The Snapshot message."""
    message = pb.Snapshot(name=snapshot.name, topic=snapshot.topic, labels=snapshot.labels)
    pb.set_timestamp(message.expire_time, snapshot.expire_us)
    return message


def add_received(received_messages: Any, batch: Iterable[Delivery], *, attempts: bool) -> None:
    """Append a ReceivedMessage for each delivery; `attempts`: with its delivery_attempt."""
    for delivery in batch:
        stored = delivery.message
        received = received_messages.add()
        received.ack_id = delivery.ack_id
        if attempts:
            received.delivery_attempt = delivery.failures + 1
        message = received.message
        message.data = stored.data
        message.message_id = str(stored.sequence)
        if stored.attributes:
            message.attributes.update(stored.attributes)
        if stored.ordering_key:
            message.ordering_key = stored.ordering_key
        publish_time = message.publish_time
        publish_time.seconds, rest = divmod(stored.publish_time_us, 1_000_000)
        publish_time.nanos = rest * 1000
