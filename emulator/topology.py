"""The one description of what runs, as data: terraform/topology.yaml, checked.

1. Every key is known, every reference names something that is there, every range is the one
   Pub/Sub documents: what production would refuse is refused here, with its path in the file.
2. Nothing here starts anything.

Sources: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions
"""

import json
import re
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


# By CPUs. https://cloud.google.com/run/docs/configuring/services/memory-limits
_MEMORY_MIB = {1: (256, 4096), 2: (256, 8192), 4: (2048, 16_384), 8: (4096, 32_768)}
_FUNCTION_NAME = re.compile(r"[a-z][a-z0-9-]{4,23}[a-z0-9]")


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a second entry of a name is an error, and does not replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[object] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} stands twice", key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: an unknown key, or a value of another type, is an error."""


class Schema(_Entry, frozen=True):
    """A protobuf schema: the file in the folder of the functions that defines it.

    `encoding` is that of the messages; it is in this one place for who writes and who checks.
    """

    definition: str
    encoding: Literal["JSON", "BINARY"]


class Topic(_Entry, frozen=True):
    """A topic; without `retention_seconds` it keeps nothing for replay."""

    retention_seconds: Annotated[int, Meta(ge=600, le=2_678_400)] | None = None
    schema: Schema | None = None


class Subscription(_Entry, frozen=True):
    """A subscription, pulled or, as a function's trigger, pushed."""

    topic: str
    ack_deadline_seconds: Annotated[int, Meta(ge=10, le=600)] = 60
    minimum_backoff_seconds: Annotated[float, Meta(ge=0, le=600)] = 10
    maximum_backoff_seconds: Annotated[float, Meta(ge=0, le=600)] = 600
    dead_letter_topic: str | None = None
    max_delivery_attempts: Annotated[int, Meta(ge=5, le=100)] | None = None
    retention_seconds: Annotated[int, Meta(ge=600, le=2_678_400)] = 604_800


class Trigger(_Entry, frozen=True):
    """What calls a function: exactly one of the three. `schedule` is unix-cron, in UTC."""

    http: bool = False
    push: Subscription | None = None
    schedule: str | None = None


class Function(_Entry, frozen=True):
    """A function. `secrets` maps an environment variable to the name of a secret.

    `publishes` maps a prefix to a topic, see `Topology.derived_environment`; `per_deployment`
    names variables that each deployment gives. `example` is a body to try it with.
    """

    source: str
    entry_point: str
    trigger: Trigger
    timeout_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    memory_mib: Annotated[int, Meta(ge=256, le=32_768)] = 512
    cpu: Literal[1, 2, 4, 8] = 1
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 4
    max_instances: Annotated[int, Meta(ge=1, le=1000)] = 10
    firestore: bool = False
    publishes: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    per_deployment: tuple[str, ...] = ()
    local: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    example: Mapping[str, str] = {}


class Secret(_Entry, frozen=True):
    """A secret and what makes its value; `external`: nothing here does."""

    kind: Literal["key", "key_set", "external"]


class TtlPolicy(_Entry, frozen=True):
    """Documents of the collection group are deleted after the moment in `field`."""

    collection: str
    field: str


class UnindexedField(_Entry, frozen=True):
    """A field that Firestore keeps no index on by itself; "*" is every field of the collection."""

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


class Firestore(_Entry, frozen=True):
    """What the database needs beside its documents."""

    ttl: tuple[TtlPolicy, ...] = ()
    unindexed: tuple[UnindexedField, ...] = ()
    indexes: tuple[Index, ...] = ()

    def indexes_json(self) -> dict[str, Any]:
        """What a firestore.indexes.json says of the same."""
        return {
            "indexes": [
                {
                    "collectionGroup": index.collection,
                    "queryScope": "COLLECTION",
                    "fields": [{"fieldPath": f.field_path, "order": f.order} for f in index.fields],
                }
                for index in self.indexes
            ],
            "fieldOverrides": [
                {"collectionGroup": one.collection, "fieldPath": one.field, "indexes": []}
                for one in self.unindexed
            ],
        }


