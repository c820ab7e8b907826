"""The preflight: what is missing is told at once, each with what mends it."""

import json
from typing import Any

import pytest

from tests.deploy.conftest import DEPLOYER, PROJECT, TOKEN, Cloud

NOT_FOUND = "ERROR: (x) NOT_FOUND: Secret Version [y] not found. This command is authenticated as z"
DENIED = (
    "ERROR: (gcloud.x.describe) [ada@example.com] does not have permission to access x instance "
    "[y] (or it may not exist): The caller does not have permission. This command is "
    "authenticated as ada@example.com which is the active account\n"
)
LOGGED_OUT = (
    "ERROR: (gcloud.x) You do not currently have an active account selected.\nPlease run:\n\n"
    "  $ gcloud auth login\n\nto select an already authenticated account to use.\n"
)
OFFLINE = (
    "ERROR: (gcloud.x) There was a problem refreshing your current auth tokens: "
    "HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries exceeded\n"
    "Please run:\n\n  $ gcloud auth login\n"
)
DISABLED = (
    "ERROR: (gcloud.x) PERMISSION_DENIED: API has not been used in project 1234 before or it is "
    "disabled. Enable it by visiting https://console.developers.google.com/apis/api/"
    "{api}.googleapis.com/overview?project=1234 then retry.\n- '@type': type.googleapis.com/x\n"
    "  reason: SERVICE_DISABLED\n"
)
# Observed, gcloud 528: of the source's refresh it says no other thing than of a login that ended.
NOT_DEPLOYER = (
    "ERROR: (gcloud.x) There was a problem refreshing your current auth tokens: ('Unable to "
    'acquire impersonated credentials\', \'{\\n  "error": {\\n    "code": 404,\\n    "message": '
    '"Not found; Gaia id not found for email deployer@..."\')\nPlease run:\n\n'
)
ENDED = (
    "ERROR: (gcloud.x) There was a problem refreshing your current auth tokens: ('invalid_grant: "
    "Bad Request', {'error': 'invalid_grant'})\nPlease run:\n\n  $ gcloud auth login\n"
)
STRANGE = "WARNING: a warning\nERROR: (gcloud.billing.projects.describe) the moon is full\n"


def rows(cloud: Cloud, *arguments: str) -> dict[str, dict[str, Any]]:
    """The checks by name, whose `--json` must agree with the exit code."""
    ended = cloud.run("preflight", "--json", *arguments)
    assert ended.stderr == ""
    document = json.loads(ended.stdout)
    assert set(document) == {"ok", "checks"}
    assert ended.returncode == (0 if document["ok"] else 1)
    assert document["ok"] == all(check["ok"] for check in document["checks"])
    return {check["name"]: check for check in document["checks"]}


def test_all_is_well_and_asked_for_as_the_deployer(cloud: Cloud) -> None:
    """Every check passes, each has the four members, and none has anything to mend."""
    made = rows(cloud)
    assert [*made] == [
        *("terraform", "gcloud", "environment", "settings", "credentials", "account"),
        *("project", "billing", "deployer", "state bucket"),
        *("secret link-keys", "secret claim-key", "secret smtp-password"),
    ]
    for row in made.values():
        assert set(row) == {"name", "ok", "found", "mend"}
        assert row["ok"] is True
        assert row["found"]
        assert row["mend"] == ""
    acting = f"--impersonate-service-account={DEPLOYER}"
    for words in (["storage"], ["secrets"], ["application-default", acting]):
        assert all(acting in call["argv"] for call in cloud.calls("gcloud", *words))
        assert cloud.calls("gcloud", *words)


def test_on_a_terminal_it_shows_what_it_waits_for(cloud: Cloud) -> None:
    """Without a network a gcloud may take half a minute: that is not silence."""
    cloud.answer("gcloud projects", pause=True)
    terminal = cloud.start("preflight")
    terminal.until("settings")
    terminal.until(" s  waiting for project")
    cloud.wait_for_pause()
    terminal.type("\x03")
    assert terminal.end() == 130


def test_a_text_for_people_has_each_remedy_below_its_check(cloud: Cloud) -> None:
    """No token that was asked for is in it."""
    cloud.answer("gcloud billing", out='{"billingEnabled": false}')
    ended = cloud.run("preflight")
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("  NO"))
    assert "billing" in lines[at]
    assert "-> gcloud billing projects link sign-up-dev" in lines[at + 1]
    assert lines[-1] == "1 check failed. Once that is mended: make preflight ENV=dev"
    assert TOKEN not in ended.stdout + ended.stderr


