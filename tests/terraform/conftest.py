"""The real terraform, where it is installed.

Two rings: terraform/topology needs no provider and so no network; everything else needs the
provider's schemas. TERRAFORM_CHECK names a command that brings them: `COMMAND FOLDER` formats,
validates and tests a folder, `COMMAND FOLDER ARGUMENTS...` runs terraform there. Where it is not
set the second ring is skipped, by name.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
# An environment that is described in full; what it leaves to its owner to fill in is here.
PRODUCTION = (
    "-var-file=environments/production.tfvars",
    "-var=project=test-project",
    '-var=budget={amount = 50, billing_account = "012345-6789AB-CDEF01"}',
)
Plan = Callable[[dict[str, Any]], "subprocess.CompletedProcess[str]"]


def terraform(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run terraform in a folder."""
    return subprocess.run(
        ["terraform", f"-chdir={folder}", *arguments],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def installed() -> None:
    """Skip, by name, where there is no terraform."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed: https://developer.hashicorp.com/terraform/install")


@pytest.fixture(scope="session")
def topology_module(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """terraform/topology, initialised in a copy."""
    folder = tmp_path_factory.mktemp("terraform") / "topology"
    shutil.copytree(ROOT / "terraform/topology", folder)
    done = terraform(folder, "init", "-no-color")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def plan_topology(topology_module: Path, tmp_path: Path) -> Plan:
    """Plan the module on a topology, given as its document."""

    def plan(document: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
        file = tmp_path / "some.yaml"
        file.write_text(yaml.safe_dump(document))
        variables = ["-var", f"file={file}", "-var", f"functions={ROOT / 'functions'}"]
        out = f"-out={tmp_path / 'plan'}"
        return terraform(topology_module, "plan", "-no-color", out, *variables)

    return plan


@pytest.fixture
def planned(plan_topology: Plan, topology_module: Path, tmp_path: Path) -> Callable[..., Any]:
    """The planned outputs of the module on a topology: {"topology": ..., "bundles": ...}."""

    def outputs(document: dict[str, Any]) -> Any:
        done = plan_topology(document)
        assert done.returncode == 0, done.stderr
        shown = terraform(topology_module, "show", "-json", str(tmp_path / "plan"))
        assert shown.returncode == 0, shown.stderr
        values = json.loads(shown.stdout)["planned_values"]["outputs"]
        return {name: output["value"] for name, output in values.items()}

    return outputs


class Checked:
    """A copy of terraform/ that may be spoilt, and the command that brings the providers."""

    def __init__(self, command: str, where: Path) -> None:
        self._command = command
        self.terraform = where / "terraform"
        skipped = shutil.ignore_patterns(".terraform", ".build", "backend.tf", "__pycache__")
        shutil.copytree(ROOT / "terraform", self.terraform, ignore=skipped)
        shutil.copytree(ROOT / "functions", where / "functions", ignore=skipped)
        shutil.copy(ROOT / "constraints.txt", where)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run terraform in the copy, initialised without its state."""
        return subprocess.run(
            [self._command, str(self.terraform), *arguments],
            env=ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def plan(self) -> Any:
        """The plan of production, as `terraform show -json` has it."""
        done = self.run("plan", *PRODUCTION, "-out=plan")
        assert done.returncode == 0, done.stderr
        shown = self.run("show", "-json", "plan")
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout)


@pytest.fixture(scope="session")
def check_command() -> str:
    """Skip, by name, where the providers' schemas are not at hand."""
    command = os.environ.get("TERRAFORM_CHECK")
    if command is None:
        pytest.skip("TERRAFORM_CHECK is not set: no schemas of the providers (CONTRIBUTING.md)")
    return command


@pytest.fixture
def checked(check_command: str, tmp_path: Path) -> Checked:
    """A copy of terraform/, to be spoilt."""
    return Checked(check_command, tmp_path)
