"""The first values of the secrets: made up or typed, and seen by nobody."""

import base64
import json

import pytest

from shared.settings import key_set, secret_key
from tests.deploy.conftest import DEPLOYER, PROJECT, Cloud, Terminal

TYPED = "a typed p4ssword"


def values(cloud: Cloud) -> dict[str, str]:
    """What each secret was given, by standard input."""
    return {call["argv"][4]: call["stdin"] for call in cloud.calls("secrets", "add")}


def assert_seen_by_nobody(cloud: Cloud, shown: str) -> None:
    """No value, nor a key of a key set, in what is shown or in any argument."""
    arguments = [word for call in cloud.calls() for word in call["argv"]]
    for value in values(cloud).values():
        keys = [*json.loads(value)["keys"].values()] if value.startswith("{") else []
        for secret in (value, *keys):
            assert secret not in shown
            assert not [word for word in arguments if secret in word]


def typed_into(cloud: Cloud, text: str) -> Terminal:
    """`secrets`, with `text` typed where the value that is made elsewhere is asked for."""
    terminal = cloud.start("secrets", "--yes")
    terminal.until("smtp-password, made elsewhere")
    assert not terminal.echoes()
    terminal.type(text)
    return terminal


def test_each_secret_gets_its_first_version(cloud: Cloud) -> None:
    """Keys as the functions take them; what is made elsewhere as it was typed."""
    terminal = typed_into(cloud, f"{TYPED}\n")
    assert terminal.end() == 0, terminal.shown
    given = values(cloud)
    assert set(given) == {"link-keys", "claim-key", "smtp-password"}
    assert given["smtp-password"] == TYPED
    assert len(secret_key(given["claim-key"])) == 32
    assert len(key_set(given["link-keys"]).current_key) == 32
    assert "make deploy ENV=dev" in terminal.shown
    assert_seen_by_nobody(cloud, terminal.shown)


def test_a_value_goes_to_the_project_as_the_deployer_by_standard_input(cloud: Cloud) -> None:
    """The arguments say which secret, of which project, and no more."""
    cloud.run("secrets", "--yes")
    (call,) = cloud.calls("secrets", "add", "claim-key")
    assert call["argv"] == [
        *("gcloud", "secrets", "versions", "add", "claim-key", f"--project={PROJECT}"),
        *("--data-file=-", f"--impersonate-service-account={DEPLOYER}"),
    ]


def test_only_the_secrets_are_applied_after_the_same_question(cloud: Cloud) -> None:
    """They are the first thing there is: that they have no version does not matter yet."""
    cloud.answer("gcloud secrets versions describe", code=1, err="ERROR: (x) NOT_FOUND: y\n")
    terminal = cloud.start("secrets")
    terminal.until("to apply this, anything else to leave it:")
    assert not cloud.calls("secrets")
    terminal.type("no\n")
    assert terminal.end() == 1
    (planned,) = cloud.calls("terraform", "plan")
    assert "-target=google_secret_manager_secret.secret" in planned["argv"]
    assert values(cloud) == {}


def test_a_secret_that_has_a_version_is_left_as_it_is(cloud: Cloud) -> None:
    """So a second run gives what the first one could not, and changes nothing else."""
    for name in ("link-keys", "smtp-password"):
        cloud.answer(f"gcloud secrets versions list {name}", out='[{"state": "DESTROYED"}]')
    ended = cloud.run("secrets", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert [*values(cloud)] == ["claim-key"]
    assert "link-keys: has a version already" in ended.stdout
    assert_seen_by_nobody(cloud, ended.stdout + ended.stderr)


def test_without_a_terminal_what_is_made_elsewhere_is_named(cloud: Cloud) -> None:
    """The others are made; how to give the last one is said."""
    ended = cloud.run("secrets", "--yes")
    assert ended.returncode == 1
    assert set(values(cloud)) == {"link-keys", "claim-key"}
    by_hand = f"gcloud secrets versions add smtp-password --project={PROJECT} --data-file="
    assert by_hand in ended.stderr


@pytest.mark.parametrize("text", ["\n", "\x04"])
def test_an_empty_answer_is_no_value(cloud: Cloud, text: str) -> None:
    """It can be given later."""
    terminal = typed_into(cloud, text)
    assert terminal.end() == 1
    assert "smtp-password: has no version yet" in terminal.shown
    assert "smtp-password" not in values(cloud)


def test_an_arrow_key_in_a_value_is_refused(cloud: Cloud) -> None:
    """The function would not start with it, and nobody saw it typed."""
    terminal = typed_into(cloud, f"{TYPED}\x1b[D\n")
    assert terminal.end() == 1
    assert "run this again" in terminal.shown
    assert TYPED not in terminal.shown
    assert "smtp-password" not in values(cloud)


def test_ctrl_c_while_a_value_is_typed_leaves_the_terminal_as_it_was(cloud: Cloud) -> None:
    """It shows again what is typed."""
    terminal = typed_into(cloud, f"{TYPED}\x03")
    terminal.until("stopped")
    assert terminal.echoes()
    assert terminal.end() == 130
    assert TYPED not in terminal.shown
    assert "smtp-password" not in values(cloud)


def test_a_gcloud_that_refuses_a_value_does_not_show_it(cloud: Cloud) -> None:
    """Its own words and the call are shown; the value is in neither."""
    cloud.answer("gcloud secrets versions add", code=1, err="ERROR: (x) the moon is full\n")
    ended = cloud.run("secrets", "--yes")
    assert ended.returncode == 1
    assert "the moon is full" in ended.stderr
    assert "gcloud secrets versions add link-keys" in ended.stderr
    assert_seen_by_nobody(cloud, ended.stdout + ended.stderr)


def test_made_up_keys_are_new_each_time(cloud: Cloud) -> None:
    """Two deployments never share one."""
    for _ in range(2):
        cloud.run("secrets", "--yes")
    first, second = (call["stdin"] for call in cloud.calls("secrets", "add", "claim-key"))
    assert base64.b64decode(first) != base64.b64decode(second)
