"""Push: what is sent, what acknowledges it, and what happens if it is not acknowledged."""

import itertools
import threading
import time
from typing import Any

import jwt
import pytest
import requests

from tests.conformance.features import differs, feature
from tests.conformance.pubsub.conftest import Pubsub, data
from tests.conformance.pubsub.endpoint import Endpoint, Push

DOCS = "https://cloud.google.com/pubsub/docs"
PUSH = f"{DOCS}/push"
UNWRAP = f"{DOCS}/payload-unwrapping"
AUTH = f"{DOCS}/authenticate-push-subscriptions"


@feature("The body is the documented JSON", production=f"{PUSH}#receive_push")
def test_push_body_is_the_wrapped_message(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
    [message_id] = pubsub.send(topic, {"data": b"\x00hello", "attributes": {"a": "b"}})
    [push] = endpoint.take()
    assert push.json["subscription"] == subscription
    message = push.json["message"]
    assert push.data == b"\x00hello"
    assert message["attributes"] == {"a": "b"}
    assert message["messageId"] == message["message_id"] == message_id
    assert message["publishTime"] == message["publish_time"]
    assert message["publishTime"].endswith("Z")
    assert push.headers["Content-Type"] == "application/json"


@feature(
    "The body has the ordering key",
    production=f"{PUSH}#receive_push",
    gcloud="orderingKey is missing",
)
def test_push_body_has_the_ordering_key(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(
        topic, push_config={"push_endpoint": endpoint.url}, enable_message_ordering=True
    )
    pubsub.send(topic, {"data": b"x", "ordering_key": "k"})
    assert endpoint.take()[0].json["message"].get("orderingKey") == "k"


@feature(
    "The body has deliveryAttempt under a dead letter policy",
    production=f"{DOCS}/dead-letter-topics",
    gcloud="deliveryAttempt is missing",
)
def test_push_body_counts_attempts(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(
        topic,
        push_config={"push_endpoint": endpoint.url},
        dead_letter_policy={"dead_letter_topic": pubsub.topic(), "max_delivery_attempts": 5},
        retry_policy=QUICK,
    )
    endpoint.answer = lambda push: 204 if len(endpoint.pushes) >= 3 else 500
    pubsub.send(topic, b"x")
    assert endpoint.take(1)[0].json.get("deliveryAttempt") == 1
    attempts = [push.json.get("deliveryAttempt") for push in endpoint.take(3, within=8)]
    assert attempts == [1, 2, 3]


@feature("The body has no deliveryAttempt without one", production=f"{DOCS}/dead-letter-topics")
def test_push_body_does_not_count_attempts_unasked(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
    pubsub.send(topic, b"x")
    assert "deliveryAttempt" not in endpoint.take()[0].json


QUICK = {"minimum_backoff": {"nanos": 100_000_000}, "maximum_backoff": {"nanos": 200_000_000}}


@feature("102, 200, 201, 202 and 204 acknowledge", production=f"{PUSH}#receive_push")
@pytest.mark.parametrize(
    "statuses",
    [(102, 200, 201, 204), pytest.param((202,), marks=differs(gcloud="202 is retried"))],
    ids=str,
)
def test_success_acknowledges(
    pubsub: Pubsub, endpoint: Endpoint, statuses: tuple[int, ...]
) -> None:
    """What is refused last is pushed again; whatever else is refused has been by then."""
    topic = pubsub.topic()
    endpoint.answer = lambda push: int(push.data)
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url}, retry_policy=QUICK)
    for sent, status in enumerate(statuses, 1):
        pubsub.send(topic, b"%d" % status)
        endpoint.take(sent)
    pubsub.send(topic, b"500")
    endpoint.take_until(lambda _: sum(p.data == b"500" for p in endpoint.pushes) >= 2)
    assert [int(push.data) for push in endpoint.pushes] == [*statuses, 500, 500]
    endpoint.answer = lambda push: 204


@feature("Any other status is a nack", production=f"{PUSH}#receive_push")
@pytest.mark.parametrize(
    "statuses",
    [
        (205, 206, 302, 304, 400, 401, 404, 429, 500, 503),
        pytest.param((203,), marks=differs(gcloud="203 acknowledges")),
    ],
    ids=str,
)
def test_any_other_status_is_a_nack(
    pubsub: Pubsub, endpoint: Endpoint, statuses: tuple[int, ...]
) -> None:
    topic = pubsub.topic()
    tried: set[bytes] = set()

    def refuse_once(push: Push) -> int:
        again = push.data in tried
        tried.add(push.data)
        return 204 if again else int(push.data)

    endpoint.answer = refuse_once
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url}, retry_policy=QUICK)
    pubsub.send(topic, *[b"%d" % status for status in statuses])
    pushes = endpoint.take(2 * len(statuses), within=2)
    assert sorted(int(push.data) for push in pushes) == sorted(statuses * 2)


