"""Settings: each missing or weak one stops the start, by name and without its value."""

import base64
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from create_user.settings import CreateUserSettings, RelaySettings
from send_email.settings import SendEmailSettings
from shared.settings import KeySet, SettingsError, load, variables
from tests.unit.fakes import (
    CREATE_USER_ENVIRONMENT,
    KEY,
    KEY_SET_TEXT,
    KEY_TEXT,
    RELAY_ENVIRONMENT,
    SEND_EMAIL_ENVIRONMENT,
)

ROOT = Path(__file__).parents[2]
WEAK = base64.b64encode(b"hunter2").decode()
SAME = base64.b64encode(b"\x07" * 32).decode()
TABLES = {
    CreateUserSettings: CREATE_USER_ENVIRONMENT,
    SendEmailSettings: SEND_EMAIL_ENVIRONMENT,
    RelaySettings: RELAY_ENVIRONMENT,
}
BAD_KEYS = ["hunter2", WEAK, SAME, KEY_TEXT + "!", KEY_TEXT.replace("=", "") + "*"]
BAD_KEY_SETS = [
    "hunter2",
    "[]",
    KEY_TEXT,
    '{"current": "k1"}',
    '{"current": "k2", "keys": {"k1": "%s"}}' % KEY_TEXT,  # noqa: UP031 - JSON has braces
    '{"current": "k1", "keys": {"k1": "%s"}}' % WEAK,  # noqa: UP031
    '{"current": "k1", "keys": {"k1": "%s", "k2": "%s"}}' % (KEY_TEXT, SAME),  # noqa: UP031
    '{"current": "k1", "keys": {"k1": 7}}',
    '{"current": 1, "keys": {"1": "%s"}}' % KEY_TEXT,  # noqa: UP031
    '{"current": "a b", "keys": {"a b": "%s"}}' % KEY_TEXT,  # noqa: UP031
    KEY_SET_TEXT[:-1] + ', "more": 1}',
]
BAD = {
    "GOOGLE_CLOUD_PROJECT": ["Hunter 2", "../x"],
    "FIRESTORE_DATABASE": ["a b", "(other)"],
    "FIRESTORE_TIMEOUT_SECONDS": ["0", "nan", "inf", "soon", "31"],
    "USER_CREATED_TOPIC": ["projects/p/topics/t", "x", "-xx"],
    "PUBLISH_TIMEOUT_SECONDS": ["0", "600"],
    "USER_CREATED_ENCODING": ["json", "PROTOBUF", "JSON,BINARY"],
    "OUTBOX_MIN_AGE_SECONDS": ["-1", "x"],
    "RELAY_BUDGET_SECONDS": ["0", "x"],
    "PASSWORD_PEPPERS": BAD_KEY_SETS,
    "EMAIL_CLAIM_KEY": BAD_KEYS,
    "JWT_KEYS": BAD_KEY_SETS,
    "JWT_ISSUER": ["a b", "é"],
    "JWT_AUDIENCE": ["a b"],
    "JWT_TTL_SECONDS": ["59", "86401", "1e3", "-900", "٩٩٩"],
    "BCRYPT_COST": ["9", "21", "12.0"],
    "PASSWORD_MIN_LENGTH": ["7", "65", "x"],
    "LINK_KEYS": BAD_KEY_SETS,
    "VERIFY_URL": ["http://example.com/v", "ftp://x", "https://x/?a=1", "/verify", "https://"],
    "VERIFY_TTL_SECONDS": ["1", "x"],
    "MAIL_FROM": ["no address", "a@example.com, b@example.com", "a@", "é@example.com",
                  "a\r\nb@c.de", "A <a@example.com", "A, B <a@example.com>", "<>", "<",
                  "=?utf-8?q?x?= <a@example.com>"],
    "MAIL_TRANSPORT": ["pigeon", "SMTP"],
    "SMTP_HOST": ["a b", "https://mail"],
    "SMTP_PORT": ["0", "65536", "smtp"],
    "SMTP_SECURITY": ["ssl", "yes"],
    "SMTP_TIMEOUT_SECONDS": ["0", "x"],
    "FUNCTION_TIMEOUT_SECONDS": ["0", "x"],
    "DELIVERY_LEASE_SECONDS": ["0", "x"],
    "ACK_DEADLINE_SECONDS": ["9", "601"],
}  # fmt: skip
CASES = [
    (table, name, value)
    for table in TABLES
    for name in (row.name for row in variables(table))
    for value in BAD.get(name, [])
]


