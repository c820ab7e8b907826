"""The calls of gcloud, and its errors in plain words.

gcloud asks nothing here (prompts are off) and reads only what it is given. It has credentials of
its own, beside the application default credentials that terraform uses; one command makes both:
`gcloud auth login --update-adc`.

Messages and flags: observed, gcloud 528.
"""

import re
import signal

from deploy.children import run
from deploy.errors import UnmetError

LOG_IN = "gcloud auth login --update-adc"

# Errors whose cause is the same whatever was asked: (pattern, what was found, what mends it).
# gcloud speaks of a refresh of the login where there is no network too, and where the deployer
# cannot be impersonated.
_CAUSES = (
    (
        r"Max retries exceeded|Unable to find the server|Failed to resolve|Network is unreachable",
        "Google Cloud cannot be reached from here",
        "look at the network; behind a proxy set HTTPS_PROXY",
    ),
    (
        r"do not currently have an active account",
        "nobody is logged in to gcloud",
        LOG_IN,
    ),
    (
        r"default credentials were not found",
        "there are no application default credentials",
        LOG_IN,
    ),
    (
        r"[Rr]eauthentication|invalid_grant"
        r"|refreshing your current auth tokens: (?!.*acquire impersonated credentials)",
        "the login has ended",
        LOG_IN,
    ),
)
_DISABLED = re.compile(r"/apis/api/([a-z]+\.googleapis\.com)/overview\?project=([\w-]+)")
_ABSENT = re.compile(
    r"not found|NOT_FOUND|may not exist|PERMISSION_DENIED|Failed to impersonate"
    r"|acquire impersonated credentials"
)
_WHO = re.compile(r" This command is authenticated .*")


def _said(stderr: str) -> str:
    """The line of gcloud's output that says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")]
    line = (errors or lines or ["gcloud failed and printed nothing"])[-1]
    return _WHO.sub("", re.sub(r"^ERROR: (\([\w.-]+\) )?", "", line))


def _cause(stderr: str) -> tuple[str, str] | None:
    """What was found and what mends it, where neither depends on what was asked."""
    for pattern, found, mend in _CAUSES:
        if re.search(pattern, stderr):
            return found, mend
    if disabled := _DISABLED.search(stderr):
        api, project = disabled.groups()
        enable = f"gcloud services enable {api} --project={project}"
        return f"the API {api} is not enabled", f"{enable} (and wait a minute)"
    return None


class GcloudError(UnmetError):
    """gcloud refused, or could not do it.

    `absent`: what was asked for is not there, or not to be seen by who asks: Google does not
    tell which. `disabled` is the API that the project does not have enabled, or empty.
    """

    def __init__(self, arguments: tuple[str, ...], stderr: str) -> None:
        disabled, cause = _DISABLED.search(stderr), _cause(stderr)
        super().__init__(*(cause or (_said(stderr), f"try: gcloud {' '.join(arguments)}")))
        self.absent = bool(_ABSENT.search(stderr))
        self.disabled = disabled[1] if disabled else ""
        self._known = cause is not None

    def in_place(self, found: str, mend: str) -> UnmetError:
        """The same for one who knows what was asked: `found` where it is absent.

        A cause that has nothing to do with what was asked stays as it is; an error that is not
        understood stays in gcloud's own words.
        """
        if self._known:
            return self
        return UnmetError(found if self.absent else self.found, mend)


async def gcloud(*arguments: str, acting_as: str | None = None, stdin: str | None = None) -> str:
    """What `gcloud ARGUMENTS` prints; `acting_as` is a service account to impersonate.

    Raises:
        GcloudError: it failed.
    """
    if acting_as is not None:
        arguments = (*arguments, f"--impersonate-service-account={acting_as}")
    ended = await run(
        ["gcloud", *arguments],
        stop=signal.SIGKILL,  # it has nothing to put in order
        env={"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "1"},
        stdin=stdin,
    )
    if ended.code:
        raise GcloudError(arguments, ended.err)
    return ended.out
