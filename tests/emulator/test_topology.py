"""The topology file: what it says is checked before anything starts."""

from pathlib import Path

import pytest

from emulator.topology import Topology, TopologyError, json_schema
from tests.topologies import FILE, SPOILT, refused_at, spoilt


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


def test_a_name_that_stands_twice_is_refused_by_its_line(tmp_path: Path) -> None:
    """YAML readers take the last one, without a word."""
    file = tmp_path / "twice.yaml"
    file.write_text("topics:\n  events: {}\n  events: {}\n")
    with pytest.raises(TopologyError, match=r"(?s)twice\.yaml: 'events' stands twice.*line 3"):
        Topology.load(file)


def test_a_name_that_is_a_number_is_refused() -> None:
    """YAML makes one of it; a name is text."""
    with pytest.raises(TopologyError, match="topics: Expected `str`, got `int`"):
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


def test_the_schema_for_editors_and_terraform_is_that_of_the_code() -> None:
    """`make generate` writes it."""
    assert (FILE.parent / "topology/schema.json").read_text() == json_schema()
