"""A stack's folder: one stack at a time, secrets kept and private."""

import base64
import json
import stat
from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.loglines import MergedLog, readable
from emulator.state import NoStackError, StateDir, StateTakenError
from emulator.topology import Secret


def test_one_folder_holds_one_stack(tmp_path: Path) -> None:
    """The second is told what to do; once the first is gone it may."""
    first, second = StateDir(tmp_path), StateDir(tmp_path)
    first.take()
    with pytest.raises(StateTakenError, match="--state-dir"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_what_a_killed_stack_left_does_not_count_as_running(tmp_path: Path) -> None:
    """stack.json without a holder of the lock is not a stack."""
    state = StateDir(tmp_path)
    with pytest.raises(NoStackError, match="make up"):
        state.read_stack()
    state.take()
    state.write_stack({"pid": 1})
    assert StateDir(tmp_path).read_stack() == {"pid": 1}
    left = (tmp_path / "stack.json").read_text()
    state.release()
    (tmp_path / "stack.json").write_text(left)
    with pytest.raises(NoStackError):
        StateDir(tmp_path).read_stack()


def test_secrets_are_made_once_strong_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    """A restart keeps them, so that tokens stay valid."""
    wanted = {
        "pepper": Secret(kind="key_set"),
        "claim": Secret(kind="key"),
        "smtp-password": Secret(kind="external"),
    }
    made = StateDir(tmp_path).secrets(wanted)
    assert StateDir(tmp_path).secrets(wanted) == made
    assert set(made) == {"pepper", "claim"}, "nobody here can make up what is made elsewhere"
    assert len(base64.b64decode(made["claim"], validate=True)) == 32
    keys = json.loads(made["pepper"])
    assert len(base64.b64decode(keys["keys"][keys["current"]], validate=True)) == 32
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_secret_whose_kind_is_changed_gets_a_new_value_and_no_other_does(tmp_path: Path) -> None:
    """The old one is not what the function takes."""
    key, key_set = Secret(kind="key"), Secret(kind="key_set")
    state = StateDir(tmp_path)
    first = state.secrets({"one": key, "two": key_set, "three": key})
    second = state.secrets({"one": key_set, "two": key, "three": key})
    assert json.loads(second["one"])["keys"]
    assert len(base64.b64decode(second["two"], validate=True)) == 32
    assert second["three"] == first["three"]
    assert state.secrets({"one": key_set})["one"] == second["one"]


def test_secrets_are_written_only_when_one_is_new(tmp_path: Path) -> None:
    """What another branch's topology named is kept, and is no reason to write."""
    state, file = StateDir(tmp_path), tmp_path / "secrets.json"
    state.secrets({"one": Secret(kind="key"), "two": Secret(kind="key")})
    written = file.stat().st_ino  # a new content is a new file
    state.secrets({"one": Secret(kind="key")})
    assert file.stat().st_ino == written
    state.secrets({"three": Secret(kind="key")})
    assert set(json.loads(file.read_text())) == {"one", "two", "three"}


@pytest.mark.parametrize("content", [b"{", b"5", b'{"one": 5}', b"\xff"])
def test_secrets_that_cannot_be_read_are_named_and_not_shown(
    tmp_path: Path, content: bytes
) -> None:
    """Deleting them is what helps."""
    file = tmp_path / "secrets.json"
    file.write_bytes(content)
    with pytest.raises(SetupError) as caught:
        StateDir(tmp_path).secrets({"one": Secret(kind="key")})
    assert str(caught.value) == f"{file} cannot be read: delete it, it is made again"


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    """A file stands in its place."""
    file = tmp_path / "a-file"
    file.touch()
    for path in (file, file / "below", Path("/proc/nowhere")):
        with pytest.raises(SetupError, match=f"{path} cannot be.*--state-dir"):
            StateDir(path).take()
        with pytest.raises(NoStackError):
            StateDir(path).read_stack()


def test_a_stack_that_is_starting_is_no_stack_yet(tmp_path: Path) -> None:
    """What a killed one left there is not taken for it."""
    (tmp_path / "stack.json").write_text("{}")
    state = StateDir(tmp_path)
    state.take()
    with pytest.raises(NoStackError, match="is starting"):
        StateDir(tmp_path).read_stack()
    state.release()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"severity": "INFO", "message": "sent", "event_id": "e1", "time": "t"}',
            "INFO sent event_id=e1",
        ),
        ('{"logging.googleapis.com/trace": "t", "message": "m"}', "DEFAULT m trace=t"),
        ("not json", "not json"),
        ("[1, 2]", "[1, 2]"),
        ('{"no": "message"}', '{"no": "message"}'),
    ],
)
def test_a_structured_line_is_shown_readably_and_any_other_as_it_is(line: str, shown: str) -> None:
    """A person reads severity and message first."""
    assert readable(line) == shown


def test_the_merged_log_labels_each_line_and_the_files_keep_it_unchanged(tmp_path: Path) -> None:
    """The screen is for a person, the file for a program."""
    lines: list[str] = []
    structured = '{"severity": "INFO", "message": "hello"}'
    with MergedLog(tmp_path, lines.append) as log:
        log.sink("create-user")(structured)
        log.sink("send-email")("plain")
    assert lines[0].endswith("create-user   | INFO hello")
    assert lines[1].endswith("send-email    | plain")
    assert (tmp_path / "create-user.log").read_text() == structured + "\n"
