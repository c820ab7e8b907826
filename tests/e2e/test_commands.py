"""The commands as a user types them: output, exit codes, and what they leave behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from google.api_core.exceptions import FailedPrecondition
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

ROOT = Path(__file__).parents[2]
CHEAP = ["--set", "create-user.BCRYPT_COST=10"]
# Entries of a firestore.indexes.json.
A_AND_B = {
    "collectionGroup": "things",
    "fields": [{"fieldPath": path, "order": "ASCENDING"} for path in "ab"],
}
EXPIRES = {"collectionGroup": "things", "fieldPath": "expire_time", "indexes": [], "ttl": True}


def emulator(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run `python -m emulator ...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture
def up(stack_backend: str, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A stack started by `up`; its facts come from `status`."""
    arguments = ["up", "--backend", stack_backend, "--state-dir", str(tmp_path), *CHEAP]
    with subprocess.Popen(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "curl -sS" in line:
                break
        else:
            pytest.fail("`up` ended before it was up")
        yield process
        process.kill()


def _facts(folder: Path) -> dict[str, object]:
    shown = emulator("status", "--state-dir", str(folder), "--json")
    assert shown.returncode == 0, shown.stderr
    facts: dict[str, object] = json.loads(shown.stdout)
    return facts


def _assert_nothing_left(facts: dict[str, object]) -> None:
    """No process of the stack lives, no port of it is taken."""
    pids = [row["pid"] for row in facts["processes"]]  # type: ignore[attr-defined,union-attr]
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, timeout=20)
    assert [p.cmdline() for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    environment = facts["environment"]
    assert isinstance(environment, dict)
    for name in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
        host, _, port = environment[name].partition(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_stack_leaves_no_process_and_no_port(
    up: "subprocess.Popen[str]", tmp_path: Path, how: signal.Signals
) -> None:
    """Ctrl-C, a polite kill, or SIGKILL to the parent: nothing is left."""
    facts = _facts(tmp_path)
    assert len(facts["processes"]) >= 7  # type: ignore[arg-type]
    up.send_signal(how)
    up.communicate(timeout=30)
    assert up.returncode == (0 if how != signal.SIGKILL else -signal.SIGKILL)
    _assert_nothing_left(facts)
    assert emulator("status", "--state-dir", str(tmp_path)).returncode == 1


def test_the_mail_of_a_sign_up_is_waited_for_and_shown(
    up: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    """curl, then `mail wait`, `mail list`, `mail show`."""
    environment = _facts(tmp_path)["environment"]
    assert isinstance(environment, dict)
    form = {"name": "Ada", "email": "ada@example.com", "password": "a long pass phrase, please"}
    answer = requests.post(environment["CREATE_USER_URL"], json=form, timeout=60)
    assert answer.status_code == 201
    folder = ["--state-dir", str(tmp_path)]
    waited = emulator("mail", *folder, "wait", "ada@example.com", "--timeout", "60")
    assert waited.returncode == 0, waited.stderr
    assert "ada@example.com" in waited.stdout
    assert "ada@example.com" in emulator("mail", *folder, "list").stdout
    assert emulator("mail", *folder, "show", "99").returncode == 1
    second = emulator("up", "--state-dir", str(tmp_path))
    assert second.returncode == 1
    assert "a stack already runs" in second.stderr


def test_the_demo_tells_the_whole_story(stack_backend: str) -> None:
    """Exit code 0, every step there, no password or hash on the screen."""
    told = emulator("demo", "--backend", stack_backend, "--json", *CHEAP)
    assert told.returncode == 0, told.stderr
    story = json.loads(told.stdout)
    assert story["ok"] is True
    assert story["backend"] == stack_backend
    assert story["reply"]["status"] == 201
    assert story["event"]["attributes"]["ce-type"] == "user.created"
    assert story["mail"]["recipients"] == ["ada@example.com"]
    assert not re.search(r"\$2b\$10\$[./A-Za-z0-9]{53}", told.stdout)


def test_a_demo_that_fails_says_so_by_its_exit_code(stack_backend: str) -> None:
    """An address that create_user refuses ends the demo with 1 and the reason."""
    told = emulator("demo", "--backend", stack_backend, "--email", "not an address", *CHEAP)
    assert told.returncode == 1
    assert "create_user answered 422" in told.stderr


def test_run_gives_a_command_the_stack_and_its_exit_code_back(stack_backend: str) -> None:
    """The command finds every address in its environment."""
    source = (
        "import os, sys, requests;"
        "assert os.environ['PUBSUB_EMULATOR_HOST'] and os.environ['FIRESTORE_EMULATOR_HOST'];"
        "sys.exit(requests.get(os.environ['CREATE_USER_URL']).status_code - 400)"
    )
    # A folder as one types it, from here.
    where = ["--backend", stack_backend, "--functions", "functions"]
    ran = emulator("run", *where, "--", sys.executable, "-c", source)
    assert ran.returncode == 5, ran.stderr


def test_the_index_that_a_refused_query_lacks_is_on_standard_error() -> None:
    """Of a stack too, whose functions keep the client's error to themselves."""
    source = (
        "import os; from google.api_core.exceptions import FailedPrecondition;"
        "from google.auth.credentials import AnonymousCredentials;"
        "from google.cloud import firestore;"
        "client = firestore.Client(os.environ['GOOGLE_CLOUD_PROJECT'], AnonymousCredentials())\n"
        "try: client.collection('users').order_by('created_time').get()\n"
        "except FailedPrecondition: pass"
    )
    ran = emulator("run", "--backend", "embedded", "--", sys.executable, "-c", source)
    assert ran.returncode == 0, ran.stderr
    assert (
        "A query of users in projects/local-sign-up/databases/(default) was refused" in ran.stderr
    )
    assert "`firestore.unindexed`" in ran.stderr
    assert '{"collectionGroup": "users", "fieldPath": "created_time", "indexes": [{' in ran.stderr


def test_a_function_that_refuses_to_start_stops_the_stack_and_is_named(stack_backend: str) -> None:
    """A weak setting is named with what it must look like, and nothing is left running."""
    weak = ["--set", "create-user.BCRYPT_COST=4"]
    refused = emulator("demo", "--backend", stack_backend, *weak)
    assert refused.returncode == 1
    assert "create-user ended" in refused.stderr
    assert "BCRYPT_COST" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["up", "--port", "nobody=1"], 1, "there is no nobody"),
        (["up", "--port", "pubsub=x"], 2, "is not a port"),
        (["up", "--set", "BCRYPT_COST=10"], 1, "FUNCTION.NAME"),
        (["up", "--topology", "nowhere.yaml"], 1, "nowhere.yaml"),
        (["up", "--backend", "embedded", "--functions", "nowhere"], 1, "nowhere/create_user"),
        (["run", "--backend", "embedded", "--", "no-such-command"], 1, "no-such-command"),
        (["mail", "--state-dir", "nowhere", "list"], 1, "make up"),
        (["demo", "--backend", "embedded", "--host", "203.0.113.1"], 1, "203.0.113.1 is not an"),
        (["pubsub", "--host", "999.1.1.1"], 1, "999.1.1.1 is not an IPv4 address of this machine"),
        (["firestore", "--port", "99999"], 2, "'99999' is not a port"),
        (["firestore", "--http-port", "99999"], 2, "'99999' is not a port"),
        (["firestore", "--indexes", "nowhere.json"], 1, "nowhere.json cannot be read: No such"),
        (["firestore", "--indexes", "README.md"], 1, "README.md is not JSON"),
        (["--log-level", "LOUD", "doctor"], 2, "choose from"),
        (["dance"], 2, "invalid choice"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(arguments: list[str], code: int, says: str) -> None:
    """Usage errors are 2, everything else that fails is 1, each with its reason."""
    ended = emulator(*arguments)
    assert ended.returncode == code
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_reader_that_leaves_stops_the_stack_quietly(stack_backend: str, tmp_path: Path) -> None:
    """`up | head -1` ends without a traceback and leaves nothing."""
    arguments = ["up", "--backend", stack_backend, "--state-dir", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(60) == 0
    assert emulator("status", "--state-dir", str(tmp_path)).returncode == 1


def test_a_taken_port_is_named(stack_backend: str) -> None:
    """The port, who wanted it, and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = emulator("demo", "--backend", stack_backend, "--port", f"create-user={port}")
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
    assert "create-user" in ended.stderr


def test_a_taken_http_port_of_an_emulator_alone_is_named() -> None:
    """As the gRPC port is."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = str(other.getsockname()[1])
        ended = emulator("firestore", "--http-port", port)
    assert ended.returncode == 1
    assert f"error: port {port} on 127.0.0.1, asked for by the firestore" in ended.stderr


@pytest.mark.parametrize("source", [os.devnull, __file__])
def test_until_stdin_closes_ends_at_the_end_of_whatever_it_is(source: str) -> None:
    """/dev/null and a file, which no event loop can wait for: served, and stopped at once."""
    with Path(source).open() as stdin:
        ended = emulator("pubsub", "--until-stdin-closes", stdin=stdin)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "PUBSUB_EMULATOR_HOST" in ended.stdout


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"indices": []}, "the file has 'indices'"),
        ({"fieldOverrides": [{**EXPIRES, "fieldPath": path} for path in "ab"]}, "has one at most"),
    ],
)
def test_a_refused_file_of_indexes_is_named(
    tmp_path: Path, declared: dict[str, object], says: str
) -> None:
    """With what is wrong in it."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(declared))
    ended = emulator("firestore", "--indexes", str(file))
    assert ended.returncode == 1
    assert f"error: --indexes {file} is refused. " in ended.stderr
    assert says in ended.stderr


def test_firestore_alone_has_the_indexes_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Declared: answered. Exempt: refused, and the log names the index."""
    file = tmp_path / "firestore.indexes.json"
    file.write_text(json.dumps({"indexes": [A_AND_B], "fieldOverrides": [EXPIRES]}))
    options = ["--indexes", str(file), "--require-indexes", "--json", "--until-stdin-closes"]
    with subprocess.Popen(
        [sys.executable, "-m", "emulator", "firestore", *options],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        monkeypatch.setenv(
            "FIRESTORE_EMULATOR_HOST", json.loads(process.stdout.readline())["address"]
        )
        client = firestore.Client(project="indexes", credentials=AnonymousCredentials())
        things = client.collection("things")
        assert things.where(filter=FieldFilter("a", "==", 1)).order_by("b").get() == []
        with pytest.raises(FailedPrecondition):
            things.order_by("expire_time").get()
        client.close()
        _, log = process.communicate(timeout=60)  # closes its standard input
        assert process.returncode == 0
    assert "A query of things in projects/indexes/databases/(default) was refused" in log


def test_without_googles_emulators_auto_takes_the_embedded_ones(tmp_path: Path) -> None:
    """No gcloud and no Java on PATH: said in `doctor`, which names how to get each."""
    bare = {**os.environ, "PATH": str(tmp_path)}
    for name in ("JAVA_HOME", "CLOUDSDK_ROOT_DIR"):
        bare.pop(name, None)
    seen = emulator("doctor", "--json", env=bare)
    assert seen.returncode == 0, seen.stderr
    facts = json.loads(seen.stdout)
    assert facts["auto"] == "embedded"
    assert {"gcloud", "java", "pubsub", "firestore"} <= set(facts["missing"])
    asked = emulator("demo", "--backend", "gcloud", env=bare)
    assert asked.returncode == 1
    assert "--backend embedded" in asked.stderr