class Topology(_Entry, frozen=True):
    """What the file says; each mapping is by name. `subscriptions` are those that are pulled."""

    topics: Mapping[str, Topic]
    subscriptions: Mapping[str, Subscription] = {}
    functions: Mapping[str, Function] = {}
    secrets: Mapping[str, Secret] = {}
    firestore: Firestore = Firestore()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check the file.

        Raises:
            TopologyError: it cannot be read, or says something that cannot be.
        """
        try:
            loader = _UniqueKeys(path.read_text(encoding="utf-8"))
            loader.name = path.name
            return cls.parse(loader.get_single_data(), str(path))
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
            at = _named(error, document) if isinstance(document, Mapping) else str(error)
            raise TopologyError(f"{where}: {at}") from error
        if problems := list(made._problems()):
            raise TopologyError("\n".join(f"{where}: {problem}" for problem in problems))
        return made

    def check_files(self, functions: Path) -> None:
        """Check that the folder of the functions holds every file that the topology names.

        Raises:
            TopologyError: naming each that is missing.
        """
        wanted = [
            (f"functions.{name}.source", functions / function.source / file)
            for name, function in self.functions.items()
            for file in ("main.py", "requirements.txt")
        ]
        for name, topic in self.topics.items():
            if topic.schema:
                at = f"topics.{name}.schema.definition"
                wanted.append((at, functions / topic.schema.definition))
        missing = [f"{at}: there is no {file}" for at, file in wanted if not file.is_file()]
        if missing:
            raise TopologyError("\n".join(missing))

    @property
    def pushes(self) -> dict[str, Subscription]:
        """The subscriptions that push, each named as the function it pushes to."""
        return {name: f.trigger.push for name, f in self.functions.items() if f.trigger.push}

    def derived_environment(self, name: str) -> dict[str, str]:
        """The variables that follow from what else is said of a function.

        {"THREADS": "4", "FUNCTION_TIMEOUT_SECONDS": "30", "USER_CREATED_TOPIC": "user.created",
        "USER_CREATED_ENCODING": "JSON", "ACK_DEADLINE_SECONDS": "60"}; the last if it is pushed.
        """
        function = self.functions[name]
        variables = {
            # The framework would take four for each processor that it sees.
            "THREADS": str(function.concurrency),
            "FUNCTION_TIMEOUT_SECONDS": str(function.timeout_seconds),
        }
        for prefix, topic in function.publishes.items():
            schema = self.topics[topic].schema
            variables[f"{prefix}_TOPIC"] = topic
            variables[f"{prefix}_ENCODING"] = schema.encoding if schema else "JSON"
        if push := function.trigger.push:
            variables["ACK_DEADLINE_SECONDS"] = str(push.ack_deadline_seconds)
        return variables

    def _problems(self) -> Iterator[str]:
        # The same rules are in terraform/topology/rules.tf: a test compares what both refuse.
        everything = [
            *((f"subscriptions.{name}", sub) for name, sub in self.subscriptions.items()),
            *((f"functions.{name}.trigger.push", sub) for name, sub in self.pushes.items()),
        ]
        kept = {sub.topic for sub in self.subscriptions.values()}
        for at, sub in everything:
            for key, topic in (("topic", sub.topic), ("dead_letter_topic", sub.dead_letter_topic)):
                if topic is not None and topic not in self.topics:
                    yield f"{at}.{key}: there is no topic {topic!r}"
            if sub.dead_letter_topic is not None and sub.dead_letter_topic not in kept:
                yield (
                    f"{at}.dead_letter_topic: no pulled subscription keeps what "
                    f"{sub.dead_letter_topic!r} is sent: it would be lost"
                )
            if (sub.dead_letter_topic is None) != (sub.max_delivery_attempts is None):
                yield f"{at}: dead_letter_topic and max_delivery_attempts go together"
            if sub.minimum_backoff_seconds > sub.maximum_backoff_seconds:
                yield f"{at}: minimum_backoff_seconds is more than maximum_backoff_seconds"
        for name, function in self.functions.items():
            for problem in self._function_problems(name, function):
                yield f"functions.{name}{problem}"

    def _function_problems(self, name: str, function: Function) -> Iterator[str]:
        trigger, push = function.trigger, function.trigger.push
        if not _FUNCTION_NAME.fullmatch(name):
            yield ": a name has 6 to 25 lower-case letters, digits and hyphens: it names accounts"
        if name in self.subscriptions:
            yield ": there is a subscription of this name"
        if trigger.http + (push is not None) + (trigger.schedule is not None) != 1:
            yield ".trigger: exactly one of http, push, schedule"
        least, most = _MEMORY_MIB[function.cpu]
        if not least <= function.memory_mib <= most:
            yield f".memory_mib: {least} to {most} with {function.cpu} CPU"
        if push is not None:
            if push.dead_letter_topic is None:
                yield ".trigger.push: without a dead_letter_topic, what always fails is lost"
            if push.ack_deadline_seconds < function.timeout_seconds:
                yield ".timeout_seconds: longer than the ack deadline of its push"
        if trigger.schedule is not None:
            try:
                CronSim(trigger.schedule, datetime.now(UTC))
            except CronSimError as error:
                yield f".trigger.schedule: {trigger.schedule!r}: {error}"
        for prefix, topic in function.publishes.items():
            if topic not in self.topics:
                yield f".publishes.{prefix}: there is no topic {topic!r}"
        for variable, secret in function.secrets.items():
            if secret not in self.secrets:
                yield f".secrets.{variable}: there is no secret {secret!r}"
        for variable in function.per_deployment:
            if variable not in function.local:
                yield f".per_deployment: {variable} has no value in `local`"

    def with_push(self, name: str, **changes: Any) -> Self:
        """The same with some settings of one function's push subscription changed."""
        trigger = self.functions[name].trigger
        if trigger.push is None:
            raise KeyError(f"{name} is not pushed to")
        return self.with_function(
            name, trigger=replace(trigger, push=replace(trigger.push, **changes))
        )

    def with_function(self, name: str, **changes: Any) -> Self:
        """The same with some of one function's settings changed."""
        changed = replace(self.functions[name], **changes)
        return replace(self, functions={**self.functions, name: changed})

    def with_environment(self, function: str, **variables: str) -> Self:
        """The same with some of one function's environment changed, on this machine."""
        return self.with_function(function, local={**self.functions[function].local, **variables})


