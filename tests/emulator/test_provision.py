"""The topology as it is put into a Pub/Sub."""

from pathlib import Path

import pytest

from emulator.provision import for_backend, subscription_request
from emulator.topology import Subscription, Topology

TOPOLOGY = Topology.load(Path(__file__).parents[2] / "terraform/topology.yaml")


def test_a_push_subscription_is_made_as_described() -> None:
    """Endpoint with the topic in its path, backoff, dead letter, no expiry."""
    wanted = TOPOLOGY.subscriptions["send-email"]
    made = subscription_request("p", "send-email", wanted, {"send-email": "http://127.0.0.1:1/"})
    assert made.push_config.push_endpoint == "http://127.0.0.1:1/projects/p/topics/user.created"
    assert made.ack_deadline_seconds == wanted.ack_deadline_seconds
    assert made.retry_policy.minimum_backoff.total_seconds() == 10
    assert made.retry_policy.maximum_backoff.total_seconds() == 600
    assert made.dead_letter_policy.dead_letter_topic == "projects/p/topics/user.created.dead-letter"
    assert made.dead_letter_policy.max_delivery_attempts == 10
    plain = type(made).pb(made)
    assert plain.HasField("expiration_policy")
    assert not plain.expiration_policy.HasField("ttl")  # never


def test_a_fraction_of_a_second_of_backoff_is_kept() -> None:
    """Tests wait less than a second."""
    wanted = Subscription(topic="t", minimum_backoff_seconds=0.25)
    made = subscription_request("p", "s", wanted, {})
    assert made.retry_policy.minimum_backoff.total_seconds() == 0.25
    assert made.retry_policy.maximum_backoff.total_seconds() == 600


@pytest.mark.parametrize(("backend", "days"), [("gcloud", 7), ("embedded", 31)])
def test_retention_beyond_googles_emulator_is_shortened_for_it_alone(
    backend: str, days: int
) -> None:
    """Google's emulator refuses more than 7 days; ours takes production's 31."""
    kept = for_backend(TOPOLOGY.subscriptions["user.created.dead-letter"], backend)  # type: ignore[arg-type]
    assert kept.retention_seconds == days * 86_400
