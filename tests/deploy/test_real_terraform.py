"""What the tool relies on terraform for, with the real one. Google Cloud is played.

The folder's state is a file, so that no network is needed; terraform therefore does not get the
one argument that names the state's bucket.
"""

import json
import shutil
import stat
import sys

import pytest

from tests.deploy.conftest import PROJECT, URL, Cloud
from tests.deploy.test_preflight import rows

REAL = shutil.which("terraform")
pytestmark = pytest.mark.skipif(
    REAL is None, reason="terraform is not installed: developer.hashicorp.com/terraform/install"
)
WITHOUT_BUCKET = f"""#!{sys.executable} -IS
import os, sys
os.execv({REAL!r}, [w for w in sys.argv if not w.startswith("-backend-config=")])
"""
ROOT = """
terraform {
  backend "local" {}
}
variable "project" {
  type = string
}
variable "note" {
  type    = string
  default = "first"
}
resource "terraform_data" "note" {
  input = var.note
}
output "urls" {
  value = { say-hello = "%s" }
}
output "invokers" {
  value = toset(["allUsers"])
}
"""
# Tells that it began, then waits for what never comes.
SLOW = """
resource "terraform_data" "slow" {
  depends_on = [terraform_data.note]
  provisioner "local-exec" {
    command = "printf started > ../started; read -r _ < ../finish"
  }
}
"""


@pytest.fixture
def root(cloud: Cloud) -> Cloud:
    """A root that terraform takes, and a terraform that takes it."""
    (cloud.bin / "terraform").write_text(WITHOUT_BUCKET)
    (cloud.folder / "main.tf").write_text(ROOT % URL)
    write_settings(cloud, f'project = "{PROJECT}"\nnote = "shown"\n')
    return cloud


def write_settings(cloud: Cloud, text: str) -> None:
    (cloud.folder / "environments/dev.tfvars").write_text(text)


def note(cloud: Cloud) -> str:
    """What the state says of the one resource."""
    state = json.loads((cloud.folder / "terraform.tfstate").read_text())
    (resource,) = (r for r in state["resources"] if r["name"] == "note")
    value: str = resource["instances"][0]["attributes"]["input"]["value"]
    return value


def test_the_settings_are_read_as_terraform_reads_them(root: Cloud) -> None:
    """Comments, maps over many lines, quoted names, numbers, an expression, other variables."""
    write_settings(
        root,
        """
        # project = "not-this-one"
        project      = "sign-up-${true ? "dev" : "x"}" /* = "nor-this" */
        region       = "europe-west1"
        environment  = { say-hello = { A = "project = 1" } }
        secret_versions = {
          "link-keys" = 7 // a number is as good
          claim-key   = "2",
        }
        """,
    )
    made = rows(root)
    assert all(row["ok"] for row in made.values())
    assert made["settings"]["found"] == f"project {PROJECT}"
    assert [call["argv"][4] for call in root.calls("describe", "--secret=link-keys")] == ["7"]
    assert [call["argv"][4] for call in root.calls("describe", "--secret=claim-key")] == ["2"]
    assert [call["argv"][4] for call in root.calls("describe", "--secret=smtp-password")] == ["1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("project = ", "Expected the start of an expression"),
        ('project = "sign-up-dev"\nsecret_versions = "2"', "map of string required"),
        ('project = "sign-up-dev"\nsecret_versions = { a = null }', "a = null is not a version"),
        ('project = "sign-up-dev"\nprotect_data = "perhaps"', "a bool is required"),
        ("", "`project` is not set"),
        ("project = null", "`project` is not set"),
    ],
)
def test_what_terraform_would_refuse_is_told_at_once(root: Cloud, text: str, found: str) -> None:
    """In terraform's words, with the file to correct."""
    write_settings(root, text)
    made = rows(root)
    assert found in made["settings"]["found"]
    assert "environments/dev.tfvars" in made["settings"]["mend"]


def test_what_changed_after_the_plan_was_shown_is_not_applied(root: Cloud) -> None:
    """The plan's file is what is applied, and nobody else can read it."""
    terminal = root.start("apply")
    terminal.until("to apply this, anything else to leave it:")
    assert '"shown"' in terminal.shown
    write_settings(root, f'project = "{PROJECT}"\nnote = "sneaked in"\n')
    (plan,) = root.folder.glob(".build/*")
    assert plan.stat().st_size > 0
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    terminal.type(f"{PROJECT}\n")
    assert terminal.end() == 0, terminal.shown
    assert note(root) == "shown"
    assert f"curl -sS {URL}" in terminal.shown
    assert "Authorization" not in terminal.shown
    assert "terraform apply" not in terminal.shown.replace("== terraform apply", "")
    assert not (root.folder / ".terraform/terraform.tfstate").exists()
    assert (root.folder / ".terraform/dev").is_dir()


def test_the_second_time_there_is_nothing_to_change(root: Cloud) -> None:
    """And destroy takes it all away again."""
    assert root.run("apply", "--yes").returncode == 0
    again = root.run("apply", "--yes")
    assert again.returncode == 0
    assert "No changes" in again.stdout
    write_settings(root, f'project = "{PROJECT}"\nprotect_data = false\n')
    gone = root.run("destroy", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert json.loads((root.folder / "terraform.tfstate").read_text())["resources"] == []


def test_ctrl_c_during_an_apply_leaves_no_lock_and_a_true_state(root: Cloud) -> None:
    """What it was at has ended: what was made is in the state, and the lock is gone."""
    (root.folder / "main.tf").write_text(ROOT % URL + SLOW)
    terminal = root.start("apply", "--yes")
    root.wait_for_pause()
    lock = root.folder / ".terraform.tfstate.lock.info"
    assert lock.exists()
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "Interrupt received" in terminal.shown
    assert "Two interrupts received" not in terminal.shown
    assert not lock.exists()
    assert note(root) == "shown"
    assert root.plans_left() == []


def test_two_deployments_share_nothing_that_init_makes(root: Cloud) -> None:
    """Else one would plan against the state of the other."""
    (root.folder / "environments/other.tfvars").write_text(f'project = "{PROJECT}"\n')
    for name in ("dev", "other"):
        assert root.run("plan", "--environment", name).returncode == 0
    folders = {path.name for path in (root.folder / ".terraform").iterdir()}
    assert folders == {"dev", "other"}
