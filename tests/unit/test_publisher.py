"""Publishing ends in time even when the other side does not."""

import socket
import time

import pytest

from create_user.outbox import PublishUnavailable
from create_user.publisher import PubSubPublisher
from shared.events import Message


@pytest.mark.parametrize("listening", [True, False], ids=["hangs", "nobody there"])
def test_a_publish_that_is_not_answered_ends_within_its_timeout(
    monkeypatch: pytest.MonkeyPatch, listening: bool
) -> None:
    """A server that accepts and says nothing, and none at all, are the same to the sign-up."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        publisher = PubSubPublisher("demo-test", "user.created", timeout_seconds=0.3)
        started = time.monotonic()
        with pytest.raises(PublishUnavailable):
            publisher.publish(Message(b"{}", {"ce-id": "e"}))
        assert time.monotonic() - started < 2
