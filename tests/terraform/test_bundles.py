"""What is deployed, in an environment of its own: each zip's content with its own requirements.

Driven through functions-framework with the variables of production: secrets in files, and every
function an HTTP one, whatever its decorator says. Pub/Sub and Firestore are the embedded ones.
"""

import base64
import email
import email.policy
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore, pubsub_v1

from emulator.secret_values import made_up
from emulator.topology import Topology
from tests.terraform.bundles import bundle, clean_python, unpacked
from tests.topologies import FILE

PROJECT = "bundle-test"
TOPOLOGY = Topology.load(FILE)
# Sends requests to a function and prints what it answered, and which modules that took.
DRIVER = """
    import json, sys
    from functions_framework import create_app
    target, requests = json.load(sys.stdin)
    client = create_app(target, "main.py").test_client()
    answers = [client.post(path, json=body) for path, body in requests]
    told = {
        "answers": [[answer.status_code, answer.get_data(as_text=True)] for answer in answers],
        "modules": sorted(sys.modules),
    }
    print("\\n" + json.dumps(told))
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, str]]:
    """The embedded Pub/Sub and Firestore: {"PUBSUB_EMULATOR_HOST": ..., ...}."""
    with ExitStack() as exits:
        found = {}
        for service in ("pubsub", "firestore"):
            command = [sys.executable, "-m", "emulator", service, "--json", "--until-stdin-closes"]
            process = exits.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert process.stdin is not None
            assert process.stdout is not None
            exits.callback(process.stdin.close)
            told = json.loads(process.stdout.readline())
            found[f"{service.upper()}_EMULATOR_HOST"] = told["address"]
        yield found


@pytest.fixture
def drive(tmp_path: Path, hosts: dict[str, str]) -> Callable[..., Any]:
    """Send requests to a function of the topology, as it is deployed."""

    def run(name: str, requests: list[tuple[str, object]], **variables: str) -> Any:
        function = TOPOLOGY.functions[name]
        folder = unpacked(function.source, tmp_path)
        files = {}
        for variable, secret in function.secrets.items():
            kind = TOPOLOGY.secrets[secret].kind
            path = tmp_path / secret
            path.write_text("a password" if kind == "external" else made_up(kind, "k1"))
            files[f"{variable}_FILE"] = str(path)
        done = subprocess.run(
            [str(clean_python(folder)), "-I", "-c", textwrap.dedent(DRIVER)],
            input=json.dumps([function.entry_point, requests]),
            cwd=folder,
            env={
                **hosts,
                **function.environment,
                **TOPOLOGY.derived_environment(name),
                **files,
                **variables,
                "FUNCTION_SIGNATURE_TYPE": "http",
                "GOOGLE_CLOUD_PROJECT": PROJECT,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


MAIL_VARIABLES = {
    "MAIL_FROM": "Sign-up <no-reply@example.com>",
    "VERIFY_URL": "https://example.com/verify",
    "SMTP_USERNAME": "mailer",
    "MAIL_TRANSPORT": "file",
}


def test_a_sign_up_becomes_a_mail_by_what_is_in_the_zips(
    drive: Callable[..., Any],
    hosts: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """create_user stores and publishes; send_email takes the raw push and mails."""
    for name, value in hosts.items():
        monkeypatch.setenv(name, value)
    topic = f"projects/{PROJECT}/topics/user.created"
    tap = f"projects/{PROJECT}/subscriptions/tap"
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=tap, topic=topic)
        form = TOPOLOGY.functions["create-user"].example
        told = drive("create-user", [("/", dict(form)), ("/", {"name": ""})])
        (created, refused) = told["answers"]
        assert created[0] == 201, created
        assert refused[0] == 422
        (received,) = subscriber.pull(subscription=tap, max_messages=1).received_messages
        message = received.message

    user_id = json.loads(created[1])["user"]["id"]
    client = firestore.Client(project=PROJECT, credentials=AnonymousCredentials())
    with closing(client) as store:
        assert store.document(f"users/{user_id}").get().get("email") == form["email"]

    pushed = {
        "message": {
            "data": base64.b64encode(message.data).decode(),
            "attributes": dict(message.attributes),
            "messageId": message.message_id,
            "publishTime": "2026-01-31T09:00:00Z",
        },
        "subscription": f"projects/{PROJECT}/subscriptions/send-email",
    }
    told = drive(
        "send-email", [(f"/{topic}", pushed)], MAIL_FILE_DIR=str(tmp_path), **MAIL_VARIABLES
    )
    assert told["answers"] == [[200, "OK"]]
    (mail,) = tmp_path.glob("*.eml")
    text = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    assert text["To"] == form["email"]


def test_the_relay_is_in_create_users_zip(drive: Callable[..., Any]) -> None:
    """It runs without a secret; with nothing to do it says so."""
    (answer,) = drive("relay-outbox", [("/", {})])["answers"]
    assert answer[0] == 200
    assert json.loads(answer[1]) == {"published": 0, "failed": 0, "remaining": False}


@pytest.mark.parametrize(
    ("name", "unneeded"),
    [
        ("create-user", {"aiosmtpd", "fastavro", "msgspec", "yaml"}),
        ("send-email", {"bcrypt", "email_validator", "google.cloud.pubsub_v1", "yaml"}),
    ],
)
def test_a_function_loads_without_what_the_others_need(
    drive: Callable[..., Any], tmp_path: Path, name: str, unneeded: set[str]
) -> None:
    """What is not in its requirements is not in its environment."""
    variables = {} if name == "create-user" else MAIL_VARIABLES | {"MAIL_FILE_DIR": str(tmp_path)}
    assert not unneeded & set(drive(name, [], **variables)["modules"])
    folder = unpacked(TOPOLOGY.functions[name].source, tmp_path)
    for module in unneeded:
        tried = subprocess.run(
            [str(clean_python(folder)), "-I", "-c", f"import {module}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "ModuleNotFoundError" in tried.stderr, module


def test_create_user_asks_for_no_templates() -> None:
    """Jinja2 comes with functions-framework, through Flask; nothing of create_user imports it."""
    files = bundle("create_user")
    assert "jinja2" not in "\n".join(files[name] for name in files if name.endswith(".py"))
    assert "jinja2" not in files["requirements.txt"].lower()
    assert "jinja2" in bundle("send_email")["requirements.txt"].lower()


def test_terraform_zips_the_same_files(planned: Callable[..., Any]) -> None:
    """What these tests drive is what is deployed, byte for byte."""
    zips = planned(yaml.safe_load(FILE.read_text()))["bundles"]
    assert zips == {source: bundle(source) for source in ("create_user", "send_email")}
    assert "main.py" in zips["send_email"]
    assert not [name for name in zips["send_email"] if "pycache" in name]