_ENTRIES = {
    "topics": Topic,
    "subscriptions": Subscription,
    "functions": Function,
    "secrets": Secret,
}


def _named(error: msgspec.ValidationError, document: Mapping[str, Any]) -> str:
    """The place of an error and what is wrong there: "topics.user.created.encodin: ..."."""
    what, place = _parted(error)
    section, of_an_entry, _ = place.partition("[...]")  # msgspec leaves out which
    if of_an_entry and section in _ENTRIES:
        for name, entry in document[section].items():
            try:
                msgspec.convert(entry, _ENTRIES[section])
            except msgspec.ValidationError as found:
                what, inside = _parted(found)
                return ".".join(filter(None, (section, name, inside))) + f": {what}"
    return f"{place or 'topology'}: {what}"


def _parted(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong, and where: a key that is unknown or missing is part of the place."""
    what, _, at = str(error).partition(" - at ")
    place = at.rpartition("`$")[2].strip("`").removeprefix(".")
    if key := re.fullmatch(r"Object (?:contains unknown|missing required) field `(\w+)`?", what):
        place = f"{place}.{key[1]}".removeprefix(".")
    return what, place


def json_schema() -> str:
    """The JSON Schema of the file, for editors and for Terraform."""
    return json.dumps(msgspec.json.schema(Topology), indent=2) + "\n"
