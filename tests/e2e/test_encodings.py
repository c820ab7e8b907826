"""Events in protobuf, and the moment in which topic and writer do not agree on the encoding."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from emulator.stack import StackSettings
from emulator.topology import Topology
from tests.e2e.conftest import ROOT, RunningStack, fast

CONTENT_TYPES = {"BINARY": "application/protobuf", "JSON": "application/json"}


@pytest.fixture(params=CONTENT_TYPES)
def writes(request: pytest.FixtureRequest) -> str:
    """The encoding that create_user writes."""
    encoding: str = request.param
    return encoding


@pytest.fixture
def binary(
    stack_backend: str, writes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningStack]:
    """A stack whose topic takes protobuf."""
    topology = fast(Topology.load(ROOT / "terraform/topology.yaml"))
    topic = topology.topics["user.created"]
    assert topic.schema is not None
    changed = replace(topic, schema=replace(topic.schema, encoding="BINARY"))
    topology = replace(topology, topics={**topology.topics, "user.created": changed})
    with ExitStack() as exits:
        running = RunningStack(
            StackSettings(
                topology=topology.with_environment("create-user", USER_CREATED_ENCODING=writes),
                functions=ROOT / "functions",
                state_dir=tmp_path,
                backend=stack_backend,
            )
        )
        exits.callback(running.close)
        running.use(exits, monkeypatch)
        yield running


def test_an_event_reaches_its_reader_in_the_encoding_that_the_topic_takes(
    binary: RunningStack, writes: str, address: str
) -> None:
    """What create_user wrote before it heard of the change is refused, and relayed: not lost."""
    user_id = binary.sign_up(address).json()["user"]["id"]
    event_id, record = binary.outbox_of(user_id)
    assert record["attributes"]["ce-datacontenttype"] == CONTENT_TYPES[writes]
    if writes == "JSON":
        binary.relay_until_published(event_id)
    binary.wait_for_mail(address)
    binary.wait_for_delivery(event_id, "sent")
    assert len(binary.mail.mails(address)) == 1
