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

ROOT = Path(__file__).parents[2]
CHEAP = ["--set", "create-user.BCRYPT_COST=10"]


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
