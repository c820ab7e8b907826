"""The one description of what runs, as data: terraform/topology.yaml, checked.

1. Every key is known, every reference names something that is there, every range is the one
   Pub/Sub documents: what production would refuse is refused here, with its path in the file.
2. Nothing here starts anything.

Sources: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from cronsim import CronSim, CronSimError
from msgspec import Meta
from msgspec.structs import replace

from emulator import topology_texts as text
from emulator import typed_yaml
from emulator.errors import SetupError


class TopologyError(SetupError):
    """The file is not a topology; the message names the place in it."""


# By CPUs. https://cloud.google.com/run/docs/configuring/services/memory-limits
_MEMORY_MIB = {1: (256, 4096), 2: (256, 8192), 4: (2048, 16_384), 8: (4096, 32_768)}
_SCHEDULED_SECONDS = 1800  # the longest attempt_deadline of Cloud Scheduler
# Parts of a stack, and accounts that Terraform makes beside the functions'.
_TAKEN_NAMES = {"build-functions", "deployer", "firestore", "pubsub"}
# What a function finds without being told, from us or from Cloud Run.
# https://cloud.google.com/run/docs/container-contract#env-vars
_GIVEN_VARIABLES = {
    *("ACK_DEADLINE_SECONDS", "FUNCTION_TIMEOUT_SECONDS", "GOOGLE_CLOUD_PROJECT", "THREADS"),
    *("FUNCTION_SIGNATURE_TYPE", "FUNCTION_TARGET", "K_CONFIGURATION", "K_REVISION", "K_SERVICE"),
    "PORT",
}


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: an unknown key, or a value of another type, is an error."""


class Schema(_Entry, frozen=True):
    """A protobuf schema: the file in the folder of the functions that defines it.

    `encoding` is that of the messages; it is in this one place for who writes and who checks.
    """

    definition: text.Definition
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
    schedule: text.Schedule | None = None


class Function(_Entry, frozen=True):
    """A function. `secrets` maps an environment variable to the name of a secret.

    `publishes` maps a prefix to a topic, see `Topology.derived_environment`; `per_deployment`
    names variables that each deployment gives. `example` is a body to try it with.
    """

    source: text.Folder
    entry_point: text.Identifier
    trigger: Trigger
    timeout_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    memory_mib: Annotated[int, Meta(ge=256, le=32_768)] = 512
    cpu: Literal[1, 2, 4, 8] = 1
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 4
    max_instances: Annotated[int, Meta(ge=1, le=1000)] = 10
    firestore: bool = False
    publishes: Mapping[text.Variable, str] = {}
    environment: Mapping[text.Variable, text.Value] = {}
    per_deployment: tuple[text.Variable, ...] = ()
    local: Mapping[text.Variable, text.Value] = {}
    secrets: Mapping[text.Variable, str] = {}
    example: Mapping[str, str] = {}

    def local_at(self, smtp_host: str, smtp_port: int) -> dict[str, str]:
        """`local` with the mail server's address in its place; other braces stay as they are."""
        return {
            variable: value.replace("{smtp_host}", smtp_host).replace("{smtp_port}", str(smtp_port))
            for variable, value in self.local.items()
        }


class Secret(_Entry, frozen=True):
    """A secret and what makes its value; `external`: nothing here does."""

    kind: Literal["key", "key_set", "external"]


class TtlPolicy(_Entry, frozen=True):
    """Documents of the collection group are deleted after the moment in `field`."""

    collection: text.Collection
    field: text.FieldPath


class UnindexedField(_Entry, frozen=True):
    """A field that Firestore keeps no index on by itself; "*" is every field of the collection."""

    collection: text.Collection
    field: text.FieldPathOrAll


class IndexField(_Entry, frozen=True):
    """One field of a composite index."""

    field_path: text.FieldPath
    order: Literal["ASCENDING", "DESCENDING"]


class Index(_Entry, frozen=True):
    """A composite index of a collection; one of a single field would be no composite one."""

    collection: text.Collection
    fields: Annotated[tuple[IndexField, ...], Meta(min_length=2, max_length=100)]


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

    topics: Mapping[text.PubsubName, Topic]
    subscriptions: Mapping[text.PubsubName, Subscription] = {}
    functions: Mapping[text.FunctionName, Function] = {}
    secrets: Mapping[text.SecretName, Secret] = {}
    firestore: Firestore = Firestore()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check the file.

        Raises:
            TopologyError: it cannot be read, or says something that cannot be.
        """
        try:
            document = typed_yaml.read(path)
        except typed_yaml.MisfitError as error:
            raise TopologyError(f"{path}: {error}") from error
        return cls.parse(document, str(path))

    @classmethod
    def parse(cls, document: object, where: str = "topology") -> Self:
        """Check what a topology file holds; `where` begins each error's message.

        Raises:
            TopologyError: as `load`.
        """
        try:
            made = typed_yaml.fit(document, cls)
        except typed_yaml.MisfitError as error:
            raise TopologyError(f"{where}: {error}") from error
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
        for section in ("topics", "subscriptions", "functions"):
            for name in getattr(self, section):
                if name.startswith("goog"):
                    yield f"{section}.{name}: names that begin with goog are Google's own"
        for name, function in self.functions.items():
            for problem in self._function_problems(name, function):
                yield f"functions.{name}{problem}"
        told: dict[str, list[object]] = {
            "ttl": [one.collection for one in self.firestore.ttl],
            "unindexed": list(self.firestore.unindexed),
            "indexes": list(self.firestore.indexes),
        }
        for section, entries in told.items():
            for number, one in enumerate(entries):
                if one in entries[:number]:
                    again = "a collection's second" if section == "ttl" else "is there already"
                    yield f"firestore.{section}[{number}]: {again}"
        for number, index in enumerate(self.firestore.indexes):
            if len({one.field_path for one in index.fields}) < len(index.fields):
                yield f"firestore.indexes[{number}].fields: one stands twice"

    def _function_problems(self, name: str, function: Function) -> Iterator[str]:
        trigger, push = function.trigger, function.trigger.push
        if name in _TAKEN_NAMES or name.startswith("call-"):
            yield ": this name has something else already: choose another"
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
            if function.timeout_seconds > _SCHEDULED_SECONDS:
                yield f".timeout_seconds: {_SCHEDULED_SECONDS} is the most with a schedule"
            try:  # what a pattern cannot say (5-1, the 30th of February) is refused here alone
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
                yield f".per_deployment.{variable}: has no value in `local`"
        given = _GIVEN_VARIABLES.union(
            *((f"{prefix}_TOPIC", f"{prefix}_ENCODING") for prefix in function.publishes)
        )
        of_secrets = {*function.secrets, *(f"{variable}_FILE" for variable in function.secrets)}
        for section in ("environment", "local", "per_deployment", "secrets"):
            for variable in getattr(function, section):
                if variable in given:
                    yield f".{section}.{variable}: is given, by what else is said or by Cloud Run"
                elif section != "secrets" and variable in of_secrets:
                    yield f".{section}.{variable}: is one of `secrets`"

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


def json_schema() -> str:
    """The JSON Schema of the file, for editors and for Terraform."""
    written = json.dumps(msgspec.json.schema(Topology), indent=2)
    # The end of the text, which Python's `$` is not: it lets a line break follow.
    return written.replace(r"\\Z", "$") + "\n"
