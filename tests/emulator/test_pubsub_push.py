"""Push over real HTTP: what is sent, what acks, and how fast it goes."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

from emulator.clock import SECOND_US
from emulator.pubsub.backoff import MAX_WINDOW, PushPace, retry_delay_us
from emulator.pubsub.server import PubSubOptions, PubSubServer
from emulator.pubsub.settings import (
    DeadLetterPolicy,
    PushSettings,
    RetryPolicy,
    SubscriptionSettings,
    TopicSettings,
)
from emulator.pubsub.subscription import Subscription

TOPIC = "projects/p/topics/t-1"
SUBSCRIPTION = "projects/p/subscriptions/s-1"
QUICK = RetryPolicy(SECOND_US // 100, SECOND_US // 100)


@dataclass
class Pushed:
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Endpoint:
    """An HTTP server that keeps what it got and answers as told."""

    answer: Callable[[Pushed], Awaitable[int]]
    url: str = ""
    got: list[Pushed] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        pushed = Pushed(await request.read(), request.headers)
        self.got.append(pushed)
        self.arrived.set()
        return web.Response(status=await self.answer(pushed))

    async def take(self, count: int) -> list[Pushed]:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.got


class World:
    """A server, an endpoint, and a topic."""

    def __init__(self, server: PubSubServer, endpoint: Endpoint) -> None:
        self.server = server
        self.runtime = server.runtime
        self.broker = server.runtime.broker
        self.endpoint = endpoint
        self.broker.create_topic(TopicSettings(TOPIC))

    def subscribe(self, **settings: Any) -> Subscription:
        push = settings.pop("push", PushSettings(self.endpoint.url))
        return self.broker.create_subscription(
            SubscriptionSettings(SUBSCRIPTION, TOPIC, push=push, **settings),
            self.runtime.now_us(),
        )

    def publish(self, *data: bytes, key: str = "", **attributes: str) -> list[str]:
        drafts = [(one, attributes, key) for one in data]
        return [m.message_id for m in self.broker.publish(TOPIC, drafts, self.runtime.now_us())]

    async def settled(self, subscription: Subscription) -> None:
        """Wait until every message is acked."""
        async with asyncio.timeout(10):
            while subscription.unacked():  # noqa: ASYNC110  # gives way to the loop, no more
                await asyncio.sleep(0)


def in_world(
    scenario: Callable[[World], Awaitable[None]],
    answer: Callable[[Pushed], Awaitable[int]] | None = None,
) -> None:
    """Run the scenario and close everything."""

    async def run() -> None:
        async def no_content(_pushed: Pushed) -> int:
            return 204

        endpoint = Endpoint(answer or no_content)
        app = web.Application()
        app.router.add_post("/push", endpoint.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = "http://{}:{}/push".format(*runner.addresses[0])
        server = await PubSubServer.start(options=PubSubOptions(min_ack_deadline_seconds=1))
        try:
            await scenario(World(server, endpoint))
        finally:
            await server.close()
            await runner.cleanup()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_body_is_wrapped_as_production_does():
    """Both spellings of the ids, the ordering key, and no deliveryAttempt unasked."""

    async def scenario(world: World) -> None:
        subscription = world.subscribe()
        (message_id,) = world.publish(b"hi", key="k", a="b")
        (pushed,) = await world.endpoint.take(1)
        message = pushed.json["message"]
        assert pushed.json["subscription"] == SUBSCRIPTION
        assert "deliveryAttempt" not in pushed.json
        assert base64.b64decode(message["data"]) == b"hi"
        assert message["attributes"] == {"a": "b"}
        assert message["orderingKey"] == "k"
        assert message["messageId"] == message["message_id"] == message_id
        assert message["publishTime"] == message["publish_time"]
        assert pushed.headers["Content-Type"] == "application/json"
        await world.settled(subscription)

    in_world(scenario)


def test_unwrapped_body_is_the_data():
    """With metadata the rest is in headers; what no header can carry is left out."""

    async def scenario(world: World) -> None:
        push = PushSettings(world.endpoint.url, no_wrapper=True, write_metadata=True)
        world.subscribe(push=push, dead_letter_policy=DeadLetterPolicy(TOPIC))
        (message_id,) = world.publish(b"\x00hi", key="k", a="b", **{"bad name": "x", "c": "\r\n"})
        (pushed,) = await world.endpoint.take(1)
        assert pushed.body == b"\x00hi"
        assert pushed.headers["x-goog-pubsub-message-id"] == message_id
        assert pushed.headers["x-goog-pubsub-subscription-name"] == SUBSCRIPTION
        assert pushed.headers["x-goog-pubsub-ordering-key"] == "k"
        assert pushed.headers["x-goog-pubsub-delivery-attempt"] == "1"
        assert pushed.headers["a"] == "b"
        assert "c" not in pushed.headers

    in_world(scenario)


def test_refused_pushes_are_dead_lettered_with_their_attempts():
    """The deliveryAttempt counts from 1, and after max_delivery_attempts the message goes over."""

    async def refuse(_pushed: Pushed) -> int:
        return 500

    async def scenario(world: World) -> None:
        dead = "projects/p/topics/dead"
        world.broker.create_topic(TopicSettings(dead))
        letters = world.broker.create_subscription(
            SubscriptionSettings("projects/p/subscriptions/letters", dead), world.runtime.now_us()
        )
        subscription = world.subscribe(
            retry_policy=QUICK, dead_letter_policy=DeadLetterPolicy(dead, 5)
        )
        world.publish(b"x", a="b")
        pushes = await world.endpoint.take(5)
        await world.settled(subscription)
        assert [p.json["deliveryAttempt"] for p in pushes] == [1, 2, 3, 4, 5]
        (letter,) = letters.unacked()
        assert letter.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
        assert letter.attributes["CloudPubSubDeadLetterSourceSubscription"] == "s-1"
        assert letter.attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] == "p"
        assert letter.attributes["a"] == "b"

    in_world(scenario, refuse)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_acks(status: int):
    """Each of production's statuses acks."""

    async def answer(_pushed: Pushed) -> int:
        return status

    async def scenario(world: World) -> None:
        subscription = world.subscribe()
        world.publish(b"x")
        await world.settled(subscription)
        assert len(world.endpoint.got) == 1

    in_world(scenario, answer)


def test_102_acks():
    """102 is an answer of its own: nothing after it is waited for."""

    async def scenario(world: World) -> None:
        connected: list[asyncio.StreamWriter] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.append(writer)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")

        raw = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = raw.sockets[0].getsockname()[1]
        subscription = world.subscribe(push=PushSettings(f"http://127.0.0.1:{port}/"))
        world.publish(b"x")
        await world.settled(subscription)
        for writer in connected:
            writer.close()
        raw.close()
        await raw.wait_closed()
        assert len(connected) == 1

    in_world(scenario)


@pytest.mark.parametrize("status", [203, 205, 302, 400, 429, 503])
def test_any_other_status_pushes_again(status: int):
    """Redirects are not followed, and 203 is no success."""
    answers = iter([status, 204])

    async def answer(_pushed: Pushed) -> int:
        return next(answers)

    async def scenario(world: World) -> None:
        subscription = world.subscribe(retry_policy=QUICK)
        world.publish(b"x")
        await world.settled(subscription)
        assert len(world.endpoint.got) == 2

    in_world(scenario, answer)


def test_silent_endpoint_is_given_the_ack_deadline():
    """An answer that does not come within the deadline is a nack."""
    first = True

    async def answer(_pushed: Pushed) -> int:
        nonlocal first
        if first:
            first = False
            await asyncio.Event().wait()
        return 204

    async def scenario(world: World) -> None:
        subscription = world.subscribe(ack_deadline_seconds=1, retry_policy=QUICK)
        world.publish(b"x")
        await world.settled(subscription)
        assert len(world.endpoint.got) == 2

    in_world(scenario, answer)


def test_keys_are_pushed_in_order_and_do_not_hold_up_others():
    """The next message of a key waits for the one before; another key goes on."""
    released = asyncio.Event()
    tried: set[bytes] = set()

    async def answer(pushed: Pushed) -> int:
        data = base64.b64decode(pushed.json["message"]["data"])
        if data == b"a1" and data not in tried:
            tried.add(data)
            await released.wait()
            return 500
        return 204

    async def scenario(world: World) -> None:
        subscription = world.subscribe(enable_message_ordering=True, retry_policy=QUICK)
        world.publish(b"a1", b"a2", b"a3", key="a")
        world.publish(b"b1", b"b2", key="b")
        got = await world.endpoint.take(3)
        assert {p.json["message"]["orderingKey"] for p in got[1:3]} == {"b"}
        released.set()
        await world.settled(subscription)
        data = [base64.b64decode(p.json["message"]["data"]) for p in world.endpoint.got]
        assert [d for d in data if d.startswith(b"a")] == [b"a1", b"a1", b"a2", b"a3"]
        assert [d for d in data if d.startswith(b"b")] == [b"b1", b"b2"]

    in_world(scenario, answer)


def test_push_config_switches_between_push_and_pull():
    """Without an endpoint messages wait for a pull; with one again they are pushed."""

    async def scenario(world: World) -> None:
        subscription = world.subscribe()
        now_us = world.runtime.now_us()
        world.broker.modify_push_config(SUBSCRIPTION, PushSettings(), now_us)
        world.publish(b"x")
        subscription.check_takeable(push=False)
        await asyncio.sleep(0)
        assert [m.data for m in subscription.unacked()] == [b"x"]
        assert not world.endpoint.got
        push = PushSettings(world.endpoint.url)
        world.broker.modify_push_config(SUBSCRIPTION, push, now_us)
        await world.settled(subscription)
        assert len(world.endpoint.got) == 1

    in_world(scenario)


def test_changed_endpoint_takes_effect_at_once():
    """A push_config with another endpoint moves the next push there."""

    async def scenario(world: World) -> None:
        subscription = world.subscribe(push=PushSettings("http://127.0.0.1:9/"))
        settings = replace(subscription.settings, push=PushSettings(world.endpoint.url))
        world.broker.update_subscription(settings, world.runtime.now_us())
        world.publish(b"x")
        await world.settled(subscription)
        assert len(world.endpoint.got) == 1

    in_world(scenario)


def test_oidc_token_can_be_checked_with_the_published_keys():
    """The token names account and audience, and verifies with the JWKS that its issuer lists."""

    async def scenario(world: World) -> None:
        email = "pusher@p.iam.gserviceaccount.com"
        world.subscribe(
            push=PushSettings(
                world.endpoint.url, has_oidc=True, oidc_email=email, oidc_audience="me"
            )
        )
        world.publish(b"x")
        (pushed,) = await world.endpoint.take(1)
        scheme, token = pushed.headers["Authorization"].split()
        assert scheme == "Bearer"
        issuer = f"http://{world.server.http_address}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{issuer}/.well-known/openid-configuration") as response:
                configuration = await response.json()
            async with session.get(configuration["jwks_uri"]) as response:
                keys = jwt.PyJWKSet.from_dict(await response.json())
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["RS256"], audience="me", issuer=issuer)
        assert claims["email"] == email
        assert claims["email_verified"] is True
        assert {"sub", "iat", "exp"} <= claims.keys()

    in_world(scenario)


def test_pace_grows_with_success_and_pauses_on_failure():
    """The window doubles up to its bound and halves; pauses double from 100 ms to 60 s."""
    pace = PushPace()
    for _ in range(500):
        pace.success()
    assert pace.window == MAX_WINDOW
    now_us = 0
    pauses = []
    for _ in range(12):
        until_us = pace.failure(now_us, now_us, pause=True)
        pauses.append((until_us - now_us) / SECOND_US)
        now_us = until_us
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60
    assert pace.window == 1
    pace.success()
    assert pace.failure(now_us, now_us, pause=True) - now_us == SECOND_US // 10


def test_failures_of_one_round_count_once():
    """Pushes that were under way when the pause began do not prolong it."""
    pace = PushPace()
    until_us = pace.failure(1000, 2000, pause=True)
    assert pace.failure(1000, 3000, pause=True) == until_us


@pytest.mark.parametrize(
    ("failures", "spread", "seconds"),
    [(1, 0.0, 10), (2, 0.0, 20), (3, 0.5, 44), (1, 0.999999, 12), (7, 0.0, 600), (60, 0.9, 600)],
)
def test_retry_delay_is_exponential_within_its_bounds(failures: int, spread: float, seconds: float):
    """minimum_backoff doubles with each failure, spread upwards, up to maximum_backoff."""
    delay_us = retry_delay_us(10 * SECOND_US, 600 * SECOND_US, failures, spread)
    assert delay_us / SECOND_US == pytest.approx(seconds, rel=1e-4)