@feature("A nacked push is retried until it is acknowledged", production=PUSH)
def test_push_is_retried_without_a_policy(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
    endpoint.answer = lambda push: 204 if len(endpoint.pushes) >= 3 else 500
    pubsub.send(topic, b"x")
    pushes = endpoint.take(3)
    assert len({push.json["message"]["messageId"] for push in pushes}) == 1


@feature(
    "Without a policy, retries back off from 100 ms to 60 s",
    production=f"{PUSH}#push_backoff",
    gcloud="every 1.0 s, for ever",
)
def test_push_backoff_grows(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
    endpoint.answer = lambda push: 204 if len(endpoint.pushes) >= 5 else 500
    pubsub.send(topic, b"x")
    first, second = endpoint.take(2)[:2]
    assert second.at - first.at < 0.6
    times = [push.at for push in endpoint.take(5, within=4)]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits[-1] > 2 * waits[0]


@feature(
    "A retry policy sets the backoff of push",
    production=f"{DOCS}/subscription-retry-policy",
    gcloud="1 s and more, past the policy's maximum",
)
def test_push_retry_stays_within_the_policy(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url}, retry_policy=QUICK)
    endpoint.answer = lambda push: 204 if len(endpoint.pushes) >= 5 else 500
    pubsub.send(topic, b"x")
    times = [push.at for push in endpoint.take(5, within=2)]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(waits) < 0.7


@feature("An endpoint that is down is tried again", production=PUSH)
def test_push_reaches_an_endpoint_that_comes_up_later(pubsub: Pubsub) -> None:
    with Endpoint() as later:
        port = int(later.url.split(":")[2].split("/")[0])
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": later.url}, retry_policy=QUICK)
    pubsub.send(topic, b"x")
    with Endpoint(port) as endpoint:
        assert endpoint.take(1, within=8)[0].data == b"x"


@feature(
    "After its attempts a pushed message is dead lettered", production=f"{DOCS}/dead-letter-topics"
)
def test_pushed_message_is_dead_lettered(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic, dead = pubsub.topic(), pubsub.topic()
    dead_subscription = pubsub.subscription(dead)
    endpoint.answer = lambda push: 500
    pubsub.subscription(
        topic,
        push_config={"push_endpoint": endpoint.url},
        dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5},
    )
    pubsub.send(topic, b"poison")
    assert data(pubsub.take(dead_subscription, within=15)) == [b"poison"]
    assert len(endpoint.pushes) == 5


@feature("Push keeps the order of a key", production=f"{DOCS}/ordering")
def test_push_keeps_order_through_a_nack(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(
        topic,
        push_config={"push_endpoint": endpoint.url},
        enable_message_ordering=True,
        retry_policy=QUICK,
    )
    failed = threading.Event()

    def fail_the_second_once(push: Push) -> int:
        if push.data == b"1" and not failed.is_set():
            failed.set()
            return 500
        return 204

    endpoint.answer = fail_the_second_once
    for i in range(4):
        pubsub.send(topic, {"data": b"%d" % i, "ordering_key": "k"})
    pushes = [push.data for push in endpoint.take_until(lambda p: p.data == b"3", 8)]
    assert pushes == [b"0", b"1", b"1", b"2", b"3"]


@feature(
    "Concurrency grows while pushes succeed",
    production=f"{PUSH}#push_backoff",
    gcloud="two pushes at a time",
)
def test_many_pushes_are_under_way_at_once(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    lock = threading.Lock()
    under_way = [0, 0]  # now, at most
    enough = threading.Event()

    def answer(push: Push) -> int:
        with lock:
            under_way[0] += 1
            under_way[1] = max(under_way)
            if under_way[0] >= 8:
                enough.set()
        enough.wait(0.1)
        with lock:
            under_way[0] -= 1
        return 204

    endpoint.answer = answer
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
    pubsub.send(topic, *[b"%d" % i for i in range(40)])
    endpoint.take(40, within=15)
    assert under_way[1] >= 8


@feature("no_wrapper sends the data alone", production=UNWRAP)
def test_unwrapped_body_is_the_data(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    config = {"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": False}}
    pubsub.subscription(topic, push_config=config)
    pubsub.send(topic, {"data": b'{"status": "Hello there"}', "attributes": {"a": "b"}})
    [push] = endpoint.take()
    assert push.body == b'{"status": "Hello there"}'
    assert [name for name in push.headers if name.lower().startswith("x-goog-pubsub")] == []


@feature(
    "write_metadata sends the rest as headers",
    production=UNWRAP,
    gcloud="x-goog-pubsub-ordering-key is missing",
)
def test_metadata_is_written_as_headers(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    config = {"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}}
    subscription = pubsub.subscription(topic, push_config=config, enable_message_ordering=True)
    attributes = {"color": "red"}
    [message_id] = pubsub.send(
        topic, {"data": b"raw", "attributes": attributes, "ordering_key": "some-key"}
    )
    [push] = endpoint.take()
    assert push.body == b"raw"
    assert push.headers["x-goog-pubsub-subscription-name"] == subscription
    assert push.headers["x-goog-pubsub-message-id"] == message_id
    assert push.headers["x-goog-pubsub-publish-time"]
    assert push.headers["x-goog-pubsub-ordering-key"] == "some-key"
    assert push.headers["color"] == "red"


@feature("A content type may be set by an attribute", production=UNWRAP)
def test_content_type_attribute_is_the_header(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    config = {"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}}
    pubsub.subscription(topic, push_config=config)
    pubsub.send(topic, {"data": b"{}", "attributes": {"Content-Type": "application/json"}})
    assert endpoint.take()[0].headers["Content-Type"] == "application/json"


@feature("ModifyPushConfig moves the backlog to a new endpoint", production=PUSH)
def test_backlog_goes_to_the_new_endpoint(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.send(topic, b"x")
    pubsub.modify_push_config(
        subscription=subscription, push_config={"push_endpoint": endpoint.url}
    )
    assert endpoint.take()[0].data == b"x"


@feature("ModifyPushConfig back to pull keeps what was not acknowledged", production=PUSH)
def test_backlog_of_a_push_subscription_can_be_pulled(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    endpoint.answer = lambda push: 500
    subscription = pubsub.subscription(
        topic, push_config={"push_endpoint": endpoint.url}, retry_policy=QUICK
    )
    pubsub.send(topic, b"x")
    endpoint.take()
    pubsub.modify_push_config(subscription=subscription, push_config={})
    assert data(pubsub.take(subscription)) == [b"x"]


def bearer(push: Push) -> str:
    """The token of a push's Authorization header."""
    scheme, _, token = push.headers.get("Authorization", "").partition(" ")
    assert scheme == "Bearer"
    return token


def pushed_with_token(pubsub: Pubsub, endpoint: Endpoint, **token: Any) -> Push:
    """One push of a subscription that asks for an OIDC token."""
    topic = pubsub.topic()
    config = {"push_endpoint": endpoint.url, "oidc_token": token}
    pubsub.subscription(topic, push_config=config)
    pubsub.send(topic, b"x")
    return endpoint.take()[0]


ACCOUNT = "pusher@project.iam.gserviceaccount.com"


@feature("A push carries the OIDC token asked for", production=AUTH, gcloud="no token is sent")
def test_token_names_the_account_and_audience(pubsub: Pubsub, endpoint: Endpoint) -> None:
    push = pushed_with_token(
        pubsub, endpoint, service_account_email=ACCOUNT, audience="https://example.com/app"
    )
    claims = jwt.decode(bearer(push), options={"verify_signature": False})
    assert claims["aud"] == "https://example.com/app"
    assert claims["email"] == ACCOUNT
    assert claims["email_verified"] is True
    assert claims["sub"]
    assert claims["iat"] <= time.time() < claims["exp"] <= claims["iat"] + 3600


@feature(
    "The token's audience is the endpoint unless told otherwise",
    production=AUTH,
    gcloud="no token is sent",
)
def test_audience_is_the_endpoint_by_default(pubsub: Pubsub, endpoint: Endpoint) -> None:
    push = pushed_with_token(pubsub, endpoint, service_account_email=ACCOUNT)
    claims = jwt.decode(bearer(push), options={"verify_signature": False})
    assert claims["aud"] == endpoint.url


@feature("The token is signed by a published key", production=AUTH, gcloud="no token is sent")
def test_token_verifies_against_the_published_keys(pubsub: Pubsub, endpoint: Endpoint) -> None:
    push = pushed_with_token(pubsub, endpoint, service_account_email=ACCOUNT, audience="app")
    token = bearer(push)
    issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
    base = f"http://{pubsub.server.http_address}"
    configuration = requests.get(f"{base}/.well-known/openid-configuration", timeout=5).json()
    assert configuration["issuer"] == issuer
    key = jwt.PyJWKClient(configuration["jwks_uri"]).get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key.key, algorithms=["RS256"], audience="app", issuer=issuer)
    assert claims["email"] == ACCOUNT


@feature("A push without oidc_token carries none", production=AUTH)
def test_push_without_authentication_has_no_token(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config={"push_endpoint": endpoint.url})
    pubsub.send(topic, b"x")
    assert endpoint.take()[0].headers.get("Authorization") is None
