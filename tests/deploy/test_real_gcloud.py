"""What the tool relies on gcloud for, with the real one, against a Google Cloud that is played.

gcloud's requests go to a server of the test's own, which answers with the documents that the
APIs answer with: so its arguments are taken, and its errors are what preflight understands.
"""

import asyncio
import base64
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deploy.gcloud import gcloud
from tests.deploy.conftest import DEPLOYER, PROJECT, Cloud
from tests.deploy.test_preflight import rows

REAL = shutil.which("gcloud")
pytestmark = pytest.mark.skipif(
    REAL is None, reason="gcloud is not installed: cloud.google.com/sdk/docs/install"
)
APIS = ("CLOUDBILLING", "CLOUDRESOURCEMANAGER", "IAMCREDENTIALS", "SECRETMANAGER")
TOKEN = "ya29.a-token-that-nobody-sees"
ACCESS = f"/v1/projects/-/serviceAccounts/{DEPLOYER}:generateAccessToken"
BUCKET = f"/storage/v1/b/{PROJECT}-terraform-state/o"
# Application default credentials of a person.
ADC = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
SECRET = f"/v1/projects/{PROJECT}/secrets"


class Google(ThreadingHTTPServer):
    """Answers each path as it is told to, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str, bytes]] = []
        token = {"accessToken": TOKEN, "expireTime": "2099-01-01T00:00:00Z"}
        self.answers: dict[str, tuple[int, object]] = {
            "/token": (200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}),
            ACCESS: (200, token),
            f"/v1/projects/{PROJECT}": (200, {"projectId": PROJECT, "lifecycleState": "ACTIVE"}),
            f"/v1/projects/{PROJECT}/billingInfo": (200, {"billingEnabled": True}),
            BUCKET: (200, {"kind": "storage#objects"}),
        }
        for secret in ("link-keys", "claim-key", "smtp-password"):
            name = f"projects/1/secrets/{secret}/versions/1"
            version = {"name": name, "state": "ENABLED", "clientSpecifiedPayloadChecksum": True}
            self.answers[f"{SECRET}/{secret}/versions/1"] = (200, version)
            self.answers[f"{SECRET}/{secret}/versions"] = (200, {"totalSize": 0})
            self.answers[f"{SECRET}/{secret}:addVersion"] = (200, version)

    def refuse(self, path: str, code: int, status: str, message: str, **detail: object) -> None:
        """Answer this path with an error, as https://google.aip.dev/193 has it."""
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **detail}]
        error = {"code": code, "status": status, "message": message, "details": details}
        self.answers[path] = (code, {"error": error})


class _Handler(BaseHTTPRequestHandler):
    server: Google

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((path, self.headers.get("authorization", ""), body))
        code, document = self.server.answers[path]
        data = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _answer  # noqa: N815 - named so by the standard library

    def log_message(self, *_message: Any) -> None:
        """Print nothing."""


