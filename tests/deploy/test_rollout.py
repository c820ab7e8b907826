"""Plan, apply, destroy: what was shown and agreed to is what happens, and nothing else."""

import os
import signal
import time

import pytest

from tests.deploy.conftest import DEPLOYER, PROJECT, URL, Cloud

QUESTION = "to apply this, anything else to leave it:"


def test_exactly_the_plan_that_was_shown_is_applied(cloud: Cloud) -> None:
    """It is in a file that its owner alone can read, and that is gone afterwards."""
    terminal = cloud.start("apply")
    terminal.until("Plan: 3 to add")
    terminal.until(f"Type {PROJECT} {QUESTION}")
    assert not cloud.calls("terraform", "apply")
    assert len(cloud.plans_left()) == 1
    terminal.type(f"{PROJECT}\n")
    assert terminal.end() == 0, terminal.shown
    (planned,), (applied,) = cloud.calls("terraform", "plan"), cloud.calls("terraform", "apply")
    assert applied["plan"] == "the plan that was shown"
    assert f"-out={applied['argv'][-1]}" in planned["argv"]
    assert planned["mode"] == "0o100600"
    assert applied["argv"][:-1] == ["terraform", "apply", "-input=false"]
    assert cloud.plans_left() == []


def test_terraform_acts_as_the_deployer_on_this_deployments_own_state(cloud: Cloud) -> None:
    """The bucket is the project's, the data folder the deployment's, the variables the file's."""
    cloud.run("apply", "--yes")
    (initialised,), (planned,) = cloud.calls("terraform", "init"), cloud.calls("terraform", "plan")
    assert f"-backend-config=bucket={PROJECT}-terraform-state" in initialised["argv"]
    assert "-var-file=environments/dev.tfvars" in planned["argv"]
    for command in ("init", "plan", "apply", "output"):
        (call,) = cloud.calls("terraform", command)
        assert call["env"]["GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"] == DEPLOYER
        assert call["env"]["TF_DATA_DIR"] == ".terraform/dev"
        assert call["env"]["TF_WORKSPACE"] == "default"


def test_as_me_terraform_acts_as_nobody_else(cloud: Cloud) -> None:
    """For who has the rights, or a machine that is the deployer already."""
    assert cloud.run("apply", "--yes", "--as-me").returncode == 0
    for call in cloud.calls("terraform"):
        assert "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT" not in call["env"]


@pytest.mark.parametrize("answer", ["", "yes", "sign-up", "\x04"])
def test_any_other_answer_changes_nothing(cloud: Cloud, answer: str) -> None:
    """It says so, ends with 1, and keeps no plan. Ctrl-D is an answer too."""
    terminal = cloud.start("apply")
    terminal.until(QUESTION)
    terminal.type(answer if answer == "\x04" else f"{answer}\n")
    assert terminal.end() == 1
    assert "nothing was changed" in terminal.shown
    assert not cloud.calls("terraform", "apply")
    assert cloud.plans_left() == []


def test_what_was_typed_before_the_question_is_not_its_answer(cloud: Cloud) -> None:
    """A plan is agreed to by who has seen it."""
    terminal = cloud.start("apply")
    terminal.type(f"{PROJECT}\n")
    terminal.until(QUESTION)
    terminal.type("no\n")
    assert terminal.end() == 1
    assert not cloud.calls("terraform", "apply")


@pytest.mark.parametrize("command", ["apply", "destroy", "secrets"])
def test_without_a_terminal_and_without_yes_it_refuses(cloud: Cloud, command: str) -> None:
    """Before it asks anything of anyone."""
    ended = cloud.run(command)
    assert ended.returncode == 1
    assert "--yes" in ended.stderr
    assert cloud.calls() == []


@pytest.mark.parametrize("command", ["plan", "apply", "destroy", "secrets"])
def test_a_failed_check_ends_it_before_terraform_begins(cloud: Cloud, command: str) -> None:
    """With the check and its remedy on the screen."""
    cloud.answer("gcloud billing", out='{"billingEnabled": false}')
    ended = cloud.run(command, *([] if command == "plan" else ["--yes"]))
    assert ended.returncode == 1
    assert "gcloud billing projects link" in ended.stdout
    assert ended.stderr == "error: 1 check failed: nothing was changed\n"
    assert not cloud.calls("terraform", "init")


def test_plan_shows_and_keeps_nothing(cloud: Cloud) -> None:
    """No file, no apply; changes or not, it worked."""
    ended = cloud.run("plan")
    assert ended.returncode == 0, ended.stderr
    assert "Plan: 3 to add" in ended.stdout
    (planned,) = cloud.calls("terraform", "plan")
    assert not [word for word in planned["argv"] if word.startswith("-out")]
    assert not cloud.calls("terraform", "apply")


def test_with_nothing_to_change_nothing_is_asked(cloud: Cloud) -> None:
    """The addresses are shown all the same."""
    cloud.answer("terraform plan", code=0, out="No changes.\n")
    terminal = cloud.start("apply")
    assert terminal.end() == 0
    assert QUESTION not in terminal.shown
    assert not cloud.calls("terraform", "apply")
    assert URL in terminal.shown


