"""The topology as it is put into a Pub/Sub."""

import asyncio
from pathlib import Path

import pytest
from google.pubsub_v1 import types

from emulator.errors import SetupError
from emulator.provision import for_backend, provision, subscription_request, topic_request
from emulator.topology import Subscription, Topology

TOPOLOGY = Topology.load(Path(__file__).parents[2] / "terraform/topology.yaml")


def test_a_push_subscription_is_made_as_described() -> None:
    """Endpoint with the topic in its path, backoff, dead letter, no expiry."""
    wanted = TOPOLOGY.pushes["send-email"]
    made = subscription_request("p", "send-email", wanted, "http://127.0.0.1:1/")
    assert made.push_config.push_endpoint == "http://127.0.0.1:1/projects/p/topics/user.created"
    assert made.ack_deadline_seconds == wanted.ack_deadline_seconds
    assert made.retry_policy.minimum_backoff.total_seconds() == 10
    assert made.retry_policy.maximum_backoff.total_seconds() == 600
    assert made.dead_letter_policy.dead_letter_topic == "projects/p/topics/user.created.dead-letter"
    assert made.dead_letter_policy.max_delivery_attempts == 10
    plain = type(made).pb(made)
    assert plain.HasField("expiration_policy")
    assert not plain.expiration_policy.HasField("ttl")  # never


def test_a_topic_is_made_with_its_schema_and_without() -> None:
    """The schema is named as the topic; the dead-letter topic takes anything."""
    made = topic_request("p", "user.created", TOPOLOGY.topics["user.created"])
    assert made.schema_settings.schema == "projects/p/schemas/user.created"
    assert made.schema_settings.encoding == types.Encoding.JSON
    assert made.message_retention_duration.total_seconds() == 604_800
    plain = topic_request("p", "x", TOPOLOGY.topics["user.created.dead-letter"])
    assert not types.Topic.pb(plain).HasField("schema_settings")


def test_a_definition_that_is_not_text_is_named(tmp_path: Path) -> None:
    """Before Pub/Sub is asked for anything."""
    file = tmp_path / "shared/user_created.proto"
    file.parent.mkdir()
    file.write_bytes(b"\xff")
    making = provision(
        TOPOLOGY, project="p", address="127.0.0.1:1", definitions=tmp_path, push_urls={}
    )
    with pytest.raises(SetupError, match=f"{file}: cannot be read as UTF-8"):
        asyncio.run(making)


def test_a_fraction_of_a_second_of_backoff_is_kept() -> None:
    """Tests wait less than a second."""
    wanted = Subscription(topic="t", minimum_backoff_seconds=0.25)
    made = subscription_request("p", "s", wanted, None)
    assert made.retry_policy.minimum_backoff.total_seconds() == 0.25
    assert made.retry_policy.maximum_backoff.total_seconds() == 600


@pytest.mark.parametrize(("backend", "days"), [("gcloud", 7), ("embedded", 31)])
def test_retention_beyond_googles_emulator_is_shortened_for_it_alone(
    backend: str, days: int
) -> None:
    """Google's emulator refuses more than 7 days; ours takes production's 31."""
    month = TOPOLOGY.with_push("send-email", retention_seconds=31 * 86_400)
    taken, _ = for_backend(month, backend)  # type: ignore[arg-type]
    kept = taken.subscriptions["user.created.dead-letter"].retention_seconds
    assert kept == taken.pushes["send-email"].retention_seconds == days * 86_400


def test_googles_emulator_gets_no_schema_and_that_is_said() -> None:
    """It answers 501 to a protobuf schema."""
    taken, told = for_backend(TOPOLOGY, "gcloud")
    assert taken.topics["user.created"].schema is None
    assert len(told) == 1
    assert "user.created" in told[0]
    assert for_backend(TOPOLOGY, "embedded") == (TOPOLOGY, [])
