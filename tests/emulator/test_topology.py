"""The topology file: what it says is checked before anything starts."""

from pathlib import Path

import pytest

from emulator.topology import Topology, TopologyError, json_schema
from tests.topologies import ABSENT, FILE, RELAY, SEND, SPOILT, refused_at, spoilt


@pytest.mark.parametrize(("path", "value", "named"), SPOILT)
def test_what_cannot_be_is_refused_by_its_place(path: str, value: object, named: str) -> None:
    """One wrong thing in the file is named."""
    with pytest.raises(TopologyError) as caught:
        Topology.parse(spoilt(path, value), "some.yaml")
    begin = f"some.yaml: {refused_at(path, named)}"
    assert begin in {line[: len(begin)] for line in str(caught.value).splitlines()}


def test_every_problem_is_named_at_once() -> None:
    """The user mends the file in one go."""
    document = spoilt("functions.send-email.trigger.push.topic", "one")
    document["functions"]["create-user"]["secrets"] = {"KEY": "two"}
    with pytest.raises(TopologyError) as caught:
        Topology.parse(document)
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


def test_a_file_that_is_not_there_or_not_yaml_is_named(tmp_path: Path) -> None:
    """The error begins with the path."""
    absent = tmp_path / "absent.yaml"
    with pytest.raises(TopologyError, match="absent"):
        Topology.load(absent)
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(TopologyError, match="broken"):
        Topology.load(broken)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"topics: 2026-99-99",
        b"topics: !!int x",
        b"topics: !!bool x",
        b"topics: .nan",
        b'topics: "\\ud800"',
        b"[" * 3000,
        b"topics: {[a]: b}",
        b"",
        b"topics: &all {abc: *all}",
    ],
)
def test_whatever_a_file_holds_the_error_names_the_file(tmp_path: Path, content: bytes) -> None:
    """PyYAML has errors of its own for few of these."""
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    with pytest.raises(TopologyError, match=r"odd\.yaml: "):
        Topology.load(file)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("topics.user!created.schema.encoding", "XML", "Expected one of BINARY, JSON"),
        (f"{SEND}.cpu", 3, "Expected one of 1, 2, 4, 8"),
        (f"{SEND}.environment", {"a": "b"}, "Expected capital letters, digits and underscores"),
        (f"{SEND}.per_deployment", ["a"], "Expected capital letters, digits and underscores"),
        (f"{SEND}.trigger", {"schedule": "daily"}, "Expected unix-cron, such as"),
        ("functions.send-email.entry_point", ABSENT, "is missing"),
    ],
)
def test_an_error_says_what_belongs_there(path: str, value: object, told: str) -> None:
    """And not a pattern."""
    with pytest.raises(TopologyError, match=f": {told}"):
        Topology.parse(spoilt(path, value))


@pytest.mark.parametrize("schedule", ["5-1 * * * *", "0 0 30 2 *"])
def test_a_schedule_that_never_comes_is_refused_here_alone(schedule: str) -> None:
    """A pattern cannot say it, so Terraform takes it."""
    with pytest.raises(TopologyError, match=r"relay-outbox\.trigger\.schedule"):
        Topology.parse(spoilt(f"{RELAY}.trigger.schedule", schedule))


def test_a_name_that_stands_twice_is_refused_by_its_line(tmp_path: Path) -> None:
    """YAML readers take the last one, without a word."""
    file = tmp_path / "twice.yaml"
    file.write_text("topics:\n  events: {}\n  events: {}\n")
    with pytest.raises(TopologyError, match=r"(?s)twice\.yaml: .*'events' stands twice.*line 3"):
        Topology.load(file)


def test_a_name_that_is_a_number_is_refused() -> None:
    """YAML makes one of it; a name is text."""
    with pytest.raises(TopologyError, match=r"topics\.1: Expected `str`, got `int`"):
        Topology.parse({"topics": {1: {}}})


def test_every_file_that_is_named_but_not_there_is_told(tmp_path: Path) -> None:
    """Before anything starts."""
    (tmp_path / "create_user").mkdir()
    (tmp_path / "create_user/main.py").touch()
    with pytest.raises(TopologyError) as caught:
        Topology.load(FILE).check_files(tmp_path)
    told = str(caught.value)
    assert f"functions.send-email.source: there is no {tmp_path}/send_email/main.py" in told
    assert f"topics.user.created.schema.definition: there is no {tmp_path}/shared" in told
    assert "create_user/main.py" not in told


def test_what_follows_from_an_entry_is_derived() -> None:
    """Topic and encoding for who publishes, deadlines and threads for all."""
    topology = Topology.load(FILE)
    assert topology.derived_environment("create-user") == {
        "THREADS": "4",
        "FUNCTION_TIMEOUT_SECONDS": "30",
        "USER_CREATED_TOPIC": "user.created",
        "USER_CREATED_ENCODING": "JSON",
    }
    assert topology.derived_environment("send-email") == {
        "THREADS": "8",
        "FUNCTION_TIMEOUT_SECONDS": "30",
        "ACK_DEADLINE_SECONDS": "60",
    }


def test_the_mail_servers_address_is_put_in_and_other_braces_stay() -> None:
    """A value may be JSON, or a template of its own."""
    local = {"AT": "{smtp_host}:{smtp_port}", "JSON": '{"a": {}}', "ODD": "{0} {smtp_user} }{"}
    function = Topology.load(FILE).with_environment("send-email", **local).functions["send-email"]
    taken = function.local_at("127.0.0.1", 25)
    assert {name: taken[name] for name in local} == local | {"AT": "127.0.0.1:25"}


def test_events_without_a_schema_are_json() -> None:
    """A topic that takes any message gets what is easiest to read."""
    publishes = {"DEAD": "user.created.dead-letter"}
    topology = Topology.load(FILE).with_function("send-email", publishes=publishes)
    derived = topology.derived_environment("send-email")
    assert derived["DEAD_TOPIC"] == "user.created.dead-letter"
    assert derived["DEAD_ENCODING"] == "JSON"


def test_the_schema_for_editors_and_terraform_is_that_of_the_code() -> None:
    """`make generate` writes it."""
    assert (FILE.parent / "topology/schema.json").read_text() == json_schema()
