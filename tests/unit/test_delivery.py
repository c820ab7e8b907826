"""send_email's use case: one event, one mail, whatever happens on the way."""

import json
import random
import threading
from email import message_from_bytes
from typing import Any

import jwt
import pytest

from send_email.delivery import DeliverAgain, Delivery, LeaseHeld, NotNow, Refused
from shared.documents import StoreUnavailable
from shared.events import Encoding, Message, encode
from tests.unit.fakes import ENCODINGS, KEYS, MailBench, envelope, pushed, user_created


@pytest.fixture
def bench() -> MailBench:
    return MailBench()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_event_becomes_one_mail_to_its_address(bench: MailBench, encoding: Encoding) -> None:
    """Claimed before, sent after, one attempt; nothing here knows how the event was written."""
    assert bench.mailer().receive(pushed(encoding=encoding)) == "sent"
    (mail,) = bench.transport.mails
    assert (mail.sender, mail.recipient) == ("no-reply@example.com", "ada@example.com")
    assert bench.store.states == [("claimed", 1), ("sent", 1)]


def test_the_attempt_is_counted_before_the_mail_goes_out(bench: MailBench) -> None:
    """A worker that dies while sending has left its mark."""
    seen: list[Delivery] = []
    bench.transport.before_send = lambda: seen.append(bench.store.only)
    bench.mailer().receive(pushed())
    assert (seen[0].state, seen[0].attempts) == ("claimed", 1)


def test_one_event_under_two_message_ids_is_one_mail(bench: MailBench) -> None:
    """A republish has a new message id and the same event_id, whatever its encoding."""
    assert bench.mailer().receive(pushed("1")) == "sent"
    assert bench.mailer().receive(pushed("2")) == "final_already"
    assert bench.mailer().receive(pushed("3", "BINARY")) == "final_already"
    assert len(bench.transport.mails) == 1


