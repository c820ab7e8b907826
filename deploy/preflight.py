"""What must be there before anything is deployed: checks, each with how to mend it.

1. Every check that can be made is made, all at once where one does not need another: a user
   learns in one go what is missing. One that needs something that is missing is skipped, so that
   one cause is one failure.
2. Nothing is changed, and no token that is asked for to see whether it can be had is kept.
3. A check asks as the one who will do the work: the deployer, once that can be.
"""

import asyncio
import functools
import json
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.children import run
from deploy.errors import UnmetError
from deploy.gcloud import GcloudError, gcloud
from deploy.target import Target, read_target, settings_file
from deploy.terminal import Progress

_TERRAFORM_NEEDED = (1, 9)  # required_version in terraform/versions.tf
_INSTALL_TERRAFORM = "install it: https://developer.hashicorp.com/terraform/install"
_INSTALL_GCLOUD = "install it: https://cloud.google.com/sdk/docs/install"


@dataclass(frozen=True, slots=True)
class Row:
    """What one check found. `ok` is None where it was skipped; `mend` is empty but for False."""

    name: str
    ok: bool | None
    found: str
    mend: str


@dataclass(frozen=True, slots=True)
class _Check:
    """A check: `look` says what it found, or raises UnmetError. It is made after those it needs."""

    name: str
    needs: Sequence[str]
    look: Callable[[], Awaitable[str]]


