"""The one description of what runs, as data: terraform/topology.yaml, checked.

1. Every key is known, every reference names something that is there, every range is the one
   Pub/Sub documents: what production would refuse is refused here, with its path in the file.
2. Nothing here starts anything.

Sources: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
import yaml
from cronsim import CronSim, CronSimError
from msgspec import Meta
from msgspec.structs import replace

from emulator.errors import SetupError


class TopologyError(SetupError):
    """The file is not a topology; the message names the place in it."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: an unknown key, or a value of another type, is an error."""


class Topic(_Entry, frozen=True):
    """A topic; `retention_seconds` 0 keeps nothing for replay."""

    retention_seconds: Annotated[int, Meta(ge=0, le=2_678_400)] = 0


class Subscription(_Entry, frozen=True):
    """A subscription; `push_to` names the function it pushes to, None is pull."""

    topic: str
    push_to: str | None = None
    ack_deadline_seconds: Annotated[int, Meta(ge=10, le=600)] = 10
    minimum_backoff_seconds: Annotated[float, Meta(ge=0, le=600)] | None = None
    maximum_backoff_seconds: Annotated[float, Meta(ge=0, le=600)] | None = None
    dead_letter_topic: str | None = None
    max_delivery_attempts: Annotated[int, Meta(ge=5, le=100)] | None = None
    retention_seconds: Annotated[int, Meta(ge=600, le=2_678_400)] = 604_800


class Trigger(_Entry, frozen=True):
    """What calls a function: exactly one of the three."""

    http: bool = False
    subscription: str | None = None
    schedule: str | None = None


class Function(_Entry, frozen=True):
    """A function. `secrets` maps an environment variable to the name of a secret.

    `example` is a body to try it with, for the curl line that `up` prints.
    """

    source: str
    entry_point: str
    trigger: Trigger
    timeout_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    environment: Mapping[str, str] = {}
    local: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    example: Mapping[str, str] = {}

    @property
    def signature_type(self) -> Literal["http", "cloudevent"]:
        """What functions-framework calls the trigger."""
        return "cloudevent" if self.trigger.subscription else "http"


class Secret(_Entry, frozen=True):
    """A secret and how one is made up on a developer's machine."""

    kind: Literal["key", "key_set"]


class TtlPolicy(_Entry, frozen=True):
    """Documents of the collection group are deleted after the moment in `field`."""

    collection: str
    field: str


class IndexField(_Entry, frozen=True):
    """One field of a composite index."""

    field_path: str
    order: Literal["ASCENDING", "DESCENDING"]


class Index(_Entry, frozen=True):
    """A composite index of a collection."""

    collection: str
    fields: tuple[IndexField, ...]

    def to_json(self) -> dict[str, Any]:
        """As an entry of a firestore.indexes.json."""
        fields = [{"fieldPath": f.field_path, "order": f.order} for f in self.fields]
        return {"collectionGroup": self.collection, "queryScope": "COLLECTION", "fields": fields}


class Firestore(_Entry, frozen=True):
    """What the database needs beside its documents."""

    ttl: tuple[TtlPolicy, ...] = ()
    indexes: tuple[Index, ...] = ()


class Topology(_Entry, frozen=True):
    """What the file says; each mapping is by name."""

    topics: Mapping[str, Topic]
    subscriptions: Mapping[str, Subscription]
    functions: Mapping[str, Function]
    secrets: Mapping[str, Secret] = {}
    firestore: Firestore = Firestore()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check the file.

        Raises:
            TopologyError: it cannot be read, or says something that cannot be.
        """
        try:
            return cls.parse(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
        except (OSError, yaml.YAMLError) as error:
            raise TopologyError(f"{path}: {error}") from error

    @classmethod
    def parse(cls, document: object, where: str = "topology") -> Self:
        """Check what a topology file holds; `where` begins each error's message.

        Raises:
            TopologyError: as `load`.
        """
        try:
            made = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise TopologyError(f"{where}: {error}") from error
        if problems := list(made._problems()):
            raise TopologyError("\n".join(f"{where}: {problem}" for problem in problems))
        return made

    def _problems(self) -> Iterator[str]:
        for name, sub in self.subscriptions.items():
            at = f"subscriptions.{name}"
            for key, topic in (("topic", sub.topic), ("dead_letter_topic", sub.dead_letter_topic)):
                if topic is not None and topic not in self.topics:
                    yield f"{at}.{key}: there is no topic {topic!r}"
            if sub.push_to is not None and sub.push_to not in self.functions:
                yield f"{at}.push_to: there is no function {sub.push_to!r}"
            if (sub.dead_letter_topic is None) != (sub.max_delivery_attempts is None):
                yield f"{at}: dead_letter_topic and max_delivery_attempts go together"
            low, high = sub.minimum_backoff_seconds, sub.maximum_backoff_seconds
            if low is not None and high is not None and low > high:
                yield f"{at}: minimum_backoff_seconds is more than maximum_backoff_seconds"
        kept = {s.topic for s in self.subscriptions.values()}
        for name, sub in self.subscriptions.items():
            if sub.dead_letter_topic and sub.dead_letter_topic not in kept:
                yield (
                    f"subscriptions.{name}.dead_letter_topic: no subscription keeps what "
                    f"{sub.dead_letter_topic!r} is sent: it would be lost"
                )
        for name, function in self.functions.items():
            yield from self._function_problems(name, function)

    def _function_problems(self, name: str, function: Function) -> Iterator[str]:
        at, trigger = f"functions.{name}", function.trigger
        if trigger.http + bool(trigger.subscription) + bool(trigger.schedule) != 1:
            yield f"{at}.trigger: exactly one of http, subscription, schedule"
        if trigger.subscription:
            sub = self.subscriptions.get(trigger.subscription)
            if sub is None or sub.push_to != name:
                yield f"{at}.trigger: subscription {trigger.subscription!r} does not push to it"
            elif sub.ack_deadline_seconds < function.timeout_seconds:
                yield f"{at}: timeout_seconds is longer than its subscription's ack deadline"
        for variable, secret in function.secrets.items():
            if secret not in self.secrets:
                yield f"{at}.secrets.{variable}: there is no secret {secret!r}"
        if trigger.schedule:
            try:
                CronSim(trigger.schedule, datetime.now(UTC))
            except CronSimError as error:
                yield f"{at}.trigger.schedule: {trigger.schedule!r}: {error}"

    def with_subscription(self, name: str, **changes: Any) -> Self:
        """The same with some of one subscription's settings changed."""
        changed = replace(self.subscriptions[name], **changes)
        return replace(self, subscriptions={**self.subscriptions, name: changed})

    def with_function(self, name: str, **changes: Any) -> Self:
        """The same with some of one function's settings changed."""
        changed = replace(self.functions[name], **changes)
        return replace(self, functions={**self.functions, name: changed})

    def with_environment(self, function: str, **variables: str) -> Self:
        """The same with some of one function's environment changed, on this machine."""
        return self.with_function(function, local={**self.functions[function].local, **variables})
