"""A stack's folder: one stack at a time, secrets kept and private."""

import base64
import json
import stat
from pathlib import Path

import pytest

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
