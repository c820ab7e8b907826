"""The topology file: what it says is checked before anything starts."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.topology import Topology, TopologyError

FILE = Path(__file__).parents[2] / "terraform/topology.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    """The project's own topology, to be spoilt."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def test_the_projects_own_topology_is_valid() -> None:
    """What Terraform deploys loads."""
    topology = Topology.load(FILE)
    assert topology.functions["send-email"].signature_type == "cloudevent"
    assert topology.functions["create-user"].signature_type == "http"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("subscriptions.send-email.topic", "nowhere", "there is no topic 'nowhere'"),
        ("subscriptions.send-email.push_to", "nobody", "there is no function 'nobody'"),
        ("subscriptions.send-email.ack_deadline_seconds", 9, ">= 10"),
        ("subscriptions.send-email.ack_deadline_seconds", 601, "<= 600"),
        ("subscriptions.send-email.max_delivery_attempts", 4, ">= 5"),
        ("subscriptions.send-email.max_delivery_attempts", 101, "<= 100"),
        ("subscriptions.send-email.max_delivery_attempts", None, "go together"),
        ("subscriptions.send-email.dead_letter_topic", "lost", "there is no topic 'lost'"),
        ("subscriptions.send-email.minimum_backoff_seconds", 601, "<= 600"),
        ("subscriptions.send-email.maximum_backoff_seconds", 1, "is more than"),
        ("subscriptions.send-email.surprise", 1, "unknown field `surprise`"),
        ("subscriptions.send-email.ack_deadline_seconds", "60", "Expected `int`"),
        ("functions.send-email.timeout_seconds", 61, "longer than its subscription's ack deadline"),
        ("functions.send-email.trigger", {"subscription": "other"}, "does not push to it"),
        ("functions.create-user.trigger", {}, "exactly one of http, subscription, schedule"),
        ("functions.create-user.trigger", {"http": True, "schedule": "* * * * *"}, "exactly one"),
        ("functions.relay-outbox.trigger", {"schedule": "61 * * * *"}, "trigger.schedule"),
        ("functions.create-user.secrets", {"KEY": "missing"}, "there is no secret 'missing'"),
        ("secrets.jwt-keys.kind", "rot13", "rot13"),
        ("topics", [], "Expected `object`"),
    ],
)
def test_what_cannot_be_is_refused_by_its_place(
    document: dict[str, Any], path: str, value: object, says: str
) -> None:
    """One wrong thing in the file is named."""
    spoilt = copy.deepcopy(document)
    at: Any = spoilt
    *parents, last = path.split(".")
    for name in parents:
        at = at[name]
    at[last] = value
    with pytest.raises(TopologyError) as caught:
        Topology.parse(spoilt)
    assert says in str(caught.value)


def test_a_dead_letter_topic_that_nothing_keeps_is_refused(document: dict[str, Any]) -> None:
    """Dead-lettered into a topic without a subscription, a message is lost."""
    del document["subscriptions"]["user.created.dead-letter"]
    with pytest.raises(TopologyError, match="it would be lost"):
        Topology.parse(document)


def test_every_problem_is_named_at_once(document: dict[str, Any]) -> None:
    """The user mends the file in one go."""
    document["subscriptions"]["send-email"]["topic"] = "one"
    document["functions"]["create-user"]["secrets"] = {"KEY": "two"}
    with pytest.raises(TopologyError) as caught:
        Topology.parse(document)
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


def test_a_file_that_is_not_there_or_not_yaml_is_named(tmp_path: Path) -> None:
    """The error begins with the path."""
    absent = tmp_path / "absent.yaml"
    with pytest.raises(TopologyError, match="absent"):
        Topology.load(absent)
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(TopologyError, match="broken"):
        Topology.load(broken)
