"""Topics and subscriptions as they are configured: plain values, checked, with their defaults.

1. A settings object that exists is valid: `checked()` is the only door.
2. `other` keeps what is stored and echoed without being honoured (lenient mode); its values
   are opaque here.

Source of ranges and defaults: the comments of google/pubsub/v1/pubsub.proto.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from emulator.clock import SECOND_US
from emulator.errors import InvalidArgument
from emulator.pubsub import names
from emulator.pubsub.filters import parse_filter
from emulator.pubsub.schemas import SchemaSettings


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """google.pubsub.v1.Topic, as far as it is honoured."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    message_retention_us: int | None = None
    schema_settings: SchemaSettings | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    def checked(self) -> "TopicSettings":
        """Itself, or InvalidArgument naming the field."""
        names.check_name(self.name, "topics")
        names.check_labels(self.labels)
        if self.message_retention_us is not None:
            names.check_duration(
                "message_retention_duration",
                self.message_retention_us,
                names.MIN_RETENTION_US,
                names.MAX_RETENTION_US,
            )
        return self


@dataclass(frozen=True, slots=True)
class PushSettings:
    """google.pubsub.v1.PushConfig; without an endpoint the subscription is pulled."""

    endpoint: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    oidc_email: str = ""
    oidc_audience: str = ""
    has_oidc: bool = False
    has_wrapper: bool = False
    no_wrapper: bool = False
    write_metadata: bool = False

    def checked(self) -> "PushSettings":
        """Itself, or InvalidArgument naming the field."""
        if not self.endpoint:
            if self.has_oidc or self.no_wrapper:
                raise InvalidArgument("push_config: push_endpoint is not set")
            return self
        url = urlsplit(self.endpoint)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise InvalidArgument(f"Unsupported push_endpoint: {self.endpoint}")
        version = self.attributes.get("x-goog-version", "v1")
        unknown = set(self.attributes) - {"x-goog-version"}
        if unknown:
            raise InvalidArgument(f"push_config.attributes: unknown {sorted(unknown)[0]!r}")
        if version not in ("v1", "v1beta2"):
            raise InvalidArgument(
                f"push_config.attributes: x-goog-version {version!r} is not supported"
            )
        if self.has_oidc and not self.oidc_email:
            raise InvalidArgument("push_config.oidc_token: service_account_email is not set")
        return self


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """google.pubsub.v1.RetryPolicy."""

    minimum_backoff_us: int = names.DEFAULT_MIN_BACKOFF_US
    maximum_backoff_us: int = names.MAX_BACKOFF_US


@dataclass(frozen=True, slots=True)
class DeadLetterPolicy:
    """google.pubsub.v1.DeadLetterPolicy."""

    dead_letter_topic: str
    max_delivery_attempts: int = names.MIN_DELIVERY_ATTEMPTS


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    """google.pubsub.v1.Subscription, as far as it is honoured.

    `expiration_us` None means that the subscription never expires.
    """

    name: str
    topic: str
    push: PushSettings = field(default_factory=PushSettings)
    ack_deadline_seconds: int = 10
    retain_acked_messages: bool = False
    message_retention_us: int = names.DEFAULT_RETENTION_US
    labels: Mapping[str, str] = field(default_factory=dict)
    enable_message_ordering: bool = False
    expiration_us: int | None = names.DEFAULT_EXPIRATION_US
    filter: str = ""
    dead_letter_policy: DeadLetterPolicy | None = None
    retry_policy: RetryPolicy | None = None
    detached: bool = False
    enable_exactly_once_delivery: bool = False
    other: Mapping[str, Any] = field(default_factory=dict)

    def checked(self, min_ack_deadline_seconds: int) -> "SubscriptionSettings":
        """Itself with defaults filled in, or InvalidArgument naming the field."""
        names.check_name(self.name, "subscriptions")
        names.check_labels(self.labels)
        self.push.checked()
        settings = self
        if settings.ack_deadline_seconds == 0:
            settings = replace(settings, ack_deadline_seconds=10)
        names.check_ack_deadline(settings.ack_deadline_seconds, min_ack_deadline_seconds)
        names.check_duration(
            "message_retention_duration",
            self.message_retention_us,
            names.MIN_RETENTION_US,
            names.MAX_RETENTION_US,
        )
        if self.expiration_us is not None:
            # The lower bound is documented; the upper is what a Duration can say.
            names.check_duration(
                "expiration_policy.ttl",
                self.expiration_us,
                names.MIN_EXPIRATION_US,
                315_576_000_000 * SECOND_US,
            )
        parse_filter(self.filter)
        self._check_policies()
        if self.enable_exactly_once_delivery and self.push.endpoint:
            raise InvalidArgument(
                "enable_exactly_once_delivery: it is for pull subscriptions, push_config is set"
            )
        return settings

    def _check_policies(self) -> None:
        if self.dead_letter_policy is not None:
            names.check_name(self.dead_letter_policy.dead_letter_topic, "topics")
            names.check_delivery_attempts(self.dead_letter_policy.max_delivery_attempts)
        retry = self.retry_policy
        if retry is not None:
            for field_name, us in (
                ("minimum_backoff", retry.minimum_backoff_us),
                ("maximum_backoff", retry.maximum_backoff_us),
            ):
                names.check_duration(field_name, us, 0, names.MAX_BACKOFF_US)
            if retry.maximum_backoff_us < retry.minimum_backoff_us:
                raise InvalidArgument(
                    "The value for maximum_backoff is too small: it must not be less than "
                    "minimum_backoff"
                )
