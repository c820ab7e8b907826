"""send_email over HTTP, as Pub/Sub pushes to it through functions-framework."""

import json
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from send_email.delivery import Delivery, NotNow
from shared.documents import StoreUnavailable
from shared.events import Encoding
from tests.unit.fakes import ENCODINGS, SEND_EMAIL_ENVIRONMENT, MailBench, pushed

# functions-framework 3.10.2 calls datetime.utcnow(), deprecated since Python 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

PATH = "/projects/demo-test/topics/user.created"


@pytest.fixture
def served(load: Any) -> tuple[Client, MailBench]:
    client, module = load("tests/unit/on_fakes/send_email/main.py", "send_email")
    return client, module.bench


def push(client: Client, body: object) -> TestResponse:
    return client.post(PATH, data=json.dumps(body), content_type="application/json")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_pushed_event_is_mailed_and_acknowledged(
    served: tuple[Client, MailBench], encoding: Encoding
) -> None:
    """A raw push, as the subscription sends it; the framework leaves bytes alone."""
    client, bench = served
    assert push(client, pushed(encoding=encoding)).status_code == 200
    assert len(bench.transport.mails) == 1


def test_an_eventarc_delivery_is_the_same_event(served: tuple[Client, MailBench]) -> None:
    """The platform's own CloudEvent, with an id that is not our event_id."""
    client, bench = served
    headers = {
        "ce-id": "another-id",
        "ce-source": "//pubsub.googleapis.com/projects/demo-test/topics/user.created",
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
    }
    push(client, pushed())
    response = client.post("/", json=pushed("2"), headers=headers)
    assert response.status_code == 200
    assert len(bench.transport.mails) == 1


def test_a_message_that_is_not_ours_is_acknowledged(served: tuple[Client, MailBench]) -> None:
    """Recorded, not retried."""
    client, bench = served
    body = {"message": {"messageId": "7", "data": "eA==", "attributes": {}}, "subscription": "s"}
    assert push(client, body).status_code == 200
    assert len(bench.store.broken) == 1


def test_a_failure_is_answered_without_its_text(
    served: tuple[Client, MailBench], capfd: pytest.CaptureFixture[str]
) -> None:
    """Not acknowledged; neither answer nor log quotes the error, which quotes the address."""
    client, bench = served
    errors = [NotNow("smtp_451"), RuntimeError("ada@example.com is unlucky")]
    bench.transport.errors.extend(errors)
    bench.clock.advance(1)
    for _ in errors:
        response = push(client, pushed())
        assert (response.status_code, response.text) == (503, "again later\n")
        bench.clock.advance(60)
    captured = capfd.readouterr()
    assert "ada@example.com" not in captured.out + captured.err
    assert "Traceback" not in captured.out + captured.err
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert lines[-1]["error"] == "builtins.RuntimeError"
    assert lines[-1]["pubsub_message_id"] == "1"
    assert push(client, pushed()).status_code == 200


def test_an_outage_of_firestore_is_not_acknowledged(served: tuple[Client, MailBench]) -> None:
    """Nothing is sent, the message comes again."""
    client, bench = served

    def down(delivery: Delivery) -> None:
        raise StoreUnavailable("down")

    bench.store.before_put = down
    assert push(client, pushed()).status_code == 503
    assert bench.transport.mails == []


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("GET", b"", 405),
        ("POST", b"", 400),
        ("POST", b"{", 400),
        ("POST", b"null", 400),
        ("POST", b'{"message": {"messageId": "1", "secret": "s3cret"}, "subscription": "s"}', 400),
    ],
)
def test_what_the_framework_refuses_is_not_echoed(
    served: tuple[Client, MailBench], method: str, body: bytes, status: int
) -> None:
    """It would answer with all headers and the data. The last is a message without data."""
    response = served[0].open(
        PATH,
        method=method,
        data=body,
        content_type="application/json",
        headers={"Authorization": "Bearer s3cret"},
    )
    assert (response.status_code, response.text) == (status, "refused\n")
    assert response.headers.get("Allow") == ("POST" if status == 405 else None)


def test_the_function_as_deployed_starts(load: Any) -> None:
    """Its settings are read; its clients wait for the first message."""
    client, _ = load("functions/send_email/main.py", "send_email", SEND_EMAIL_ENVIRONMENT)
    assert client.get("/").status_code == 405
