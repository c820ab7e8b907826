"""redrive, against the embedded Pub/Sub: what comes back, and what stays when something fails.

When Pub/Sub brings what again is scripted: no test waits for an ack deadline.
"""

import json
import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.api_core.exceptions import (
    DeadlineExceeded,
    GoogleAPIError,
    ServiceUnavailable,
    Unauthenticated,
)
from google.auth.exceptions import OAuthError, TransportError
from google.pubsub_v1.types import PubsubMessage, PullResponse, ReceivedMessage

from deploy.errors import UnmetError
from deploy.redrive import Calls, redrive
from emulator.topology import Topology
from tests.conformance.conftest import Server, run_server
from tests.conformance.pubsub.conftest import Clients, Pubsub, data
from tests.deploy.conftest import Cloud

ADDED = "CloudPubSubDeadLetterSource"
TOPOLOGY = Topology.parse(
    {
        "topics": {"orders": {}, "dead": {}},
        "subscriptions": {
            "shipping": {
                "topic": "orders",
                "dead_letter_topic": "dead",
                "max_delivery_attempts": 5,
            },
            "dead": {"topic": "dead"},
        },
    }
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with run_server("pubsub", "embedded") as server:
        yield server


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[Clients]:
    clients = Clients(server.address)
    yield clients
    clients.channel.close()


class Post:
    """The topics and subscriptions of TOPOLOGY, in a project of their own."""

    def __init__(self, pubsub: Pubsub, **of_the_topic: Any) -> None:
        self.pubsub = pubsub
        self.topics = {name: f"{pubsub.project}/topics/{name}" for name in TOPOLOGY.topics}
        for name, topic in self.topics.items():
            pubsub.create_topic(name=topic, **(of_the_topic if name == "orders" else {}))
        dead_letters = {"dead_letter_topic": self.topics["dead"], "max_delivery_attempts": 5}
        self.shipping = self._subscription("shipping", "orders", dead_letter_policy=dead_letters)
        self.dead = self._subscription("dead", "dead")

    def _subscription(self, name: str, topic: str, **fields: Any) -> str:
        full_name = f"{self.pubsub.project}/subscriptions/{name}"
        self.pubsub.create_subscription(name=full_name, topic=self.topics[topic], **fields)
        return full_name

    def bury(self, *letters: bytes, source: str = "shipping", **fields: Any) -> None:
        """Put messages where Pub/Sub puts them when it has given up."""
        attributes = {f"{ADDED}Subscription": source, f"{ADDED}DeliveryCount": "5"}
        messages = [{"data": one, "attributes": attributes, **fields} for one in letters]
        self.pubsub.send(self.topics["dead"], *messages)


class Failing:
    """Calls that work `times` times and then fail: Pub/Sub is down."""

    def __init__(
        self, real: Any, call: str, times: int, error: GoogleAPIError | None = None
    ) -> None:
        self._real = real
        self._call = call
        self._left = times
        self._error = error or ServiceUnavailable("down")

    def __getattr__(self, name: str) -> Any:
        if name == self._call:
            self._left -= 1
            if self._left < 0:
                raise self._error
        return getattr(self._real, name)


class Scripted:
    """A Pub/Sub whose pulls bring these letters, one pull after the other: its data is its id."""

    def __init__(self, pulls: Sequence[list[bytes]]) -> None:
        self._pulls = iter(pulls)
        self.pulled = 0
        self.published: list[bytes] = []
        self.given_back: list[str] = []

    def pull(self, **_call: Any) -> PullResponse:
        """An empty list is a pull that ends at its deadline."""
        letters = next(self._pulls)
        if not letters:
            raise DeadlineExceeded("nothing came")
        self.pulled += 1
        return PullResponse(received_messages=[self._received(one) for one in letters])

    def _received(self, letter: bytes) -> ReceivedMessage:
        source = "someone-else" if letter.startswith(b"stays") else "shipping"
        attributes = {f"{ADDED}Subscription": source}
        message = PubsubMessage(data=letter, attributes=attributes, message_id=letter.decode())
        return ReceivedMessage(ack_id=f"{letter.decode()} {self.pulled}", message=message)

    def publish(self, *, request: Any, **_call: Any) -> None:
        self.published += [message["data"] for message in request["messages"]]

    def acknowledge(self, **_call: Any) -> None:
        pass

    def modify_ack_deadline(self, *, request: Any, **_call: Any) -> None:
        assert request["ack_deadline_seconds"] == 0
        self.given_back += request["ack_ids"]


@pytest.fixture
def pubsub(server: Server, clients: Clients, project_id: str) -> Pubsub:
    return Pubsub(server, clients, project_id)


@pytest.fixture
def project_id() -> str:
    return f"p-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def post(pubsub: Pubsub) -> Post:
    return Post(pubsub)


@pytest.fixture
def calls(clients: Clients) -> Calls:
    return Calls(clients.publisher, clients.subscriber)


def run(calls: Calls, pubsub: Pubsub, **options: Any) -> tuple[int, list[str]]:
    """The exit code and what was shown."""
    shown: list[str] = []
    options = {"wait_seconds": 0.3} | options
    code = redrive(calls, pubsub.project_id, TOPOLOGY, shown.append, **options)
    return code, shown


def with_schema(pubsub: Pubsub, encoding: str) -> Post:
    """TOPOLOGY with a topic that takes orders alone."""
    definition = 'syntax = "proto3"; message Order { string item = 1; }'
    schema = {"type_": "PROTOCOL_BUFFER", "definition": definition}
    made = pubsub.create_schema(parent=pubsub.project, schema_id="order", schema=schema)
    return Post(pubsub, schema_settings={"schema": made.name, "encoding": encoding})


@pytest.mark.parametrize("of", ["a topic without a schema", "a topic with a schema"])
def test_what_pubsub_gave_up_returns_to_its_topic_as_it_was(
    server: Server, of: str, pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that is no text and attributes with commas come back, and nothing that was added."""
    plain = of == "a topic without a schema"
    post = Post(pubsub) if plain else with_schema(pubsub, "BINARY")
    sent = b"\x00\xffsecret" if plain else b"\x0a\x03tea"
    attributes = {"ce-id": "e-1", "note": "a,b=c"}
    pubsub.send(post.topics["orders"], {"data": sent, "attributes": attributes})
    for _ in range(5):
        pubsub.nack(post.shipping, pubsub.take(post.shipping))
    (buried,) = pubsub.take(post.dead)
    assert buried.message.attributes[f"{ADDED}Subscription"] == "shipping"
    assert ("googclient_schemaname" in buried.message.attributes) == (not plain)
    pubsub.nack(post.dead, [buried])

    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.address)
    code, shown = run(Calls.of(pubsub.project_id), pubsub)

    (back,) = pubsub.take(post.shipping)
    assert back.message.data == sent
    own = {k: v for k, v in back.message.attributes.items() if not k.startswith("googclient_")}
    assert own == attributes
    assert pubsub.take_now(post.shipping) == []
    assert pubsub.take_now(post.dead) == []
    assert (code, shown) == (0, ["dead: 1 published again, 0 left there"])


def test_the_ordering_key_returns_too(post: Post, pubsub: Pubsub, calls: Calls) -> None:
    """A copy is in the same order as its like."""
    post.bury(b"x", ordering_key="ada")
    run(calls, pubsub)
    (back,) = pubsub.take(post.shipping)
    assert back.message.ordering_key == "ada"


def test_more_than_one_batch_returns(post: Post, pubsub: Pubsub, calls: Calls) -> None:
    """It goes on until nothing comes any more."""
    letters = [b"%d" % number for number in range(25)]
    post.bury(*letters)
    code, shown = run(calls, pubsub)
    assert sorted(data(pubsub.take(post.shipping, 25))) == sorted(letters)
    assert (code, shown) == (0, ["dead: 25 published again, 0 left there"])


def test_a_limit_leaves_the_rest(post: Post, pubsub: Pubsub, calls: Calls) -> None:
    """A first try with one message is possible."""
    post.bury(b"1", b"2", b"3")
    _, shown = run(calls, pubsub, limit=1)
    assert len(data(pubsub.take(post.shipping))) == 1
    assert len(data(pubsub.take(post.dead, 2))) == 2
    assert shown[-1] == "dead: stopped at 1; run this again for the rest"


def test_what_stays_counts_towards_the_limit(post: Post, pubsub: Pubsub, calls: Calls) -> None:
    """A first try with few messages ends, whatever they are."""
    post.bury(b"1", b"2", b"3", source="someone-else")
    code, shown = run(calls, pubsub, limit=2)
    assert code == 1
    assert shown[-2:] == [
        "dead: 0 published again, 2 left there",
        "dead: stopped at 2; run this again for the rest",
    ]
    assert sorted(data(pubsub.take(post.dead, 3))) == [b"1", b"2", b"3"]


def scripted(*pulls: list[bytes]) -> tuple[Scripted, list[str]]:
    """The Pub/Sub after a run with these pulls, and what was shown."""
    shown: list[str] = []
    played = Scripted([*pulls, []])
    redrive(Calls(played, played), "any-project", TOPOLOGY, shown.append)
    return played, shown


def test_what_stays_and_comes_again_hides_nothing_behind_it() -> None:
    """Its ack deadline may pass at any moment: a pull that brings it alone is not the last."""
    played, shown = scripted([b"stays", b"1"], [b"stays"], [b"2"], [b"stays"], [b"stays", b"3"])
    assert played.published == [b"1", b"2", b"3"]
    assert shown == [
        "message stays stays: it came from someone-else",
        "dead: 3 published again, 1 left there",
    ]
    assert played.given_back == ["stays 5"], "under the ack id of its last delivery"


def test_what_stays_does_not_keep_a_run_going() -> None:
    """Once one of them came twice and nothing new between, no more is waited for."""
    played, shown = scripted([b"stays-1", b"stays-2", b"1"], *[[b"stays-1"]] * 100)
    assert played.pulled == 4
    assert shown[-1] == "dead: 1 published again, 2 left there"


def test_a_pull_that_ends_at_its_deadline_is_the_last() -> None:
    """It is how Pub/Sub says that there is nothing, not an error."""
    played, shown = scripted([b"1"], [])
    assert played.published == [b"1"]
    assert shown == ["dead: 1 published again, 0 left there"]


@pytest.mark.parametrize("call", ["publish", "acknowledge"])
@pytest.mark.parametrize("error", [DeadlineExceeded, ServiceUnavailable, Unauthenticated])
def test_what_cannot_be_reached_in_the_middle_is_told(
    call: str, error: type[GoogleAPIError]
) -> None:
    """A deadline says that there is nothing to pull; of any other call it says that it failed."""
    played = Scripted([[b"1"], []])
    cut = Failing(played, call, 0, error("cut"))
    with pytest.raises(UnmetError, match=r"cannot be reached, or the login has ended\n.*"):
        redrive(Calls(cut, cut), "any-project", TOPOLOGY, lambda _line: None)
    assert played.given_back == ["1 1"]


def test_what_could_not_be_published_stays(post: Post, pubsub: Pubsub, calls: Calls) -> None:
    """An outage in the middle ends the run; the rest can be had again at once."""
    post.bury(b"1", b"2", b"3")
    down = Calls(Failing(calls.publisher, "publish", 2), calls.subscriber)
    with pytest.raises(UnmetError, match="no message is lost"):
        run(down, pubsub)
    gone = data(pubsub.take(post.shipping, 2))
    left = data(pubsub.take(post.dead))
    assert sorted(gone + left) == [b"1", b"2", b"3"]


def test_a_message_is_acknowledged_after_it_was_published(
    post: Post, pubsub: Pubsub, calls: Calls
) -> None:
    """What ends a run between the two leaves two copies, never none."""
    post.bury(b"x")
    down = Calls(calls.publisher, Failing(calls.subscriber, "acknowledge", 0))
    with pytest.raises(UnmetError):
        run(down, pubsub)
    assert data(pubsub.take(post.shipping)) == [b"x"]
    assert data(pubsub.take(post.dead)) == [b"x"]


def test_what_the_topic_refuses_stays_and_the_others_go(pubsub: Pubsub, calls: Calls) -> None:
    """One message of an older schema does not hold back those behind it."""
    post = with_schema(pubsub, "JSON")
    post.bury(b'{"items": 3}', b'{"item": "tea"}')
    code, shown = run(calls, pubsub)
    assert data(pubsub.take(post.shipping)) == [b'{"item": "tea"}']
    assert data(pubsub.take(post.dead)) == [b'{"items": 3}']
    assert code == 1
    assert "its topic refuses it" in shown[0]
    assert "items" not in shown[0]
    assert shown[-1] == "dead: 1 published again, 1 left there"


def test_what_came_from_elsewhere_stays(post: Post, pubsub: Pubsub, calls: Calls) -> None:
    """A message goes to no topic that the topology does not name."""
    post.bury(b"x", source="someone-else")
    code, shown = run(calls, pubsub)
    assert data(pubsub.take(post.dead)) == [b"x"]
    assert code == 1
    assert shown[0].endswith("stays: it came from someone-else")


def test_a_project_without_the_subscription_says_what_to_do(pubsub: Pubsub, calls: Calls) -> None:
    """Nothing was deployed there."""
    with pytest.raises(UnmetError, match="make deploy"):
        run(calls, pubsub)


@pytest.fixture
def reached(cloud: Cloud, server: Server, post: Post) -> Cloud:
    """The command line, for the project that `post` is in."""
    cloud.settings(project=post.pubsub.project_id)
    (cloud.folder / "topology.yaml").write_bytes(msgspec.json.encode(TOPOLOGY))
    cloud.env["PUBSUB_EMULATOR_HOST"] = server.address
    return cloud


def test_the_command_redrives_the_project_of_the_environment(
    reached: Cloud, post: Post, pubsub: Pubsub
) -> None:
    """The tfvars says which, the topology what."""
    post.bury(b"x")
    ended = reached.run("redrive", "--limit", "1")
    assert ended.stderr == ""
    assert "dead: 1 published again, 0 left there" in ended.stdout
    assert ended.returncode == 0
    assert data(pubsub.take(post.shipping)) == [b"x"]
    assert reached.run("redrive", "--limit", "0").returncode == 2


def test_what_was_pulled_when_ctrl_c_came_comes_again(
    reached: Cloud, post: Post, pubsub: Pubsub
) -> None:
    """It can be had again, at the latest when its ack deadline has passed."""
    post.bury(b"x", source="someone-else")
    terminal = reached.start("redrive")
    terminal.until("stays: it came from someone-else")
    terminal.type("\x03")
    terminal.until("stopped")
    assert terminal.end() == 130
    # A pull that was under way may have got it once more before Pub/Sub saw that it is gone.
    assert data(pubsub.take(post.dead)) == [b"x"]


LOG_IN = "gcloud auth login --update-adc"


class LoginEnded(BaseHTTPRequestHandler):
    """Google's answer to a refresh token that is no longer good."""

    def do_POST(self) -> None:
        """As in RFC 6749, 5.2."""
        body = b'{"error": "invalid_grant", "error_description": "Token has been revoked."}'
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_what: Any) -> None:
        """Nothing."""


@pytest.fixture
def revoking() -> Iterator[str]:
    """The address of a server that takes no refresh token."""
    with HTTPServer(("127.0.0.1", 0), LoginEnded) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/token"


@pytest.mark.parametrize("server", ["revoking", "nobody"])
def test_a_login_that_does_not_work_is_told_before_anything_is_pulled(
    request: pytest.FixtureRequest, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a pull would wait for it to its own deadline, and all would look empty."""
    # A person's login by another identity provider: of this kind the file says where to renew it.
    of_a_person = {"client_id": "i", "client_secret": "s", "refresh_token": "r"}
    renewed_at = {"token_url": request.getfixturevalue(server)}
    login = {"type": "external_account_authorized_user", **renewed_at}
    (tmp_path / "login.json").write_text(json.dumps(login | of_a_person))
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "login.json"))
    with pytest.raises(UnmetError, match="cannot be reached, or the login has ended") as told:
        Calls.of("any-project")
    cause = {"revoking": OAuthError, "nobody": TransportError}[server]
    assert type(told.value.__cause__) is cause
    assert LOG_IN in told.value.mend


def test_without_credentials_it_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with a trace of the library."""
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/credentials.json")
    with pytest.raises(UnmetError, match=LOG_IN):
        Calls.of("any-project")
