"""POST to mail, on the real parts of each backend, and what becomes of it when a part fails."""

import base64
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import jwt
import requests

from tests.e2e.conftest import ATTEMPTS, RunningStack


def test_a_sign_up_becomes_a_mail(stack: RunningStack, address: str) -> None:
    """201 with user and token; stored without the password; event; delivery; mail with a link."""
    answer = stack.sign_up(address, name="Grace Hopper", password="a long pass phrase, please")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    user = body["user"]
    assert user["email"] == address
    assert user["name"] == "Grace Hopper"
    assert jwt.decode(body["token"], options={"verify_signature": False})["sub"] == user["id"]

    (mail,) = stack.wait_for_mail(address)
    assert mail.recipients == (address,)
    assert "Grace Hopper" in mail.text
    assert mail.message["Auto-Submitted"] == "auto-generated"

    stored = stack.firestore.document(f"users/{user['id']}").get().to_dict()
    assert stored["email"] == address
    assert stored["password"]["hash"].startswith("$2b$")
    event_id, record = stack.outbox_of(user["id"])
    assert record["attributes"]["ce-type"] == "user.created"
    delivery = stack.wait_for_delivery(event_id, "sent")
    assert delivery["attempts"] == 1


def test_a_taken_address_is_told_so_and_gets_no_second_mail(
    stack: RunningStack, address: str
) -> None:
    """409 for the same address in other letters; one user, one mail."""
    assert stack.sign_up(address).status_code == 201
    again = stack.sign_up(address.upper())
    assert again.status_code == 409
    assert again.json()["code"] == "email_taken"
    assert again.headers["Content-Type"] == "application/problem+json"
    stack.wait_for_mail(address)
    users = stack.users_with(address)
    assert len(users) == 1


def test_fifty_simultaneous_sign_ups_of_one_address_make_one_user(
    stack: RunningStack, address: str
) -> None:
    """1 x 201, 49 x 409 and nothing else; 1 user, 1 outbox record, 1 mail."""
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: stack.sign_up(address), range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    stack.wait_for_mail(address)
    users = stack.users_with(address)
    assert len(users) == 1
    stack.outbox_of(users[0].id)
    assert len(stack.mail.mails(address)) == 1


def test_a_mail_server_that_is_down_never_blocks_a_sign_up(
    stack: RunningStack, address: str
) -> None:
    """201 while SMTP is down; the mail arrives once it is up again."""
    stack.call(stack.mail.stop())
    try:
        answer = stack.sign_up(address)
        assert answer.status_code == 201
        event_id, _ = stack.outbox_of(answer.json()["user"]["id"])
        stack.wait_for_line("send-email", event_id, "mail_not_taken")
        assert stack.mail.mails(address) == []
    finally:
        stack.call(stack.mail.start())
    stack.wait_for_mail(address)
    delivery = stack.wait_for_delivery(event_id, "sent")
    assert delivery["attempts"] >= 2


def test_a_temporary_refusal_is_tried_again(stack: RunningStack, address: str) -> None:
    """451 and then 250: one mail, two attempts."""
    stack.mail.fail_next("451 4.3.0 try again later")
    event_id, _ = stack.outbox_of(stack.sign_up(address).json()["user"]["id"])
    stack.wait_for_mail(address)
    assert stack.wait_for_delivery(event_id, "sent")["attempts"] == 2
    assert len(stack.mail.mails(address)) == 1


def test_a_final_refusal_is_recorded_and_not_tried_again(stack: RunningStack, address: str) -> None:
    """550: failed after one attempt. A second copy of the event does not revive it."""
    before = stack.mail.attempts
    stack.mail.fail_next("550 5.1.1 no such user", stage="RCPT")
    event_id, record = stack.outbox_of(stack.sign_up(address).json()["user"]["id"])
    assert stack.wait_for_delivery(event_id, "failed")["attempts"] == 1
    publish(stack, record)
    stack.wait_for_line("send-email", event_id, "delivery_final_already")
    assert stack.mail.attempts == before + 1
    assert stack.mail.mails(address) == []


def publish(stack: RunningStack, record: dict[str, object]) -> None:
    """Publish an outbox record as it stands: a second message with the same event_id."""
    attributes = record["attributes"]
    assert isinstance(attributes, dict)
    topic = stack.topic("user.created")
    stack.publisher().publish(topic, record["data"], **attributes).result(30)


def test_the_same_event_twice_makes_one_mail(stack: RunningStack, address: str) -> None:
    """A republished event has a new message id and the old event_id: dropped."""
    event_id, record = stack.outbox_of(stack.sign_up(address).json()["user"]["id"])
    stack.wait_for_delivery(event_id, "sent")
    publish(stack, record)
    stack.wait_for_line("send-email", event_id, "delivery_final_already")
    assert len(stack.mail.mails(address)) == 1


