"""Topologies that cannot be, for those who have to refuse them: the local cloud and Terraform."""

import copy
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "terraform/topology.yaml"
SEND = "functions.send-email"
PUSH = f"{SEND}.trigger.push"
CREATE = "functions.create-user"
RELAY = "functions.relay-outbox"
ABSENT = object()
_CALLED = {"source": "create_user", "entry_point": "create_user", "trigger": {"http": True}}


def _field(field: str, collection: str = "outbox") -> dict[str, str]:
    return {"collection": collection, "field": field}


def _index(*paths: str) -> dict[str, Any]:
    fields = [{"field_path": path, "order": "ASCENDING"} for path in paths]
    return {"collection": "outbox", "fields": fields}


# Where something is changed, to what, and the place that a refusal names; "" is the same place.
SPOILT: list[tuple[str, object, str]] = [
    ("functoins", {}, "functoins"),
    ("topics", [], "topics"),
    ("topics", ABSENT, "topics"),
    ("topics.user!created", None, "topics.user!created"),
    ("topics.user!created.surprise", 1, ""),
    ("topics.user!created.retention_seconds", 599, ""),
    ("topics.user!created.retention_seconds", 2_678_401, ""),
    ("topics.user!created.schema.encoding", "XML", ""),
    ("topics.user!created.schema.definition", ABSENT, ""),
    ("subscriptions.user!created!dead-letter", ABSENT, f"{PUSH}.dead_letter_topic"),
    ("subscriptions.send-email", {"topic": "user.created"}, SEND),
    (f"{PUSH}.topic", "nowhere", ""),
    (f"{PUSH}.topic", ABSENT, ""),
    (f"{PUSH}.ack_deadline_seconds", 9, ""),
    (f"{PUSH}.ack_deadline_seconds", 601, ""),
    (f"{PUSH}.ack_deadline_seconds", "60", ""),
    (f"{PUSH}.ack_deadline_seconds", 60.5, ""),
    (f"{PUSH}.ack_deadline_seconds", True, ""),
    (f"{PUSH}.max_delivery_attempts", 4, ""),
    (f"{PUSH}.max_delivery_attempts", 101, ""),
    (f"{PUSH}.max_delivery_attempts", ABSENT, PUSH),
    (f"{PUSH}.dead_letter_topic", "lost", ""),
    (f"{PUSH}.dead_letter_topic", "user.created", ""),
    (f"{PUSH}.dead_letter_topic", ABSENT, PUSH),
    (f"{PUSH}.minimum_backoff_seconds", 601, ""),
    (f"{PUSH}.minimum_backoff_seconds", -1, ""),
    (f"{PUSH}.maximum_backoff_seconds", 1, PUSH),
    (f"{PUSH}.minimum_backof_seconds", 1, ""),
    (f"{SEND}.timeout_seconds", 61, ""),
    (f"{SEND}.entry_point", ABSENT, ""),
    (f"{SEND}.cpu", 3, ""),
    (f"{SEND}.cpu", 4, f"{SEND}.memory_mib"),
    (f"{SEND}.memory_mib", 8192, ""),
    (f"{SEND}.concurrency", 0, ""),
    (f"{SEND}.firestore", "yes", ""),
    (f"{SEND}.publishes", {"USER_CREATED": "nowhere"}, f"{SEND}.publishes.USER_CREATED"),
    (f"{SEND}.environment", {"COST": 10}, f"{SEND}.environment.COST"),
    (f"{SEND}.environment", {"COST": None}, f"{SEND}.environment.COST"),
    (f"{SEND}.environment", {"COST": "1\0"}, f"{SEND}.environment.COST"),
    *(
        (f"{SEND}.{section}", {name: "x"}, f"{SEND}.{section}.{name}")
        for section in ("environment", "local", "secrets", "publishes")
        for name in ("", "A=B", "A B", "A\0", "a", "1A")
    ),
    *(
        (f"{SEND}.{section}", {name: "x"}, f"{SEND}.{section}.{name}")
        for section in ("environment", "local")
        for name in ("THREADS", "GOOGLE_CLOUD_PROJECT", "PORT", "LINK_KEYS", "SMTP_PASSWORD_FILE")
    ),
    (f"{SEND}.secrets", {"THREADS": "link-keys"}, f"{SEND}.secrets.THREADS"),
    (f"{SEND}.per_deployment", ["LINK_KEYS"], f"{SEND}.per_deployment.LINK_KEYS"),
    (f"{CREATE}.environment.USER_CREATED_TOPIC", "elsewhere", ""),
    (f"{CREATE}.local", {"USER_CREATED_ENCODING": "BINARY"}, f"{CREATE}.local.USER_CREATED_"),
    (f"{SEND}.per_deployment", ["ABSENT"], ""),
    (f"{SEND}.per_deployment", ["mail from"], f"{SEND}.per_deployment[0]"),
    (f"{SEND}.per_deployment", [5], f"{SEND}.per_deployment[0]"),
    (f"{SEND}.per_deployment", "MAIL_FROM", ""),
    (f"{SEND}.trigger", {}, ""),
    (f"{SEND}.trigger", None, ""),
    (f"{SEND}.trigger.http", True, f"{SEND}.trigger"),
    *(
        (f"{RELAY}.trigger.schedule", schedule, "")
        for schedule in (
            *("", "* * * *", "* * * * * *", " * * * * *", "* * * * *\n", "@daily"),
            *("61 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 0 *", "0 0 * * 8"),
            *("*/0 * * * *", "5/10 * * * *", "1, * * * *", "1-2-3 * * * *"),
            *("0 0 L * *", "0 0 LW * *", "0 0 * * 7L", "0 0 * * MON#1", "0 0 * * XYZ"),
            "0 0 * jan mon",
        )
    ),
    (f"{RELAY}.timeout_seconds", 1801, ""),
    (f"{CREATE}.secrets", {"KEY": "missing"}, f"{CREATE}.secrets.KEY"),
    (f"{CREATE}.source", "../create_user", ""),
    (f"{CREATE}.source", "create_user/inner", ""),
    (f"{CREATE}.entry_point", "create-user", ""),
    ("topics.user!created.schema.definition", "../outside.proto", ""),
    ("topics.ab", {}, ""),
    ("topics.1abc", {}, ""),
    ("topics.a b c", {}, ""),
    ("topics.google", {}, ""),
    ("subscriptions.goog-pull", {"topic": "user.created"}, ""),
    ("subscriptions.a/b", {"topic": "user.created"}, ""),
    *(
        (f"functions.{name}", _CALLED, "")
        for name in ("short", "Capital", "firestore", "pubsub", "deployer", "build-functions")
    ),
    ("functions.call-send-email", _CALLED, ""),
    ("secrets.jwt-keys.kind", "rot13", ""),
    ("secrets.jwt keys", {"kind": "key"}, ""),
    ("firestore.indexes", [{"collection": "outbox"}], "firestore.indexes"),
    ("firestore.ttl", [{"collection": "outbox", "fields": "x"}], "firestore.ttl"),
    ("firestore.ttl", [_field("*")], "firestore.ttl[0].field"),
    ("firestore.ttl", [_field("a..b")], "firestore.ttl[0].field"),
    ("firestore.ttl", [_field("a"), _field("b")], "firestore.ttl[1]"),
    ("firestore.unindexed", [_field("a b")], "firestore.unindexed[0].field"),
    ("firestore.unindexed", [_field("__name__")], "firestore.unindexed[0].field"),
    ("firestore.unindexed", [_field("a"), _field("b"), _field("a")], "firestore.unindexed[2]"),
    ("firestore.unindexed", [_field("a", "b/c")], "firestore.unindexed[0].collection"),
    ("firestore.indexes", [_index()], "firestore.indexes[0].fields"),
    ("firestore.indexes", [_index("a")], "firestore.indexes[0].fields"),
    ("firestore.indexes", [_index("a", "b", "a")], "firestore.indexes[0].fields"),
    ("firestore.indexes", [_index("a", "")], "firestore.indexes[0].fields[1].field_path"),
    ("firestore.indexes", [_index("a", "b"), _index("a", "b")], "firestore.indexes[1]"),
]


def spoilt(path: str, value: object) -> dict[str, Any]:
    """The project's own topology with one thing changed; `!` in `path` stands for a dot."""
    document: dict[str, Any] = copy.deepcopy(yaml.safe_load(FILE.read_text()))
    at: Any = document
    *parents, last = (name.replace("!", ".") for name in path.split("."))
    for name in parents:
        at = at[name]
    if value is ABSENT:
        del at[last]
    else:
        at[last] = value
    return document


def refused_at(path: str, named: str) -> str:
    """The place that a refusal of a row of SPOILT names."""
    return (named or path).replace("!", ".")
