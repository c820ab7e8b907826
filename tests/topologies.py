"""Topologies that cannot be, for those who have to refuse them: the local cloud and Terraform."""

import copy
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[1] / "terraform/topology.yaml"
SEND = "functions.send-email"
PUSH = f"{SEND}.trigger.push"
ABSENT = object()

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
    (f"{SEND}.environment", {"PORT": 25}, f"{SEND}.environment"),
    (f"{SEND}.per_deployment", ["ABSENT"], ""),
    (f"{SEND}.per_deployment", "MAIL_FROM", ""),
    (f"{SEND}.trigger", {}, ""),
    (f"{SEND}.trigger", None, ""),
    (f"{SEND}.trigger.http", True, f"{SEND}.trigger"),
    ("functions.relay-outbox.trigger.schedule", "61 * * * *", ""),
    ("functions.relay-outbox.trigger.schedule", "* * * *", ""),
    ("functions.create-user.secrets", {"KEY": "missing"}, "functions.create-user.secrets.KEY"),
    ("functions.short", {"source": "a", "entry_point": "a", "trigger": {"http": True}}, ""),
    ("secrets.jwt-keys.kind", "rot13", ""),
    ("firestore.indexes", [{"collection": "outbox"}], "firestore.indexes"),
    ("firestore.ttl", [{"collection": "outbox", "fields": "x"}], "firestore.ttl"),
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