class Preflight:
    """The checks for one deployment. `target` is there once they have passed.

    `secrets` are the ids of those whose versions must be there; `destroying` asks whether the
    data may go.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        as_me: bool,
        secrets: Sequence[str] = (),
        destroying: bool = False,
    ) -> None:
        self._folder = folder
        self._name = name
        self._as_me = as_me
        self._secrets = secrets
        self._destroying = destroying
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """The deployment, as the check of the settings read it."""
        if self._target is None:
            raise RuntimeError("the settings were not read: their check has not passed")
        return self._target

    async def run(self, show: Callable[[Row], None], progress: Progress) -> list[Row]:
        """Make every check; `show` gets each row as soon as it and those before it are known."""
        rows: list[Row] = []
        async with asyncio.TaskGroup() as group:
            made: dict[str, asyncio.Task[Row]] = {}
            for check in self._checks():
                needed = [made[name] for name in check.needs]
                made[check.name] = group.create_task(_row(check, needed, progress))
            for task in made.values():
                rows.append(await task)
                show(rows[-1])
        return rows

    def _checks(self) -> list[_Check]:
        acting = "account" if self._as_me else "deployer"
        checks = [
            _Check("terraform", (), _terraform),
            _Check("gcloud", (), _gcloud),
            _Check("environment", (), self._environment),
            _Check("settings", ("terraform", "environment"), self._settings),
            _Check("credentials", ("gcloud",), self._credentials),
            _Check("account", ("gcloud",), self._account),
            _Check("project", ("settings", "account"), self._project),
            _Check("billing", ("project",), self._billing),
        ]
        if not self._as_me:
            checks.append(_Check("deployer", ("project", "credentials"), self._deployer))
        checks.append(_Check("state bucket", ("project", acting), self._state_bucket))
        if self._destroying:
            checks.append(_Check("protection", ("settings",), self._protection))
        for secret in self._secrets:
            look = functools.partial(self._secret, secret)
            checks.append(_Check(f"secret {secret}", ("project", acting), look))
        return checks

    # --- this machine ----------------------------------------------------------------------

    async def _environment(self) -> str:
        return str(settings_file(self._folder, self._name))

    async def _settings(self) -> str:
        self._target = await read_target(self._folder, self._name, as_me=self._as_me)
        return f"project {self._target.project}"

    async def _credentials(self) -> str:
        await gcloud("auth", "application-default", "print-access-token")
        return "application default credentials, for terraform"

    async def _account(self) -> str:
        await gcloud("auth", "print-access-token")
        return "an account, for gcloud"

    # --- the project -----------------------------------------------------------------------

    async def _seen(self, *arguments: str) -> str:
        """What gcloud prints for oneself, or for the deployer where one may not see it.

        Before bootstrap there is no deployer; after it a person may have no other right than to
        act as the deployer.
        """
        try:
            return await gcloud(*arguments)
        except GcloudError as error:
            if self._as_me or not error.absent:
                raise
            try:
                return await gcloud(*arguments, acting_as=self.target.deployer)
            except GcloudError:
                raise error from None

    async def _project(self) -> str:
        project = self.target.project
        try:
            described = await self._seen("projects", "describe", project, "--format=json")
        except GcloudError as error:
            raise error.in_place(
                f"there is no project {project}, or you may not see it",
                f"correct `project` in {self.target.file}, or make it: gcloud projects create "
                f"{project}; if it is another's, ask its owner for roles/browser",
            ) from error
        state = json.loads(described)["lifecycleState"]
        if state != "ACTIVE":
            raise UnmetError(f"project {project} is {state}", f"gcloud projects undelete {project}")
        return f"{project} is {state}"

    async def _billing(self) -> str:
        project = self.target.project
        mend = (
            f"gcloud billing projects link {project} --billing-account=ACCOUNT_ID "
            "(gcloud billing accounts list shows them)"
        )
        try:
            described = await self._seen("billing", "projects", "describe", project, _JSON)
        except GcloudError as error:
            raise error.in_place(f"you may not see the billing of {project}", mend) from error
        if not json.loads(described)["billingEnabled"]:
            raise UnmetError(f"no billing account pays for {project}", mend)
        return "enabled"

    # --- what terraform/bootstrap makes ----------------------------------------------------

    def _bootstrap(self) -> str:
        """How its owner makes the project ready; in a workspace for each project."""
        there, project = f"terraform -chdir={self._folder}/bootstrap", self.target.project
        return (
            f"{there} init && {there} workspace select -or-create {project} && {there} apply "
            f"-var-file={project}.tfvars (docs/deploy.md has that file)"
        )

    async def _deployer(self) -> str:
        try:
            # With the credentials that terraform uses; gcloud's own are tried by what follows.
            await gcloud(
                "auth",
                "application-default",
                "print-access-token",
                acting_as=self.target.deployer,
            )
        except GcloudError as error:
            raise error.in_place(
                f"{self.target.deployer} is not there, or you may not act as it",
                f"the project's owner runs, with you in `deployers`: {self._bootstrap()}; "
                "a new right takes a minute or two; or act --as-me",
            ) from error
        return f"you may act as {self.target.deployer}"

    async def _state_bucket(self) -> str:
        bucket = f"gs://{self.target.state_bucket}"
        try:
            # The right to look into it, which terraform needs, not the right to describe it.
            await gcloud("storage", "ls", bucket, acting_as=self.target.deployer)
        except GcloudError as error:
            raise error.in_place(
                f"there is no {bucket}, or it may not be read",
                f"its owner runs: {self._bootstrap()}",
            ) from error
        return bucket

    # --- what is kept there ----------------------------------------------------------------

    async def _protection(self) -> str:
        if self.target.protect_data:
            raise UnmetError(
                f"{self._name} keeps its data: protect_data is true",
                f"to lose it, set protect_data = false in {self.target.file}, then make deploy "
                f"ENV={self._name}, then make destroy ENV={self._name}",
            )
        return "the data may go: protect_data is false"

    async def _secret(self, secret: str) -> str:
        version, project = self.target.version_of(secret), self.target.project
        make = f"make secrets ENV={self._name}"
        choose = (
            f"gcloud secrets versions list {secret} --project={project} shows what there is; "
            f"choose one in secret_versions of {self.target.file}"
        )
        which = ("secrets", "versions", "describe", version, f"--secret={secret}")
        try:
            described = await gcloud(
                *which, f"--project={project}", _JSON, acting_as=self.target.deployer
            )
        except GcloudError as error:
            if error.disabled == "secretmanager.googleapis.com":
                raise UnmetError("the project has no secrets yet", make) from error
            raise error.in_place(
                f"there is no version {version}", make if version == "1" else choose
            ) from error
        state = json.loads(described)["state"]
        if state == "DISABLED":
            enable = f"gcloud secrets versions enable {version} --secret={secret}"
            raise UnmetError(f"version {version} is DISABLED", f"{enable} --project={project}")
        if state != "ENABLED":
            raise UnmetError(f"version {version} is {state}", choose)
        return f"version {version} is ENABLED"


_JSON = "--format=json"


async def _row(check: _Check, needed: Sequence["asyncio.Task[Row]"], progress: Progress) -> Row:
    for task in needed:
        if not (row := await task).ok:
            return Row(check.name, None, f"skipped: it needs {row.name}", "")
    try:
        with progress.on(check.name):
            return Row(check.name, True, await check.look(), "")
    except UnmetError as unmet:
        return Row(check.name, False, unmet.found, unmet.mend)


async def _terraform() -> str:
    needed = ".".join(map(str, _TERRAFORM_NEEDED))
    try:
        ended = await run(
            ["terraform", "version", "-json"],
            stop=signal.SIGINT,
            env={"CHECKPOINT_DISABLE": "1"},  # it would ask the network for a newer one
        )
    except UnmetError as unmet:
        raise UnmetError(unmet.found, _INSTALL_TERRAFORM) from unmet
    if ended.code:
        raise UnmetError(f"terraform does not run: {ended.err.strip()}", _INSTALL_TERRAFORM)
    version: str = json.loads(ended.out)["terraform_version"]
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < _TERRAFORM_NEEDED:
        raise UnmetError(f"{version} is older than {needed}", _INSTALL_TERRAFORM)
    return version


async def _gcloud() -> str:
    try:
        printed = await gcloud("version", _JSON)
    except UnmetError as unmet:
        raise UnmetError(unmet.found, _INSTALL_GCLOUD) from unmet
    version: str = json.loads(printed)["Google Cloud SDK"]
    return version