def case(call: str, check: str, found: str, mend: str, **answer: Any) -> Any:
    """This answer to this call makes this check fail: with this found, and this to mend it."""
    return pytest.param(call, answer, check, found, mend, id=f"{check}: {found}")


TERRAFORM = "developer.hashicorp.com/terraform/install"
GCLOUD = "cloud.google.com/sdk/docs/install"
ADC = "gcloud auth application-default print-access-token"
NO_ADC = "ERROR: (x) Your default credentials were not found. To set up ...\n"
LOG_IN = "gcloud auth login --update-adc"
REAUTH = "ERROR: (x) Reauthentication failed. cannot prompt during non-interactive execution.\n"
BAD_FILE = "\nError: Invalid expression\n\n  on dev.tfvars line 1:\n\nError: Another\n"
BOOTSTRAP = "bootstrap apply -var-file=sign-up-dev.tfvars"
NO_BUCKET = "ERROR: (gcloud.storage.ls) gs://sign-up-dev-terraform-state not found: 404.\n"
VERSION = "gcloud secrets versions describe 1 --secret=claim-key"
ENABLE = "gcloud secrets versions enable 1 --secret=claim-key --project=sign-up-dev"


@pytest.mark.parametrize(
    ("call", "answer", "check", "found", "mend"),
    [
        case(
            "terraform version",
            "terraform",
            "1.8.5 is older than 1.9",
            TERRAFORM,
            out='{"terraform_version": "1.8.5"}',
        ),
        case("terraform version", "terraform", "broken", TERRAFORM, code=1, err="broken"),
        case("gcloud version", "gcloud", "no python", GCLOUD, code=1, err="no python"),
        case(
            "terraform console",
            "settings",
            "Invalid expression on dev.tfvars line 1:",
            "correct ",
            code=1,
            err=BAD_FILE,
        ),
        case(ADC, "credentials", "no application default", LOG_IN, code=1, err=NO_ADC),
        case(ADC, "credentials", "cannot be reached", "HTTPS_PROXY", code=1, err=OFFLINE),
        case(ADC, "credentials", "the login has ended", LOG_IN, code=1, err=REAUTH),
        case(
            "gcloud auth print-access-token",
            "account",
            "nobody is logged in",
            LOG_IN,
            code=1,
            err=LOGGED_OUT,
        ),
        case(
            "gcloud auth print-access-token",
            "account",
            "the login has ended",
            LOG_IN,
            code=1,
            err=ENDED,
        ),
        case(
            "gcloud projects describe",
            "project",
            "no project sign-up-dev, or you may not",
            "gcloud projects create sign-up-dev",
            code=1,
            err=DENIED,
        ),
        case(
            "gcloud projects describe",
            "project",
            "sign-up-dev is DELETE_REQUESTED",
            "gcloud projects undelete sign-up-dev",
            out='{"lifecycleState": "DELETE_REQUESTED"}',
        ),
        case(
            "gcloud billing",
            "billing",
            "no billing account pays for sign-up-dev",
            "gcloud billing projects link sign-up-dev",
            out='{"billingEnabled": false}',
        ),
        case(
            "gcloud billing",
            "billing",
            "the API cloudbilling.googleapis.com is not enabled",
            "gcloud services enable cloudbilling.googleapis.com --project=1234",
            code=1,
            err=DISABLED.format(api="cloudbilling"),
        ),
        case("gcloud billing", "billing", "the moon is full", "billing", code=1, err=STRANGE),
        case(
            f"{ADC} --impersonate-service-account={DEPLOYER}",
            "deployer",
            "you may not act as it",
            BOOTSTRAP,
            code=1,
            err=NOT_DEPLOYER,
        ),
        case("gcloud storage", "state bucket", "there is no", BOOTSTRAP, code=1, err=NO_BUCKET),
        case(
            VERSION,
            "secret claim-key",
            "there is no version 1",
            "make secrets ENV=dev",
            code=1,
            err=NOT_FOUND,
        ),
        case(
            VERSION,
            "secret claim-key",
            "has no secrets yet",
            "make secrets ENV=dev",
            code=1,
            err=DISABLED.format(api="secretmanager"),
        ),
        case(
            VERSION,
            "secret claim-key",
            "version 1 is DISABLED",
            ENABLE,
            out='{"state": "DISABLED"}',
        ),
        case(
            VERSION,
            "secret claim-key",
            "version 1 is DESTROYED",
            "in secret_versions",
            out='{"state": "DESTROYED"}',
        ),
    ],
)
def test_a_failure_is_named_with_its_remedy(
    cloud: Cloud, call: str, answer: dict[str, Any], check: str, found: str, mend: str
) -> None:
    """It is the only failure: what needs it is skipped and says so."""
    cloud.answer(call, **answer)
    made = rows(cloud)
    assert [row["name"] for row in made.values() if row["ok"] is False] == [check]
    assert found in made[check]["found"]
    assert mend in made[check]["mend"]
    assert "authenticated as" not in made[check]["found"]
    for row in made.values():
        if row["ok"] is None:
            assert row["found"].startswith("skipped: it needs ")
            assert row["mend"] == ""


