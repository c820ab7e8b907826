"""One sign-up from the request to the mail, shown step by step.

Everything shown was read back from the running stack: the reply from HTTP, the user and the
delivery from Firestore, the event from a subscription of the demo's own, the mail from the
catcher. The demo succeeds when each of them came.
"""

import asyncio
import contextlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
from google.cloud import firestore
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.pubsub_v1 import types
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from grpc_tools import protoc

from emulator.provision import subscription_name, topic_name
from emulator.smtp import Mail
from emulator.stack import Stack

Show = Callable[[str], None]
_STEP_SECONDS = 60.0
_LISTEN_SECONDS = 5.0


class DemoFailedError(Exception):
    """A step of the demo did not happen; the message says which."""


@dataclass
class Story:
    """What happened, each part as it was read back. `seconds` are since the request."""

    request: dict[str, Any] = field(default_factory=dict)
    reply: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    event: dict[str, Any] = field(default_factory=dict)
    delivery: dict[str, Any] = field(default_factory=dict)
    mail: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def _shortened(value: object, path: str = "") -> object:
    """The value without what must not stand on a screen: passwords, hashes, whole tokens."""
    if isinstance(value, dict):
        return {name: _shortened(item, name) for name, item in value.items()}
    if path == "password":
        return "(not shown)"
    if path in ("hash", "token") and isinstance(value, str):
        return f"{value[:7]}... ({len(value)} characters)"
    return value


def _plain(document: object) -> dict[str, Any]:
    """A document as JSON has it, in the order of its names: Firestore keeps none."""
    plain: dict[str, Any] = json.loads(json.dumps(document, default=str, sort_keys=True))
    return plain


def read_protobuf(data: bytes, definition: Path) -> dict[str, Any]:
    """A BINARY message by the names of its fields, from the .proto of its topic's schema alone.

    Raises:
        DemoFailedError: the definition does not compile.
    """
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        compiled = Path(folder) / "set"
        arguments = [f"-I{definition.parent}", f"--descriptor_set_out={compiled}", str(definition)]
        if protoc.main(["protoc", *arguments]) != 0:
            raise DemoFailedError(f"{definition} does not compile: see above")
        files = FileDescriptorSet.FromString(compiled.read_bytes())
    (message,) = message_factory.GetMessages(files.file).values()  # a schema has one
    told: dict[str, Any] = json_format.MessageToDict(
        message.FromString(data), preserving_proto_field_name=True
    )
    return told


class _Demo:
    def __init__(self, stack: Stack, show: Show) -> None:
        self.stack = stack
        self.show = show
        self.story = Story()
        self.began = 0.0

    def step(self, name: str, title: str, content: object) -> None:
        """Record one part of the story and show it."""
        self.story.seconds[name] = round(time.perf_counter() - self.began, 3)
        self.show(f"\n[{self.story.seconds[name]:6.3f} s] {title}")
        text = content if isinstance(content, str) else json.dumps(content, indent=2, default=str)
        self.show("\n".join(f"    {line}" for line in text.splitlines()))

    async def tell(self, name: str, email: str) -> Story:
        """Sign `name` up and follow it to the mail."""
        create_user = self.stack.topology.functions.get("create-user")
        topic = create_user.publishes.get("USER_CREATED") if create_user else None
        if topic is None:
            raise DemoFailedError("the topology has no create-user that publishes USER_CREATED")
        environment = self.stack.environment()
        async with grpc.aio.insecure_channel(environment["PUBSUB_EMULATOR_HOST"]) as channel:
            subscriber = SubscriberAsyncClient(
                transport=SubscriberGrpcAsyncIOTransport(channel=channel)
            )
            project = self.stack.project
            tap = subscription_name(project, "demo-tap")
            await subscriber.create_subscription(
                types.Subscription(name=tap, topic=topic_name(project, topic))
            )
            arrival = asyncio.create_task(self.stack.mail.wait_for(email))
            await self._sign_up(environment["CREATE_USER_URL"], name, email)
            await self._user()
            await self._event(subscriber, tap, topic)
            await self._mail(arrival)
            await self._delivery()
        return self.story

    async def _sign_up(self, url: str, name: str, email: str) -> None:
        body = {"name": name, "email": email, "password": secrets.token_urlsafe(18)}
        self.began = time.perf_counter()
        self.story.request = {"method": "POST", "url": url, "body": _shortened(body)}
        self.step("request", f"request: POST {url}", _shortened(body))
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as reply:
            answer = await reply.json(content_type=None)
            self.story.reply = {"status": reply.status, "body": _shortened(answer)}
            self.step("reply", f"reply: {reply.status} {reply.reason}", _shortened(answer))
        if reply.status != 201:
            raise DemoFailedError(f"create_user answered {reply.status}, not 201")

    async def _user(self) -> None:
        user_id = self.story.reply["body"]["user"]["id"]
        snapshot = (
            await firestore.AsyncClient(project=self.stack.project)
            .document(f"users/{user_id}")
            .get()
        )
        if not snapshot.exists:
            raise DemoFailedError(f"users/{user_id} is not in Firestore")
        self.story.user = _plain(_shortened(snapshot.to_dict()))
        self.step("user", f"stored in Firestore: users/{user_id}", self.story.user)

    async def _event(self, subscriber: SubscriberAsyncClient, tap: str, topic: str) -> None:
        reply = await subscriber.pull(subscription=tap, max_messages=1, timeout=_STEP_SECONDS)
        if not reply.received_messages:
            raise DemoFailedError("no event was published")
        message = reply.received_messages[0].message
        self.story.event = {
            "message_id": message.message_id,
            "attributes": _plain(dict(message.attributes)),
            "data": self._data(message, topic),
        }
        self.step("event", f"published to Pub/Sub: {topic}", self.story.event)

    def _data(self, message: Any, topic: str) -> object:
        content_type = message.attributes.get("ce-datacontenttype")
        schema = self.stack.topology.topics[topic].schema
        if content_type == "application/json":
            return json.loads(message.data)
        if content_type == "application/protobuf" and schema:
            return read_protobuf(message.data, self.stack.settings.functions / schema.definition)
        raise DemoFailedError(
            f"the event is {content_type}, and {topic} has no schema to read it by"
        )

    async def _mail(self, arrival: "asyncio.Task[list[Mail]]") -> None:
        mail = (await arrival)[0]
        headers = {
            name: str(mail.message[name]) for name in ("From", "To", "Subject", "Message-ID")
        }
        self.story.mail = {**headers, "recipients": list(mail.recipients), "text": mail.text}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        self.step("mail", "delivered mail", "\n".join([*lines, "", mail.text]))

    async def _delivery(self) -> None:
        """The delivery record, once it says that the mail was sent (just after it was)."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()
        client = firestore.Client(project=self.stack.project)

        def changed(documents: Any, _changes: Any, _read_time: Any) -> None:
            for document in documents:
                if document.get("state") == "sent":
                    self.story.delivery = {document.id: document.to_dict()}
                    loop.call_soon_threadsafe(sent.set)

        while not sent.is_set():
            # A listener of Google's emulator 1.19.9 may miss a change made just as it begins:
            # another one starts from what is there.
            watch = client.collection("deliveries").on_snapshot(changed)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(sent.wait(), _LISTEN_SECONDS)
            await asyncio.to_thread(watch.unsubscribe)
        client.close()
        self.story.delivery = _plain(self.story.delivery)
        self.step("delivery", "delivery recorded in Firestore", self.story.delivery)


async def demo(stack: Stack, *, name: str, email: str, show: Show) -> Story:
    """Sign `name` up on a fresh stack and follow it to the mail; `show` takes the lines.

    Raises:
        DemoFailedError: a step did not happen within a minute.
    """
    # The Firestore client finds its emulator in the environment and nowhere else.
    os.environ["FIRESTORE_EMULATOR_HOST"] = stack.environment()["FIRESTORE_EMULATOR_HOST"]
    told = _Demo(stack, show)
    try:
        return await asyncio.wait_for(told.tell(name, email), _STEP_SECONDS)
    except TimeoutError as error:
        done = ", ".join(told.story.seconds) or "nothing"
        raise DemoFailedError(
            f"the story did not end within {_STEP_SECONDS:.0f} s; it got to: {done}"
        ) from error