def test_a_broken_message_is_recorded_and_not_retried(stack: RunningStack) -> None:
    """It can never become good: kept for a person, acknowledged, once."""
    topic = stack.topic("user.created")
    # What the topic's schema lets pass: its fields are all there is to it, and all are empty.
    message_id = stack.publisher().publish(topic, b"{}", **{"ce-id": "x"}).result(30)
    stack.wait_for_document(f"broken_messages/{message_id}", bool)
    # What comes after it is delivered: it does not stand in the way.
    good = "after-the-broken-one@example.com"
    assert stack.sign_up(good).status_code == 201
    stack.wait_for_mail(good)
    assert len(stack.wait_for_line("message_broken", f"pubsub_message_id={message_id} ")) == 1


def test_an_event_that_never_succeeds_ends_in_the_dead_letter_subscription(
    stack: RunningStack, address: str
) -> None:
    """After the last failed delivery it is found there, whole."""
    stack.mail.fail_next("451 4.3.0 never", times=ATTEMPTS)
    event_id, record = stack.outbox_of(stack.sign_up(address).json()["user"]["id"])
    dead = stack.pull_dead_letter("ce-id", event_id)
    assert dead.data == record["data"]
    assert dead.attributes["CloudPubSubDeadLetterSourceSubscription"] == "send-email"
    assert stack.mail.mails(address) == []
    # Nothing is lost: published again by a person, it is delivered.
    publish(stack, record)
    stack.wait_for_mail(address)


def test_pubsub_down_during_a_sign_up_delays_the_mail_and_nothing_else(
    stack: RunningStack, address: str
) -> None:
    """201 while Pub/Sub is down; the relay publishes the same event_id when it is back."""
    stack.call(stack.stack.stop_server("pubsub"))
    try:
        answer = stack.sign_up(address)
        assert answer.status_code == 201
        event_id, record = stack.outbox_of(answer.json()["user"]["id"])
        assert record["state"] == "pending"
        down = stack.post("relay-outbox")
        assert down.status_code == 503
        assert down.headers["Content-Type"] == "application/problem+json"
    finally:
        stack.call(stack.stack.start_server("pubsub"))
    assert stack.relay_until_published(event_id)["state"] == "published"
    stack.wait_for_mail(address)
    assert stack.wait_for_delivery(event_id, "sent")["attempts"] == 1


def test_firestore_down_refuses_a_sign_up_and_promises_nothing(
    stack_backend: str, stack: RunningStack, address: str
) -> None:
    """503 with Retry-After as problem+json, no event; the same form works when it is back."""
    stack.call(stack.stack.stop_server("firestore"))
    try:
        answer = stack.sign_up(address)
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
    finally:
        stack.call(stack.stack.start_server("firestore"))
    stack.sign_up_until_created(address)
    stack.wait_for_mail(address)
    assert len(stack.mail.mails(address)) == 1


def test_a_function_killed_between_claim_and_send_sends_after_its_lease(
    stack: RunningStack, address: str
) -> None:
    """SIGKILL while the mail server hangs: redelivered, sent once, after the lease ended."""
    before = stack.mail.attempts
    stack.call(_hold(stack))
    try:
        answer = stack.sign_up(address)
        event_id, _ = stack.outbox_of(answer.json()["user"]["id"])
        stack.call(stack.mail.wait_for_attempts(before + 1))
        stack.call(stack.stack.functions["send-email"].kill())
    finally:
        stack.call(_resume(stack))
    stack.wait_for_mail(address)
    assert stack.wait_for_delivery(event_id, "sent")["attempts"] == 2
    assert len(stack.mail.mails(address)) == 1


async def _hold(stack: RunningStack) -> None:
    stack.mail.hold()


async def _resume(stack: RunningStack) -> None:
    stack.mail.resume()


def test_no_secret_reaches_a_log_an_event_a_token_or_a_mail(
    stack: RunningStack, address: str
) -> None:
    """A canary password and its hash are in no output of any part."""
    canary = "canary-Zk3-passphrase"
    answer = stack.sign_up(address, password=canary)
    user_id = answer.json()["user"]["id"]
    (mail,) = stack.wait_for_mail(address)
    stack.sign_up(address, password=canary)
    stack.post("create-user", data=json.dumps({"password": canary}))
    stored = stack.firestore.document(f"users/{user_id}").get().to_dict()
    _, record = stack.outbox_of(user_id)
    claims = answer.json()["token"].split(".")[1]
    outputs = {
        "log": "\n".join(stack.lines),
        "event": record["data"].decode() + json.dumps(dict(record["attributes"])),
        "token": base64.urlsafe_b64decode(claims + "==").decode(),
        "mail": mail.path.read_text(),
        "reply": answer.text,
    }
    for where, text in outputs.items():
        for secret in (canary, stored["password"]["hash"]):
            assert secret not in text, where
    assert address not in outputs["log"]
    assert address not in outputs["token"]


def test_an_unknown_path_and_method_are_problems_not_pages(stack: RunningStack) -> None:
    """The framework's HTML never shows."""
    for method, path, status in [("GET", "", 405), ("POST", "nowhere", 404), ("PUT", "", 405)]:
        answer = requests.request(method, stack.url("create-user") + path, timeout=30)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