@pytest.mark.parametrize(
    ("tool", "skipped"),
    [("terraform", ["settings", "project"]), ("gcloud", ["credentials", "account", "project"])],
)
def test_a_tool_that_is_not_installed_is_told_with_what_else_is_missing(
    cloud: Cloud, tool: str, skipped: list[str]
) -> None:
    """One missing tool does not hide that the file of the deployment is missing too."""
    (cloud.bin / tool).unlink()
    made = rows(cloud, "--environment", "nowhere")
    assert made[tool]["found"] == f"{tool} is not on PATH"
    assert "install it: https://" in made[tool]["mend"]
    assert made["environment"]["ok"] is False
    assert "there are: dev" in made["environment"]["mend"]
    assert [made[name]["ok"] for name in skipped] == [None] * len(skipped)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"project": ""}, "`project` is not set"),
        ({"project": None}, "`project` is not set"),
        ({"project": "your-project-id"}, "is the example's"),
        ({"project": "Sign_Up"}, "is not a project id"),
        ({"secret_versions": {"claim-key": "latest"}}, 'claim-key = "latest" is not a version'),
        ({"secret_versions": {"claim-key": None}}, "claim-key = null is not a version"),
    ],
)
def test_settings_that_name_no_project_or_no_version_are_refused(
    cloud: Cloud, settings: dict[str, Any], found: str
) -> None:
    """With the file to correct; nothing of the cloud is asked for."""
    cloud.settings(**settings)
    made = rows(cloud)
    assert found in made["settings"]["found"]
    assert "environments/dev.tfvars" in made["settings"]["mend"]
    assert made["project"]["found"] == "skipped: it needs settings"
    assert not cloud.calls("projects")


def test_the_pinned_version_of_each_secret_is_what_is_looked_for(cloud: Cloud) -> None:
    """Version 1 unless the tfvars pins another; a missing pinned one is for the user to choose."""
    cloud.settings(secret_versions={"claim-key": "3"})
    cloud.answer("gcloud secrets versions describe 3", code=1, err=NOT_FOUND)
    made = rows(cloud)
    assert made["secret link-keys"]["found"] == "version 1 is ENABLED"
    assert made["secret claim-key"]["found"] == "there is no version 3"
    assert "gcloud secrets versions list claim-key" in made["secret claim-key"]["mend"]


def test_who_may_do_no_more_than_act_as_the_deployer_passes(cloud: Cloud) -> None:
    """What they may not see themselves is asked for as the deployer."""
    for call in ("gcloud projects describe", "gcloud billing projects describe"):
        out = '{"lifecycleState": "ACTIVE", "billingEnabled": true}'
        cloud.answer(call, code=1, err=DENIED)
        cloud.answer(f"{call} --impersonate-service-account={DEPLOYER}", out=out)
    assert all(row["ok"] for row in rows(cloud).values())


def test_as_me_acts_as_nobody_else(cloud: Cloud) -> None:
    """No deployer is needed, or asked for."""
    made = rows(cloud, "--as-me")
    assert all(row["ok"] for row in made.values())
    assert "deployer" not in made
    assert not [call for call in cloud.calls() if "impersonate" in " ".join(call["argv"])]
    assert {call["argv"][-1] for call in cloud.calls("projects")} == {"--format=json"}
    assert cloud.calls("projects", PROJECT)


def test_ctrl_c_ends_what_is_asked_at_that_moment(cloud: Cloud) -> None:
    """At once, with 130, and with no gcloud left behind."""
    cloud.answer("gcloud projects", pause=True)
    terminal = cloud.start("preflight")
    cloud.wait_for_pause()
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert cloud.running() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["preflight", "--environment", "../dev"],
        ["preflight", "--yes"],
        ["plan", "--json"],
        ["dance"],
        ["key-set", "add"],
    ],
)
def test_wrong_arguments_are_2(cloud: Cloud, arguments: list[str]) -> None:
    """And nothing is called."""
    assert cloud.run(*arguments).returncode == 2
    assert cloud.calls() == []


def test_a_broken_topology_is_told_with_its_place(cloud: Cloud) -> None:
    """Not a check: it is the project's own."""
    (cloud.folder / "topology.yaml").write_text("topics: 1\n")
    ended = cloud.run("preflight")
    assert ended.returncode == 1
    assert "topology.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr
