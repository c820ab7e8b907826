"""create_user's use case: what exists, what is announced and what is answered, in that order."""

import json
import threading

import jwt
import pytest
from google.api_core import exceptions

from create_user.form import NewUser
from create_user.outbox import PublishRefused, PublishUnavailable
from create_user.registration import EmailTaken, claim_key
from shared.documents import StoreUnavailable, outages_named
from shared.events import Encoding, decode
from shared.traces import Trace
from tests.unit.fakes import CANARY, KEY, START, SignUpBench

TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "01")
ADA = NewUser("Ada Lovelace", "ada@example.com", None, "en", CANARY)


@pytest.fixture
def bench() -> SignUpBench:
    return SignUpBench()


def test_a_new_user_is_stored_with_its_claim_and_announced(bench: SignUpBench) -> None:
    """One commit, one event with the user's data, and the outbox record says published."""
    registered = bench.registration().register(ADA, TRACE)

    (sign_up,) = bench.store.users.values()
    assert sign_up.user_id == registered.user_id
    assert bench.store.claims == {claim_key("ada@example.com", KEY): registered.user_id}
    event = decode(bench.publisher.published[0])
    assert (event.user_id, event.email, event.created_time) == (
        registered.user_id,
        "ada@example.com",
        START,
    )
    assert event.traceparent == TRACE.traceparent
    assert bench.store.states == {event.event_id: "published"}


@pytest.mark.parametrize(
    ("encoding", "content_type"), [("JSON", "application/json"), ("BINARY", "application/protobuf")]
)
def test_an_event_is_written_as_the_setting_says(
    bench: SignUpBench, encoding: Encoding, content_type: str
) -> None:
    """In the outbox as in Pub/Sub, and the content type travels with it."""
    bench.encoding = encoding
    bench.registration().register(ADA, TRACE)

    (message,) = bench.publisher.published
    assert message.attributes["ce-datacontenttype"] == content_type
    assert decode(message).name == "Ada Lovelace"
    (sign_up,) = bench.store.users.values()
    assert sign_up.message == message


def test_the_token_has_exactly_the_registered_claims(bench: SignUpBench) -> None:
    """iss, sub, aud, iat, nbf, exp, jti; a kid and a typ in the header; no part of the record."""
    registered = bench.registration().register(ADA, TRACE)

    claims = jwt.decode(registered.token, options={"verify_signature": False})
    assert set(claims) == {"iss", "sub", "aud", "iat", "nbf", "exp", "jti"}
    assert claims["sub"] == registered.user_id
    assert claims["exp"] - claims["iat"] == 900
    assert jwt.get_unverified_header(registered.token) == {
        "alg": "HS256",
        "kid": "k1",
        "typ": "at+jwt",
    }


def test_nothing_secret_leaves_the_store(
    bench: SignUpBench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither password nor hash is in the event, the token, the reply's data or the log."""
    registered = bench.registration().register(ADA, TRACE)

    (message,) = bench.publisher.published
    seen = f"{message.data!r}{message.attributes}{registered}{capsys.readouterr()}"
    assert CANARY not in seen
    assert "not-a-real-hash" not in seen


def test_the_log_line_has_trace_and_event_id_and_a_masked_address(
    bench: SignUpBench, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, by which the sign-up is found and its owner is not."""
    bench.registration().register(ADA, TRACE)

    (line,) = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert entry["message"] == "user_created"
    assert entry["event_id"] in bench.store.states
    assert entry["email"] == "a***@example.com"
    assert "ada@example.com" not in line


def test_a_taken_address_costs_no_hash(bench: SignUpBench) -> None:
    """The look before the commit spares the work, and changes nothing."""
    bench.registration().register(ADA, TRACE)
    with pytest.raises(EmailTaken):
        bench.registration().register(ADA, TRACE)

    assert bench.hasher.count == 1
    assert len(bench.store.users) == len(bench.publisher.published) == 1


def test_fifty_simultaneous_sign_ups_of_one_address_make_one_user(bench: SignUpBench) -> None:
    """All pass the look, one commits: 1 user, 1 outbox record, 1 event, 49 refusals."""
    barrier = threading.Barrier(50)
    bench.hasher.before_return = barrier.wait
    outcomes: list[str] = []

    def attempt() -> None:
        try:
            bench.registration().register(ADA, TRACE)
            outcomes.append("created")
        except EmailTaken:
            outcomes.append("taken")

    threads = [threading.Thread(target=attempt) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["created"] + ["taken"] * 49
    assert len(bench.store.users) == len(bench.store.states) == len(bench.publisher.published) == 1


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("DeadlineExceeded"),
        exceptions.PermissionDenied("no"),
        exceptions.InvalidArgument("no"),
        ValueError("out of attempts"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("step", ["error", "commit_error"])
def test_a_store_error_publishes_nothing(bench: SignUpBench, step: str, error: Exception) -> None:
    """Whatever the store raises, before or at the commit, no event is announced."""
    setattr(bench.store, step, error)
    with pytest.raises(type(error)):
        bench.registration().register(ADA, TRACE)

    assert bench.publisher.published == []


@pytest.mark.parametrize(
    "error", [PublishUnavailable("hangs"), PublishRefused("bad"), TypeError("a mistake of ours")]
)
def test_a_failing_publish_does_not_fail_the_sign_up(bench: SignUpBench, error: Exception) -> None:
    """The user has an account and a token; the event stays pending."""
    bench.publisher.error_for = lambda message: error
    assert bench.registration().register(ADA, TRACE).token

    assert list(bench.store.states.values()) == ["pending"]


def test_an_event_that_could_not_be_published_is_relayed_with_the_same_event_id(
    bench: SignUpBench,
) -> None:
    """What the relay publishes later is byte for byte what the sign-up wrote."""
    bench.publisher.error_for = lambda message: PublishUnavailable("down")
    bench.registration().register(ADA, TRACE)
    (sign_up,) = bench.store.users.values()
    bench.publisher.error_for = lambda message: None

    assert bench.relay().run().published == 0, "too young to be the relay's business"
    bench.clock.advance(31)
    assert bench.relay().run().published == 1
    assert bench.publisher.published == [sign_up.message]
    assert decode(bench.publisher.published[0]).event_id == sign_up.event_id


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), exceptions.PermissionDenied("no")])
def test_an_event_published_but_not_marked_is_relayed_again(
    bench: SignUpBench, error: Exception
) -> None:
    """The sign-up succeeds; twice published, one event_id: subscribers tell by it."""
    bench.store.mark_error = error
    bench.registration().register(ADA, TRACE)
    bench.store.mark_error = None
    bench.clock.advance(31)
    bench.relay().run()

    first, second = bench.publisher.published
    assert first == second


def test_a_claim_key_tells_nothing_of_the_address() -> None:
    """It is a keyed hash: fixed length, no slash, and another key gives another id."""
    key = claim_key("a/../b@example.com", KEY)
    assert len(key) == 64
    assert key.isalnum()
    assert key != claim_key("a/../b@example.com", KEY[::-1])


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ServiceUnavailable("x"),
        exceptions.DeadlineExceeded("x"),
        exceptions.Aborted("x"),
        exceptions.ResourceExhausted("x"),
        exceptions.InternalServerError("x"),
        exceptions.Unknown("x"),
        exceptions.Cancelled("x"),
        exceptions.RetryError("x", None),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_of_firestore_is_told_from_a_mistake(error: Exception) -> None:
    """Contention and absence may pass; Aborted is no AlreadyExists though both are Conflict."""
    with pytest.raises(StoreUnavailable), outages_named():
        raise error


def test_a_mistake_stays_what_it_is() -> None:
    """AlreadyExists and PermissionDenied are not outages."""
    with pytest.raises(exceptions.AlreadyExists), outages_named():
        raise exceptions.AlreadyExists("x")
    with pytest.raises(exceptions.PermissionDenied), outages_named():
        raise exceptions.PermissionDenied("x")
