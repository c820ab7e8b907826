"""One suite, two backends: start the servers, mark the known differences, collect the results.

1. A test that takes `backend` (or a fixture that does) runs once for each `--backend`.
2. `pubsub_server` and `firestore_server` are one subprocess for each backend and session,
   `python -m emulator SERVICE --backend BACKEND --port 0 --json`, stopped by SIGTERM. Tests
   share it, so each uses a `project_id` of its own.
3. `gcloud` skips, with one reason naming what is missing, where Google's are not installed.
4. A reason on a test (`features.py`) is a strict expected failure on that backend.
5. `--conformance-json PATH` writes what `table.py` renders.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator import gcloud
from tests.conformance.features import BACKENDS, EXPECTED, Claim

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0

RESULTS = pytest.StashKey[dict[str, dict[str, Any]]]()


@dataclass(frozen=True)
class Server:
    """A running emulator: which, and where it answers gRPC and (embedded Pub/Sub) plain HTTP."""

    service: str
    backend: str
    address: str
    http_address: str | None


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--backend", action="append", choices=BACKENDS, help="only this backend (may be repeated)"
    )
    group.addoption(
        "--address",
        action="append",
        default=[],
        metavar="SERVICE=HOST:PORT[,HTTP_HOST:PORT]",
        help="drive a server that already runs, as the one --backend named",
    )
    group.addoption("--conformance-json", metavar="PATH", help="write the results for table.py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "feature(title, production, gcloud, embedded): features.py")
    config.addinivalue_line("markers", "differs(gcloud, embedded): features.py")
    config.stash[RESULTS] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("backend") or BACKENDS
        metafunc.parametrize("backend", chosen, scope="session")


def backend_of(item: pytest.Item) -> str | None:
    """The backend that this test runs on, None for a test of the suite itself."""
    callspec = getattr(item, "callspec", None)
    backend: str | None = callspec.params.get("backend") if callspec else None
    return backend


def pytest_itemcollected(item: pytest.Item) -> None:
    backend = backend_of(item)
    if backend is None or not item.path.is_relative_to(HERE):
        return
    claim = Claim.of(item)
    if claim is None:
        raise pytest.UsageError(f"{item.nodeid} has no @feature: see tests/conformance/features.py")
    if backend in claim.reasons:
        item.add_marker(
            pytest.mark.xfail(reason=claim.reasons[backend], strict=True, raises=EXPECTED)
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep the worst thing said of each test: its own outcome, or a setup or teardown that failed.

    One result: {"service": "pubsub", "section": "Filters", "title": "...", "production": URL,
    "backend": "gcloud", "outcome": "yes" | "differs" | "failed" | "skipped", "reason": "..."}
    """
    report: Any = yield
    claim, backend = Claim.of(item), backend_of(item)
    if claim is None or backend is None or (report.when != "call" and report.passed):
        return report
    if hasattr(report, "wasxfail"):
        outcome, reason = ("differs" if report.skipped else "failed"), claim.reasons[backend]
    elif report.skipped:
        outcome, reason = "skipped", str(call.excinfo.value) if call.excinfo else ""
    else:
        outcome, reason = ("yes" if report.passed else "failed"), ""
    module: Any = item.getparent(pytest.Module)
    item.config.stash[RESULTS][item.nodeid] = {
        "service": item.path.parent.name,
        "section": (module.obj.__doc__ or item.path.stem).splitlines()[0].split(":")[0].rstrip("."),
        "title": claim.title,
        "production": claim.production,
        "backend": backend,
        "outcome": outcome,
        "reason": reason,
    }
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("conformance_json")
    if path:
        found = gcloud.find()
        document = {
            "versions": {"pubsub": found.pubsub_version, "firestore": found.firestore_version},
            "results": list(session.config.stash[RESULTS].values()),
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(document, indent=1) + "\n")


@contextlib.contextmanager
def run_server(service: str, backend: str) -> Iterator[Server]:
    """Start one emulator, then stop it; an error at start shows what it wrote to stderr."""
    command = [sys.executable, "-m", "emulator", service, "--backend", backend]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [*command, "--port", "0", "--json", "--until-stdin-closes"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()  # the end of the process ends the wait too
            if not line:
                process.wait(START_TIMEOUT_SECONDS)
                log.seek(0)
                raise RuntimeError(f"{' '.join(command)} did not start:\n{log.read()}")
            ready = json.loads(line)
            yield Server(service, backend, ready["address"], ready.get("http_address"))
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        log.seek(0)
        said = log.read()
        if "Traceback" in said:  # no expected refusal leaves one: it is a defect of the server
            raise RuntimeError(f"the {service} server ({backend}) logged:\n{said[-20_000:]}")


def _server(service: gcloud.ServiceName, backend: str, config: pytest.Config) -> Iterator[Server]:
    for given in config.getoption("address"):
        name, _, where = given.partition("=")
        if name == service:
            address, _, http_address = where.partition(",")
            yield Server(service, backend, address, http_address or None)
            return
    if backend == "gcloud":
        try:
            gcloud.find().command(service, "127.0.0.1", 0)
        except gcloud.NotInstalledError as error:
            pytest.skip(str(error))
    with run_server(service, backend) as server:
        yield server


@pytest.fixture(scope="session")
def pubsub_server(backend: str, pytestconfig: pytest.Config) -> Iterator[Server]:
    """The Pub/Sub emulator of this backend."""
    yield from _server("pubsub", backend, pytestconfig)


@pytest.fixture(scope="session")
def firestore_server(backend: str, pytestconfig: pytest.Config) -> Iterator[Server]:
    """The Firestore emulator of this backend."""
    yield from _server("firestore", backend, pytestconfig)


@pytest.fixture
def project_id() -> str:
    """A project that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