@pytest.fixture
def google(cloud: Cloud) -> Iterator[Google]:
    """A Google Cloud where all is well, and a gcloud that nobody has logged in to."""
    (cloud.bin / "gcloud").unlink()
    cloud.env["PATH"] += os.pathsep + os.environ["PATH"]
    cloud.env["CLOUDSDK_CONFIG"] = str(cloud.path / "gcloud")
    cloud.env["CLOUDSDK_CORE_CHECK_GCE_METADATA"] = "0"  # who runs this may be a Google machine
    cloud.env["NO_GCE_CHECK"] = "true"
    with Google() as google:
        cloud.env["CLOUDSDK_AUTH_TOKEN_HOST"] = f"{google.url}/token"
        for api in APIS:
            cloud.env[f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}"] = f"{google.url}/"
        storage = f"{google.url}/storage/v1/"
        cloud.env["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] = storage
        thread = threading.Thread(target=google.serve_forever)
        thread.start()
        yield google
        google.shutdown()
        thread.join()


@pytest.fixture
def ada(cloud: Cloud, google: Google) -> Google:
    """The same, and somebody is logged in, with application default credentials."""
    for name, variable, text in (
        ("token", "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", TOKEN),
        ("adc.json", "GOOGLE_APPLICATION_CREDENTIALS", json.dumps(ADC)),
    ):
        (cloud.path / name).write_text(text)
        cloud.env[variable] = str(cloud.path / name)
    return google


def failed(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """What was found, and what mends it, of each check that failed.

    As oneself: to try the application default credentials as the deployer, gcloud asks Google
    and not the endpoint that is set.
    """
    made = rows(cloud, "--as-me").values()
    return {row["name"]: (row["found"], row["mend"]) for row in made if row["ok"] is False}


def test_every_check_is_a_call_that_gcloud_takes(cloud: Cloud, ada: Google) -> None:
    """And an answer that it gives on."""
    assert failed(cloud) == {}
    assert {path for path, _, _ in ada.asked} == {
        *("/token", f"/v1/projects/{PROJECT}", f"/v1/projects/{PROJECT}/billingInfo", BUCKET),
        *(f"{SECRET}/{name}/versions/1" for name in ("link-keys", "claim-key", "smtp-password")),
    }


def test_what_a_new_user_sees(cloud: Cloud, google: Google) -> None:
    """Two logins are missing, and one command makes both; what needs them is skipped."""
    made = rows(cloud)
    log_in = "gcloud auth login --update-adc"
    mends = {row["name"]: row["mend"] for row in made.values() if row["ok"] is False}
    assert mends == {"credentials": log_in, "account": log_in}
    assert made["project"]["found"] == "skipped: it needs account"
    assert google.asked == []


def test_a_login_that_ended_is_understood(cloud: Cloud, ada: Google) -> None:
    """Google's word for it is invalid_grant."""
    ada.answers["/token"] = (400, {"error": "invalid_grant", "error_description": "Bad Request"})
    assert failed(cloud) == {
        "credentials": ("the login has ended", "gcloud auth login --update-adc")
    }


def test_what_google_says_of_a_project_that_is_being_made_is_understood(
    cloud: Cloud, ada: Google
) -> None:
    """No billing API, no bucket, no Secret Manager yet, a secret without its version."""
    for path, api in (
        (f"/v1/projects/{PROJECT}/billingInfo", "cloudbilling"),
        (f"{SECRET}/link-keys/versions/1", "secretmanager"),
    ):
        visit = f"https://console.developers.google.com/apis/api/{api}.googleapis.com/overview"
        said = f"It is disabled. Enable it by visiting {visit}?project=1234 then retry."
        ada.refuse(path, 403, "PERMISSION_DENIED", said, reason="SERVICE_DISABLED")
    ada.refuse(BUCKET, 404, "NOT_FOUND", "The specified bucket does not exist.")
    ada.refuse(f"{SECRET}/claim-key/versions/1", 404, "NOT_FOUND", "Secret Version not found.")
    found = failed(cloud)
    bucket, bootstrap = found.pop("state bucket")
    assert bucket == f"there is no gs://{PROJECT}-terraform-state, or it may not be read"
    assert f"bootstrap apply -var-file={PROJECT}.tfvars" in bootstrap
    assert found == {
        "billing": (
            "the API cloudbilling.googleapis.com is not enabled",
            "gcloud services enable cloudbilling.googleapis.com --project=1234 (and wait a minute)",
        ),
        "secret link-keys": ("the project has no secrets yet", "make secrets ENV=dev"),
        "secret claim-key": ("there is no version 1", "make secrets ENV=dev"),
    }


def test_a_project_that_is_not_to_be_seen_is_one_failure(cloud: Cloud, ada: Google) -> None:
    """Neither by oneself nor by the deployer; Google says the same of one that is not there."""
    for path in (f"/v1/projects/{PROJECT}", ACCESS):
        ada.refuse(path, 403, "PERMISSION_DENIED", "The caller does not have permission")
    made = rows(cloud)
    assert [row["name"] for row in made.values() if row["ok"] is False] == ["project"]
    assert "or you may not see it" in made["project"]["found"]
    assert ACCESS in {path for path, _, _ in ada.asked}


def test_a_value_arrives_as_it_was_given(cloud: Cloud, ada: Google) -> None:
    """By standard input, the last byte too, and no newline after it."""
    ended = cloud.run("secrets", "--yes", "--as-me")
    assert "claim-key: has its first version now" in ended.stdout, ended.stderr
    ((_, _, body),) = (a for a in ada.asked if a[0] == f"{SECRET}/claim-key:addVersion")
    given = base64.b64decode(json.loads(body)["payload"]["data"])
    assert len(base64.b64decode(given, validate=True)) == 32
    assert given.decode() not in ended.stdout + ended.stderr


def test_gcloud_acts_as_the_deployer_when_told_to(
    cloud: Cloud, ada: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for a token of the deployer, and calls with that one."""
    for name, value in cloud.env.items():
        monkeypatch.setenv(name, value)
    token = {"accessToken": "ya29.deployer", "expireTime": "2099-01-01T00:00:00Z"}
    ada.answers[ACCESS] = (200, token)
    asyncio.run(gcloud("storage", "ls", f"gs://{PROJECT}-terraform-state", acting_as=DEPLOYER))
    assert ada.asked[0][:2] == (ACCESS, f"Bearer {TOKEN}")
    assert ada.asked[-1][:2] == (BUCKET, "Bearer ya29.deployer")