@pytest.mark.parametrize("command", ["init", "plan", "apply", "output"])
def test_a_terraform_that_fails_is_named(cloud: Cloud, command: str) -> None:
    """What it said stands, and no plan is left."""
    cloud.answer(f"terraform {command}", code=1, err="Error: the moon is full\n")
    ended = cloud.run("apply", "--yes")
    assert ended.returncode == 1
    assert "the moon is full" in ended.stderr
    assert f"error: terraform {command} failed" in ended.stderr
    assert cloud.plans_left() == []


@pytest.mark.parametrize("invokers", [[], ["user:ada@example.com"], ["allUsers"]])
def test_a_deployment_ends_with_a_line_to_paste(cloud: Cloud, invokers: list[str]) -> None:
    """With a token unless everybody may call."""
    cloud.outputs(invokers=invokers)
    shown = cloud.run("apply", "--yes").stdout
    assert f"\nsay-hello: {URL}\n" in shown
    token = ' -H "Authorization: Bearer $(gcloud auth print-identity-token)"'
    header = f"  curl -sS {URL} -H 'Content-Type: application/json'"
    private = "" if invokers == ["allUsers"] else token
    assert f'{header}{private} \\\n    -d \'{{"name": "Ada\'"\'"\'s friend"}}\'\n' in shown
    assert "tidy-up" not in shown


def test_destroy_shows_what_goes_and_asks(cloud: Cloud) -> None:
    """By a plan too; whether the secrets have their versions is no matter."""
    cloud.answer("gcloud secrets versions describe", code=1, err="ERROR: (x) NOT_FOUND: y\n")
    terminal = cloud.start("destroy")
    terminal.until(f"Type {PROJECT} to remove this")
    terminal.type(f"{PROJECT}\n")
    assert terminal.end() == 0, terminal.shown
    (planned,) = cloud.calls("terraform", "plan")
    assert "-destroy" in planned["argv"]
    assert len(cloud.calls("terraform", "apply")) == 1
    assert not cloud.calls("gcloud", "secrets")


@pytest.mark.parametrize("protect_data", [True, None])
def test_protected_data_is_not_destroyed(cloud: Cloud, protect_data: bool | None) -> None:
    """Terraform would remove one half, and stop at what is protected from deletion."""
    cloud.settings(protect_data=protect_data)
    ended = cloud.run("destroy", "--yes")
    assert ended.returncode == 1
    assert "set protect_data = false" in ended.stdout
    assert not cloud.calls("terraform", "init")


@pytest.mark.parametrize("command", ["init", "plan", "apply"])
def test_ctrl_c_gives_terraform_one_signal_and_waits_for_it(cloud: Cloud, command: str) -> None:
    """However often it is typed: at the second signal terraform would leave its state locked."""
    cloud.answer(f"terraform {command}", pause=True)
    terminal = cloud.start("apply")
    if command == "apply":
        terminal.until(QUESTION)
        terminal.type(f"{PROJECT}\n")
    cloud.wait_for_pause()
    for told in ("stopping", "still stopping", "still stopping"):
        terminal.type("\x03")
        terminal.until(told)
    assert "stopped" not in terminal.shown
    assert len(cloud.plans_left()) == (command != "init"), "terraform may still need it"
    cloud.let_finish()
    assert terminal.end() == 130
    (stopped,) = cloud.calls("terraform", command)
    assert stopped["more_signals"] is False
    assert cloud.plans_left() == []
    assert not cloud.calls("terraform", "output")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_us_alone_stops_terraform_too(cloud: Cloud, number: signal.Signals) -> None:
    """What ends a job in CI is not a terminal's Ctrl-C."""
    cloud.answer("terraform plan", pause=True)
    terminal = cloud.start("apply")
    cloud.wait_for_pause()
    os.kill(terminal.process.pid, number)
    cloud.let_finish()
    assert terminal.end() == 128 + number
    assert cloud.plans_left() == []


def test_a_killed_runs_plan_goes_at_a_start_a_day_later(cloud: Cloud) -> None:
    """A younger one may be another command's, which waits for its answer."""
    terminal = cloud.start("apply")
    terminal.until(QUESTION)
    terminal.process.kill()
    terminal.process.wait()
    assert cloud.run("plan").returncode == 0
    (plan,) = cloud.folder.glob(".build/plan-*")
    zipped = plan.with_name("create_user.zip")
    zipped.write_text("older still, and not a plan")
    for path in (plan, zipped):
        os.utime(path, (0, time.time() - 86_500))
    assert cloud.run("plan").returncode == 0
    assert cloud.plans_left() == [zipped.name]
    zipped.unlink()


def test_ctrl_c_at_the_question_changes_nothing(cloud: Cloud) -> None:
    """It is no answer; the plan is gone."""
    terminal = cloud.start("apply")
    terminal.until(QUESTION)
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert not cloud.calls("terraform", "apply")
    assert cloud.plans_left() == []


def test_a_reader_that_leaves_ends_it_quietly(cloud: Cloud) -> None:
    """`preflight | head -1` has no traceback."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        ended = cloud.run("preflight", stdout=nobody)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 128 + signal.SIGTERM
