"""A real stack under test: real processes, real HTTP, real SMTP, on each backend.

The stack lives on an event loop in a thread of its own; `RunningStack` lets a test, which is
plain code, reach it. What a test waits for is an event of the stack (a mail, a line of a log, a
document), never time.
"""

import asyncio
import json
import queue
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore, pubsub_v1
from google.cloud.firestore_v1.base_query import FieldFilter

from emulator import backends, gcloud
from emulator.smtp import Mail, MailCatcher
from emulator.stack import Stack, StackSettings
from emulator.topology import Topology

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
LISTEN_SECONDS = 5.0
ATTEMPTS = 12  # at a second at most between them, more than a killed worker's lease lasts
T = TypeVar("T")


class RunningStack:
    """A stack in a thread, with the clients a test needs."""

    def __init__(self, settings: StackSettings) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stack")
        self._thread.start()
        self.stack = Stack(replace(settings, show=self.see))
        try:
            self.call(self.stack.__aenter__())
        except BaseException:
            self._end_loop()
            raise

    def call(self, work: Coroutine[Any, Any, T], seconds: float = PATIENCE_SECONDS) -> T:
        """Run a coroutine of the stack on its loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def close(self) -> None:
        """Stop the stack and its thread."""
        try:
            self.call(self.stack.__aexit__(None, None, None))
        finally:
            self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def see(self, line: str) -> None:
        """Take a line of the merged log."""
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for_line(self, *parts: str, count: int = 1) -> list[str]:
        """The log lines that hold all `parts`, once there are `count` of them."""

        def found() -> list[str]:
            return [line for line in self.lines if all(part in line for part in parts)]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, PATIENCE_SECONDS), (
                f"no {count} log lines with {parts}"
            )
            return found()

    @property
    def mail(self) -> MailCatcher:
        """The mail catcher; its switches may be used from the test's thread."""
        return self.stack.mail

    def url(self, function: str) -> str:
        """Where a function listens."""
        return self.stack.functions[function].url

    def post(self, function: str, **arguments: Any) -> requests.Response:
        """POST to a function."""
        return requests.post(self.url(function), timeout=PATIENCE_SECONDS, **arguments)

    def sign_up(self, email: str, **fields: Any) -> requests.Response:
        """Sign someone up with a good form, changed by `fields`."""
        form = {"name": "Ada Lovelace", "email": email, "password": secrets.token_urlsafe(16)}
        return self.post("create-user", json=form | fields)

    def wait_for_mail(self, email: str, count: int = 1) -> list[Mail]:
        """The mails to an address, once there are `count`."""
        return self.call(asyncio.wait_for(self.mail.wait_for(email, count=count), PATIENCE_SECONDS))

    @property
    def firestore(self) -> firestore.Client:
        """A client of this stack's Firestore."""
        return self._firestore

    def use(self, exits: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the clients, which find their emulators in the environment."""
        for name, value in self.stack.environment().items():
            monkeypatch.setenv(name, value)
        self._firestore = firestore.Client(
            project=self.stack.project, credentials=AnonymousCredentials()
        )
        exits.callback(self._firestore.close)

    def wait_for_document(
        self, path: str, wanted: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """The document at `path`, once it is as `wanted`."""
        seen = threading.Event()
        last: dict[str, Any] = {}

        def changed(documents: Any, _changes: Any, _read_time: Any) -> None:
            for document in documents:
                last.clear()
                last.update(document.to_dict())
                if wanted(last):
                    seen.set()

        # A listener of Google's emulator 1.19.9 may miss a change made just as it begins: another
        # one starts from what is there.
        for _ in range(int(PATIENCE_SECONDS / LISTEN_SECONDS)):
            watch = self.firestore.document(path).on_snapshot(changed)
            try:
                if seen.wait(LISTEN_SECONDS):
                    break
            finally:
                watch.unsubscribe()
        assert seen.is_set(), f"{path} did not get as wanted; last: {last}"
        return dict(last)

    def wait_for_delivery(self, event_id: str, state: str) -> dict[str, Any]:
        """The delivery record of an event, once it is in `state`."""
        return self.wait_for_document(
            f"deliveries/{event_id}:verify_email", lambda record: record["state"] == state
        )

    def relay_until_published(self, event_id: str) -> dict[str, Any]:
        """Call the relay, as its schedule does, until it has published an event."""
        document = self.firestore.document(f"outbox/{event_id}")
        for _ in range(20):
            self.post("relay-outbox")  # it may be the clients' turn to find Pub/Sub again
            record: dict[str, Any] = document.get().to_dict()
            if record["state"] == "published":
                return record
        raise AssertionError(f"{event_id} was not published: {record['state']}")

    def sign_up_until_created(self, email: str) -> requests.Response:
        """Sign up as a client that heeds Retry-After: after an outage, until it is over."""
        for _ in range(20):
            answer = self.sign_up(email)
            if answer.status_code == 201:
                return answer
            assert answer.status_code == 503, answer.text
        raise AssertionError(answer.text)

    def pull_dead_letter(self, attribute: str, value: str) -> Any:
        """The dead-lettered message with that attribute, once it is there; taken out."""
        subscriber = pubsub_v1.SubscriberClient()
        name = f"projects/{self.stack.project}/subscriptions/user.created.dead-letter"
        found: queue.Queue[Any] = queue.Queue()

        def take(message: Any) -> None:
            message.ack()
            if message.attributes.get(attribute) == value:
                found.put(message)

        pulling = subscriber.subscribe(name, take)
        try:
            return found.get(timeout=PATIENCE_SECONDS)
        finally:
            pulling.cancel()
            pulling.result(PATIENCE_SECONDS)
            subscriber.close()

    def users_with(self, email: str) -> list[Any]:
        """The user documents with that address."""
        same = FieldFilter("email", "==", email)
        return list(self.firestore.collection("users").where(filter=same).stream())

    def outbox_of(self, user_id: str) -> tuple[str, dict[str, Any]]:
        """The id and the outbox record of the one event of a user."""
        records = [
            (document.id, document.to_dict())
            for document in self.firestore.collection("outbox").stream()
            if user_id in json.dumps(document.to_dict(), default=str)
        ]
        (record,) = records
        return record

    def publisher(self) -> pubsub_v1.PublisherClient:
        """A publisher on this stack's Pub/Sub."""
        return pubsub_v1.PublisherClient()

    def topic(self, name: str) -> str:
        """The full name of a topic."""
        return f"projects/{self.stack.project}/topics/{name}"


def fast(topology: Topology) -> Topology:
    """The project's topology with short waits, so that failures pass in seconds."""
    quick = topology.with_push(
        "send-email",
        ack_deadline_seconds=10,
        minimum_backoff_seconds=0.2,
        maximum_backoff_seconds=1,
        max_delivery_attempts=ATTEMPTS,
    )
    quick = quick.with_function("send-email", timeout_seconds=4)
    quick = quick.with_environment(
        "send-email",
        SMTP_TIMEOUT_SECONDS="2",
        DELIVERY_LEASE_SECONDS="5",
    )
    quick = quick.with_environment("relay-outbox", OUTBOX_MIN_AGE_SECONDS="0")
    return quick.with_environment("create-user", BCRYPT_COST="10", PUBLISH_TIMEOUT_SECONDS="1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--stack-backend embedded` runs the end-to-end tests on one backend only."""
    parser.addoption("--stack-backend", choices=backends.BACKENDS, help="one backend only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that uses a stack runs on each backend."""
    if "stack_backend" in metafunc.fixturenames:
        only = metafunc.config.getoption("stack_backend")
        chosen = [only] if only else list(backends.BACKENDS)
        metafunc.parametrize("stack_backend", chosen, scope="session", indirect=True)


@pytest.fixture(scope="session")
def stack_backend(request: pytest.FixtureRequest) -> str:
    """The backend; one that is not installed is skipped by name."""
    backend: str = request.param
    missing = gcloud.find().missing() if backend == "gcloud" else {}
    if missing:
        pytest.skip(f"Google's emulators are not installed: {', '.join(missing)} missing")
    return backend


@pytest.fixture(scope="session")
def shared_stack(
    stack_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    """One stack per backend, for all tests; each signs up addresses of its own."""
    running = RunningStack(
        StackSettings(
            topology=fast(Topology.load(ROOT / "terraform/topology.yaml")),
            functions=ROOT / "functions",
            state_dir=tmp_path_factory.mktemp(f"stack-{stack_backend}"),
            backend=stack_backend,
            project="e2e-test",
        )
    )
    yield running
    running.close()


@pytest.fixture
def stack(shared_stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningStack]:
    """The shared stack with clients for this test."""
    with ExitStack() as exits:
        shared_stack.use(exits, monkeypatch)
        yield shared_stack


@pytest.fixture
def address() -> str:
    """A mail address that no other test uses."""
    return f"user-{secrets.token_hex(6)}@example.com"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure shows the merged log of every process of the stack."""
    report: pytest.TestReport = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.when == "call" and report.failed and isinstance(running, RunningStack):
        report.sections.append(("log of the stack", "\n".join(running.lines[-200:])))
    return report