def problems(table: type, environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(table, environment)
    return caught.value.problems


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_the_required_settings_are_enough(table: type) -> None:
    """Everything else has a default that passes its own check."""
    load(table, TABLES[table])


@pytest.mark.parametrize(("table", "name", "value"), CASES)
def test_a_wrong_value_is_named_and_not_shown(table: type, name: str, value: str) -> None:
    """One sentence: the name, and what it must look like."""
    (problem,) = problems(table, TABLES[table] | {name: value})
    assert problem.startswith(f"{name} is wrong: ")
    assert "hunter2" not in problem
    assert KEY_TEXT not in problem


def test_every_setting_with_a_shape_has_a_bad_example() -> None:
    """A new variable without a check would go unnoticed; these three take any text."""
    names = {row.name for table in TABLES for row in variables(table)}
    assert names - set(BAD) == {"MAIL_FILE_DIR", "SMTP_USERNAME", "SMTP_PASSWORD"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_missing_setting_is_named_at_once(table: type) -> None:
    """An empty environment gives the whole list."""
    required = [row.name for row in variables(table) if row.default is None]
    assert [problem.split()[0] for problem in problems(table, {})] == required


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_setting_is_described(table: type) -> None:
    """For the table in the README."""
    assert all(row.meaning and row.shape for row in variables(table))
    assert all(
        row.secret for row in variables(table) if "KEY" in row.name or "PASSWORD_P" in row.name
    )


def test_no_secret_is_in_the_repr() -> None:
    """Nor in that of a key set."""
    settings = [load(table, TABLES[table]) for table in TABLES]
    assert KEY_TEXT not in repr(settings)
    assert repr(KEY)[2:12] not in repr(settings)
    assert repr(KEY)[2:12] not in repr(KeySet("k", {"k": KEY}))


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """A Secret Manager volume; a line end after it is not part of it."""
    path = tmp_path / "secret"
    path.write_text(KEY_TEXT + "\n")
    environment = dict(CREATE_USER_ENVIRONMENT) | {"EMAIL_CLAIM_KEY_FILE": str(path)}
    del environment["EMAIL_CLAIM_KEY"]
    assert load(CreateUserSettings, environment).email_claim_key == KEY


@pytest.mark.parametrize("kind", ["missing", "both", "weak", "binary"])
def test_a_secret_file_that_does_not_serve_is_named(tmp_path: Path, kind: str) -> None:
    """By the variable's name."""
    path = tmp_path / "secret"
    if kind != "missing":
        path.write_bytes(
            {"both": KEY_TEXT.encode(), "weak": b"hunter2", "binary": KEY[::-1] + b"\xff"}[kind]
        )
    environment = dict(CREATE_USER_ENVIRONMENT) | {"EMAIL_CLAIM_KEY_FILE": str(path)}
    if kind != "both":
        del environment["EMAIL_CLAIM_KEY"]
    (problem,) = problems(CreateUserSettings, environment)
    assert problem.startswith("EMAIL_CLAIM_KEY is wrong: ")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SMTP_TIMEOUT_SECONDS": "30"}, "SMTP_TIMEOUT_SECONDS"),
        ({"FUNCTION_TIMEOUT_SECONDS": "45"}, "FUNCTION_TIMEOUT_SECONDS"),
        ({"DELIVERY_LEASE_SECONDS": "60"}, "DELIVERY_LEASE_SECONDS"),
        ({"ACK_DEADLINE_SECONDS": "10"}, "ACK_DEADLINE_SECONDS"),
        ({"SMTP_HOST": ""}, "SMTP_HOST"),
        ({"MAIL_TRANSPORT": "file"}, "MAIL_FILE_DIR"),
        ({"SMTP_USERNAME": "us"}, "SMTP_PASSWORD"),
        ({"SMTP_PASSWORD": "hunter2"}, "SMTP_USERNAME"),
        (
            {"SMTP_USERNAME": "us", "SMTP_PASSWORD": "hunter2", "SMTP_SECURITY": "none"},
            "SMTP_SECURITY",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, str], named: str
) -> None:
    """The four times in their order; no password in the clear to another machine."""
    (problem,) = problems(SendEmailSettings, SEND_EMAIL_ENVIRONMENT | changes)
    assert named in problem
    assert "hunter2" not in problem


def test_a_relay_that_would_be_ended_in_the_middle_is_refused() -> None:
    """It stops by itself, the last event's timeout included, before the platform stops it."""
    (problem,) = problems(RelaySettings, RELAY_ENVIRONMENT | {"FUNCTION_TIMEOUT_SECONDS": "22"})
    assert problem.startswith("RELAY_BUDGET_SECONDS + PUBLISH_TIMEOUT_SECONDS")
    load(RelaySettings, RELAY_ENVIRONMENT | {"FUNCTION_TIMEOUT_SECONDS": "23"})


def test_a_password_in_the_clear_may_go_to_this_machine() -> None:
    """A relay on the loopback interface."""
    changes = {"SMTP_USERNAME": "us", "SMTP_PASSWORD": "x", "SMTP_SECURITY": "none"}
    for host in ("localhost", "127.0.0.1", "::1"):
        load(SendEmailSettings, SEND_EMAIL_ENVIRONMENT | changes | {"SMTP_HOST": host})


def test_settings_are_frozen() -> None:
    """Read once."""
    settings = load(RelaySettings, TABLES[RelaySettings])
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.project = "other"  # type: ignore[misc]


@pytest.mark.parametrize("folder", ["create_user", "send_email"])
def test_a_function_does_not_start_on_wrong_settings(folder: str) -> None:
    """Exit code 1 and one line, not a traceback, before anything is served."""
    command = [sys.executable, "-m", "functions_framework", "--target", folder, "--port", "0"]
    run = subprocess.run(
        [*command, "--source", str(ROOT / "functions" / folder / "main.py")],
        env={"PYTHONPATH": str(ROOT / "functions"), "JWT_KEYS": "hunter2", "LINK_KEYS": "hunter2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith("refusing to start: GOOGLE_CLOUD_PROJECT is missing")
    assert "KEYS is wrong" in line
    assert "hunter2" not in line
