"""One deployment: what terraform/environments/NAME.tfvars says of it.

Terraform itself reads the file, in `terraform console`, so that a comment, a map over many lines
or an expression means here what it means to it; a reader of our own would be a second, smaller
HCL. The console runs in an empty folder that declares the few variables asked for: it needs no
initialised folder, no provider and no state, and takes 0.05 s (observed: terraform 1.11.4).
"""

import base64
import json
import re
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.children import run
from deploy.errors import UnmetError

# The types and defaults are those of terraform/variables.tf. The rest of the file is not asked
# for; terraform warns about it on standard output, before the answer.
_VARIABLES = """
variable "project" {
  type    = string
  default = ""
}
variable "protect_data" {
  type    = bool
  default = true
}
variable "secret_versions" {
  type    = map(string)
  default = {}
}
"""
# In base64 no character has a meaning of its own in a terraform string.
_QUESTION = "base64encode(jsonencode([var.project, var.protect_data, var.secret_versions]))"
# https://cloud.google.com/resource-manager/docs/creating-managing-projects
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_PLACEHOLDERS = ("your-project-id", "my-project-id", "project-id")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deployment goes. `secret_versions` pins some secrets; the others are at "1"."""

    name: str
    file: Path
    project: str
    protect_data: bool
    secret_versions: Mapping[str, str]
    as_me: bool

    @property
    def state_bucket(self) -> str:
        """The bucket of the state, as terraform/bootstrap names it."""
        return f"{self.project}-terraform-state"

    @property
    def deployer(self) -> str | None:
        """The service account to act as, as terraform/bootstrap names it; None: as oneself."""
        return None if self.as_me else f"deployer@{self.project}.iam.gserviceaccount.com"

    def version_of(self, secret: str) -> str:
        """The version of a secret that this deployment uses."""
        return self.secret_versions.get(secret, "1")


def settings_file(folder: Path, name: str) -> Path:
    """The file of the deployment `name`.

    Raises:
        UnmetError: there is none; with those that there are.
    """
    file = folder / "environments" / f"{name}.tfvars"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in file.parent.glob("*.tfvars"))) or "none"
        raise UnmetError(f"there is no {file}", f"write it, or choose another; there are: {there}")
    return file


async def read_target(folder: Path, name: str, *, as_me: bool) -> Target:
    """The deployment that `name` stands for, in the Terraform folder `folder`.

    Raises:
        UnmetError: the file is missing, terraform does not take it, or it names no project.
    """
    file = settings_file(folder, name)
    project, protect_data, secret_versions = await _values(file)
    mend = f"set it in {file}: gcloud projects list shows yours"
    if not project:
        raise UnmetError("`project` is not set", mend)
    if project in _PLACEHOLDERS:
        raise UnmetError(f'project = "{project}" is the example\'s', mend)
    if not _PROJECT.fullmatch(project):
        raise UnmetError(f'project = "{project}" is not a project id', mend)
    pinned: dict[str, str] = {}
    for secret, version in (secret_versions or {}).items():
        if version is None or not re.fullmatch(r"[1-9][0-9]*", version):
            raise UnmetError(
                f"secret_versions: {secret} = {json.dumps(version)} is not a version number",
                f"pin a number in {file}: gcloud secrets versions list {secret} "
                f"--project={project} shows them",
            )
        pinned[secret] = version
    return Target(name, file, project, protect_data is not False, pinned, as_me)


def _var_file(file: Path) -> str:
    return f"-var-file={file.absolute()}"


async def _values(file: Path) -> tuple[str | None, bool | None, dict[str, str | None] | None]:
    with tempfile.TemporaryDirectory(prefix="tfvars-") as empty:
        (Path(empty) / "variables.tf").write_text(_VARIABLES)
        ended = await run(
            ["terraform", "console", "-no-color", _var_file(file)],
            stop=signal.SIGINT,
            # A folder or a workspace that the user has chosen is not this one's.
            env={"TF_DATA_DIR": ".terraform", "TF_WORKSPACE": "default"},
            cwd=Path(empty),
            stdin=_QUESTION,
        )
    if ended.code:
        first = ended.err.partition("Error: ")[2].partition("\nError: ")[0] or ended.err
        raise UnmetError(
            f"terraform cannot read {file}: {' '.join(first.split())}", f"correct {file}"
        )
    answer = base64.b64decode(ended.out.split()[-1].strip('"'))
    project, protect_data, secret_versions = json.loads(answer)
    return project, protect_data, secret_versions
