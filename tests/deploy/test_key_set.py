"""Rotation: a key set from standard input, changed, to standard output."""

import base64
import itertools
import json
import os
import secrets
import signal
import subprocess
from typing import Any

import pytest

from deploy.errors import UnmetError
from deploy.key_set import KeySet
from shared.settings import key_set
from tests.deploy.conftest import Cloud

OLD, NEW, LONG, SHORT = (
    base64.b64encode(secrets.token_bytes(count)).decode() for count in (32, 32, 64, 31)
)
BOTH = {"current": "2026-11", "keys": {"2026-11": OLD, "2027-01": NEW}}
PIPE_BYTES = 65_536  # what Linux's pipe holds: pipe(7)
WEAK = base64.b64encode(b"x" * 32).decode()


def changed(cloud: Cloud, *arguments: str, document: object = BOTH) -> dict[str, Any]:
    """The key set that comes out."""
    ended = cloud.run("key-set", *arguments, stdin=json.dumps(document).encode())
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    after: dict[str, Any] = json.loads(ended.stdout)
    key_set(ended.stdout)  # the functions take it
    return after


def test_add_makes_a_new_random_key_that_is_not_in_use_yet(cloud: Cloud) -> None:
    """Every instance must be able to verify with it before one signs with it."""
    after = changed(cloud, "add", "2027-03")
    new = after["keys"].pop("2027-03")
    assert after == BOTH
    assert len(base64.b64decode(new, validate=True)) == 32
    assert new not in (OLD, NEW)


def test_use_makes_a_key_the_current_one(cloud: Cloud) -> None:
    """And keeps the others, which verify what was signed before."""
    assert changed(cloud, "use", "2027-01") == {**BOTH, "current": "2027-01"}


def test_drop_removes_a_retired_key(cloud: Cloud) -> None:
    """And nothing else."""
    assert changed(cloud, "drop", "2027-01") == {"current": "2026-11", "keys": {"2026-11": OLD}}


def test_a_whole_rotation_replaces_the_key(cloud: Cloud) -> None:
    """Add, use, drop: three filters, each taking what the one before gave."""
    document: object = {"current": "a", "keys": {"a": OLD}}
    for change in (("add", "b"), ("use", "b"), ("drop", "a")):
        document = changed(cloud, *change, document=document)
    assert isinstance(document, dict)
    assert document["current"] == "b"
    assert set(document["keys"]) == {"b"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "2027-01"], "already"),
        (["add", "a/b"], "is not an id"),
        (["add", "x" * 65], "is not an id"),
        (["use", "2028"], "there are: 2026-11, 2027-01"),
        (["drop", "2028"], "there are: 2026-11, 2027-01"),
        (["drop", "2026-11"], "use another first"),
    ],
)
def test_a_change_that_makes_no_sense_writes_nothing(
    cloud: Cloud, arguments: list[str], says: str
) -> None:
    """What goes on through the pipe would become a version."""
    ended = cloud.run("key-set", *arguments, stdin=json.dumps(BOTH).encode())
    assert (ended.returncode, ended.stdout) == (1, "")
    assert says in ended.stderr
    assert OLD not in ended.stderr


TAKEN = [
    json.dumps(BOTH),
    json.dumps(BOTH, indent=2) + "\n",
    json.dumps({"current": "a", "keys": {"a": LONG}}),
]
REFUSED = [
    *("", "{", "null", "[]", '"text"', "{}", "1e999", "[" * 100_000),
    json.dumps({**BOTH, "more": 1}),
    json.dumps({**BOTH, "current": "2028"}),
    json.dumps({**BOTH, "current": 1}),
    json.dumps({**BOTH, "current": ["2026-11"]}),
    json.dumps({"current": "a", "keys": []}),
    json.dumps({"current": "a", "keys": {"a": OLD, "a b": NEW}}),
    json.dumps({"current": "a", "keys": {"a": OLD, "": NEW}}),
    *(json.dumps({"current": "a", "keys": {"a": value}}) for value in (WEAK, SHORT, 1, None, "ä")),
    json.dumps({"current": "a", "keys": {"a": OLD + "\n"}}),
    json.dumps({"current": "a", "keys": {"a": OLD.rstrip("=")}}),
    json.dumps({"current": "a", "keys": {"a": OLD, "b": "\ud800"}}),
    f'{{"current": "a", "current": "a", "keys": {{"a": "{OLD}"}}}}',
    f'{{"current": "a", "keys": {{"a": "{OLD}", "a": "{NEW}"}}}}',
    "\ufeff" + json.dumps(BOTH),
]


@pytest.mark.parametrize("text", TAKEN, ids=itertools.count())
def test_what_the_functions_take_for_a_key_set_is_taken(text: str) -> None:
    """Else a rotation would be refused."""
    assert KeySet.parse(text.encode()).current == key_set(text).current


@pytest.mark.parametrize("text", REFUSED, ids=itertools.count())
def test_what_the_functions_refuse_is_refused(text: str) -> None:
    """Else a function would not start with the version that was made of it."""
    with pytest.raises(ValueError, match=r"[a-z]"):
        key_set(text)
    with pytest.raises(UnmetError, match="nothing was written"):
        KeySet.parse(text.encode())


@pytest.mark.parametrize("data", [b"", b"{", json.dumps({**BOTH, "x": 1}).encode(), b'{"\xff": 1}'])
def test_bad_input_writes_nothing(cloud: Cloud, data: bytes) -> None:
    """Also that of a gcloud that failed before us in the pipe."""
    ended = cloud.run("key-set", "add", "2027-03", stdin=data)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "gcloud secrets versions access" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_keys_are_never_shown_on_a_terminal(cloud: Cloud) -> None:
    """It shows the whole pipe instead."""
    terminal = cloud.start("key-set", "add", "2027-03")
    assert terminal.end() == 1
    assert "gcloud secrets versions add NAME" in terminal.shown


def test_a_key_sets_repr_has_no_key() -> None:
    """Nor has the traceback that shows it."""
    assert OLD not in repr(KeySet.parse(json.dumps(BOTH).encode()))


def test_ctrl_c_ends_a_key_set_that_never_comes(cloud: Cloud) -> None:
    """A gcloud before us in the pipe may ask the network for half a minute."""
    read, write = os.pipe()
    with os.fdopen(write, "wb", buffering=0) as upstream, os.fdopen(read, "rb") as never:
        terminal = cloud.start("key-set", "add", "b", stdin=never, stdout=subprocess.DEVNULL)
        upstream.write(b" " * (PIPE_BYTES + 1))  # waits for its reader
        terminal.type("\x03")
        assert terminal.end() == -signal.SIGINT, terminal.shown
        assert "Traceback" not in terminal.shown