def test_two_workers_at_once_send_one_mail(bench: MailBench) -> None:
    """Both arrive at the claim together; one gets it, the other asks for the message later."""
    barrier = threading.Barrier(2)

    def meet(delivery: Delivery) -> None:
        if delivery.state == "claimed":
            barrier.wait(timeout=10)

    bench.store.before_put = meet
    sent_while_other_refused = threading.Event()
    bench.transport.before_send = lambda: sent_while_other_refused.wait(timeout=10)
    outcomes: list[str] = []

    def work(message_id: str) -> None:
        try:
            outcomes.append(bench.mailer().receive(pushed(message_id)))
        except LeaseHeld:
            outcomes.append("held")
            sent_while_other_refused.set()

    workers = [threading.Thread(target=work, args=(number,)) for number in ("1", "2")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(outcomes) == ["held", "sent"]
    assert len(bench.transport.mails) == 1


class KilledError(BaseException):
    """The process ends here: nothing catches it."""


def test_killed_between_claim_and_send_is_sent_after_the_lease(bench: MailBench) -> None:
    """Until then the lease is live and the message is asked for later; then it says ambiguous."""
    bench.transport.errors = [KilledError()]
    with pytest.raises(KilledError):
        bench.mailer().receive(pushed("1"))
    bench.clock.advance(44)
    with pytest.raises(LeaseHeld):
        bench.mailer().receive(pushed("1"))
    bench.clock.advance(2)
    assert bench.mailer().receive(pushed("1")) == "sent"
    assert (bench.store.only.attempts, bench.store.only.ambiguous) == (2, True)


def test_killed_between_the_servers_yes_and_our_note_repeats_the_same_mail(
    bench: MailBench,
) -> None:
    """Sent twice, byte for byte the same mail with one Message-ID."""

    def die_at_sent(delivery: Delivery) -> None:
        if delivery.state == "sent" and delivery.attempts == 1:
            raise KilledError

    bench.store.before_put = die_at_sent
    with pytest.raises(KilledError):
        bench.mailer().receive(pushed("1"))
    bench.clock.advance(46)
    assert bench.mailer().receive(pushed("1")) == "sent"
    first, second = bench.transport.mails
    assert first == second
    assert bench.store.only.ambiguous


def test_a_failure_that_may_pass_is_tried_again_at_once(bench: MailBench) -> None:
    """The lease is given back with the reason: 451, then the mail."""
    bench.transport.errors = [NotNow("smtp_451")]
    with pytest.raises(DeliverAgain):
        bench.mailer().receive(pushed())
    assert (bench.store.only.state, bench.store.only.last_error) == ("claimed", "smtp_451")
    assert bench.mailer().receive(pushed()) == "sent"
    assert (bench.store.only.attempts, bench.store.only.ambiguous) == (2, False)


def test_an_uncertain_failure_is_remembered_as_ambiguous(bench: MailBench) -> None:
    """Silence after the last dot: the mail may be out."""
    bench.transport.errors = [NotNow("SMTPServerDisconnected", uncertain=True)]
    with pytest.raises(DeliverAgain):
        bench.mailer().receive(pushed())
    assert bench.mailer().receive(pushed()) == "sent"
    assert bench.store.only.ambiguous


def test_a_refusal_is_final_after_one_attempt(bench: MailBench) -> None:
    """550 is recorded and acknowledged, and sticks."""
    bench.transport.errors = [Refused("smtp_550")]
    assert bench.mailer().receive(pushed()) == "failed"
    assert bench.mailer().receive(pushed()) == "final_already"
    assert (bench.store.only.attempts, bench.store.only.last_error) == (1, "smtp_550")
    assert bench.transport.mails == []


def test_an_event_older_than_its_link_is_not_mailed(bench: MailBench) -> None:
    """A link that no longer works helps nobody: expired, recorded, final."""
    bench.clock.advance(3600)
    assert bench.mailer().receive(pushed()) == "expired"
    assert bench.store.only.state == "expired"
    assert bench.transport.mails == []


def test_a_sent_mail_stays_sent_when_its_message_comes_late(bench: MailBench) -> None:
    """Final states stick: too old is not told to one that was sent."""
    bench.mailer().receive(pushed())
    bench.clock.advance(10_000)
    assert bench.mailer().receive(pushed()) == "final_already"
    assert bench.store.only.state == "sent"


def test_an_outage_before_the_claim_sends_nothing(bench: MailBench) -> None:
    """The message must come again."""

    def down(delivery: Delivery) -> None:
        raise StoreUnavailable("down")

    bench.store.before_put = down
    with pytest.raises(StoreUnavailable):
        bench.mailer().receive(pushed())
    assert bench.transport.mails == []


@pytest.mark.parametrize("error", [StoreUnavailable("down"), PermissionError("a mistake of ours")])
def test_trouble_after_the_servers_yes_does_not_ask_for_a_second_mail(
    bench: MailBench, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """The mail is out: acknowledged, and the log says what is not recorded."""

    def down(delivery: Delivery) -> None:
        if delivery.state == "sent":
            raise error

    bench.store.before_put = down
    assert bench.mailer().receive(pushed()) == "sent"
    assert "delivery_not_recorded" in capsys.readouterr().out


def test_an_outage_while_giving_the_lease_back_is_no_other_failure(bench: MailBench) -> None:
    """The lease runs out by itself."""
    bench.transport.errors = [NotNow("smtp_451")]

    def down(delivery: Delivery) -> None:
        if delivery.last_error:
            raise StoreUnavailable("down")

    bench.store.before_put = down
    with pytest.raises(DeliverAgain):
        bench.mailer().receive(pushed())
    bench.clock.advance(46)
    assert bench.mailer().receive(pushed()) == "sent"


def test_a_claim_whose_answer_was_lost_is_recognised(bench: MailBench) -> None:
    """The store says "not at that version" of our own write: its claim_id is ours."""
    bench.store.after_put = lambda delivery: delivery.state != "claimed"
    assert bench.mailer().receive(pushed()) == "sent"
    assert bench.store.only.attempts == 1


def test_a_worker_that_lost_its_claim_does_not_overwrite_the_other(bench: MailBench) -> None:
    """It was slower than its lease: the other's record stays."""
    once = [True]

    def overtake() -> None:
        if once:
            once.clear()
            bench.clock.advance(46)
            assert bench.mailer().receive(pushed()) == "sent"

    bench.transport.before_send = overtake
    bench.transport.errors = []
    assert bench.mailer().receive(pushed()) == "sent"
    assert bench.store.states == [("claimed", 1), ("claimed", 2), ("sent", 2)]


def test_every_attempt_carries_the_same_link(bench: MailBench) -> None:
    """Bound to user, address and purpose; valid from the sign-up on; no address to be read."""
    bench.mailer().receive(pushed())
    (mail,) = bench.transport.mails
    text = message_from_bytes(mail.content).get_payload(0).get_payload(decode=True).decode()
    token = text.split("?token=")[1].split()[0]

    # A fixed date's link has run out by now: its life is checked by hand.
    lasting = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    claims = jwt.decode(token, KEYS.current_key, ["HS256"], lasting, audience="verify_email")
    assert jwt.get_unverified_header(token)["typ"] == "verify-email+jwt"
    assert (claims["sub"], claims["purpose"]) == ("u-1", "verify_email")
    assert claims["exp"] - claims["iat"] == 3600
    assert "ada" not in json.dumps(claims)


def broken_messages(count: int) -> list[object]:
    """Messages each broken in one way or several, the same ones every time."""
    chance = random.Random(20260131)  # noqa: S311 - variety, not secrecy
    good = encode(user_created(), "/source", "JSON")
    payload = json.loads(good.data)
    values: list[Any] = [
        None, 1, -1.5, True, "", " ", "x" * 5000, [], {}, [None], "a\r\nBcc: b@example.com",
        "\u2028", "../..", "a/b", "..", "9999-12-31T23:59:59-14:00", "2026-01-31", "1.x", "2.0",
    ]  # fmt: skip
    made: list[object] = [
        None, 7, "text", b"bytes", [], {}, {"message": None}, {"message": []}, {"message": {}},
        {"message": {"data": "", "attributes": {}}},
        {"message": {"data": "!", "attributes": dict(good.attributes)}},
        {"message": {"data": "é", "attributes": dict(good.attributes)}},
        {"message": {"data": 1, "attributes": dict(good.attributes)}},
        {"message": {"data": "e30=", "attributes": None}},
        {"message": {"data": "e30=", "attributes": {"ce-id": 1}}},
    ]  # fmt: skip
    raw = [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"a":1,"a":2}', b"x" * 70_000]
    made += [envelope(Message(data, good.attributes)) for data in raw]
    # Optional for a reader: a broken value of these does not break the event.
    attributes = [
        name
        for name in good.attributes
        if name not in ("traceparent", "ce-source", "ce-time", "ce-dataschema")
    ]
    fields = [name for name in payload if name != "name"]
    while len(made) < count:
        changed, marked = dict(payload), dict(good.attributes)
        kind = chance.randrange(4)
        if kind == 0:
            del changed[chance.choice(list(payload))]
        elif kind == 1:
            changed[chance.choice(fields)] = chance.choice(values)
        elif kind == 2:
            del marked[chance.choice(attributes)]
        else:
            marked[chance.choice(attributes)] = f"/{chance.choice(values)}"
        made.append(envelope(Message(json.dumps(changed).encode(), marked)))
    return made


def test_broken_messages_are_recorded_and_acknowledged(bench: MailBench) -> None:
    """300 of them: none raises, none is mailed, each is kept."""
    messages = broken_messages(300)
    for message in messages:
        assert bench.mailer().receive(message) == "broken", message
    assert len(bench.store.broken) == 300
    assert bench.transport.mails == []


def test_a_broken_message_that_cannot_be_recorded_comes_again(bench: MailBench) -> None:
    """An outage is not the message's fault, and it must not be lost."""

    def down(envelope: object, reason: str, now: object) -> None:
        raise StoreUnavailable("down")

    bench.store.record_broken = down  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        bench.mailer().receive({})


def test_the_log_has_the_event_and_its_trace_and_no_address(
    bench: MailBench, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for one mail."""
    bench.mailer().receive(pushed())
    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert (entry["message"], entry["event_id"]) == ("mail_sent", "e-1")
    assert entry["logging.googleapis.com/trace"].endswith("4bf92f3577b34da6a3ce929d0e0e4736")
    assert "ada@example.com" not in line
