"""The rules of this repository that a machine can check."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from create_user.settings import CreateUserSettings, RelaySettings
from send_email.settings import SendEmailSettings
from shared.settings import Variable, variables

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("functions", "emulator", "deploy", "tests", "bench")
    for path in (ROOT / folder).rglob("*.py")
    if not path.stem.endswith("_pb2")  # generated
)

# The embedded services' files that touch the outside: they translate, wait, listen or send.
# Everything else in emulator/pubsub and emulator/firestore is PURE: told the time, never asking.
EDGES = {
    "pubsub": {
        "feed.py",
        "http_side.py",
        "iam_service.py",
        "oidc.py",
        "pb.py",
        "publisher_service.py",
        "push.py",
        "push_http.py",
        "runtime.py",
        "schema_avro.py",
        "schema_avro_json.py",
        "schema_avro_resolution.py",
        "schema_kinds.py",
        "schema_protobuf.py",
        "schema_service.py",
        "server.py",
        "streaming.py",
        "subscriber_service.py",
        "translate.py",
    },
    "firestore": {
        "consistency.py",
        "convert.py",
        "convert_writes.py",
        "document_service.py",
        "list_service.py",
        "listen_service.py",
        "pb.py",
        "query_decode.py",
        "query_service.py",
        "server.py",
        "write_stream.py",
    },
}
OUTSIDE = {
    "aiohttp",
    "asyncio",
    "fastavro",
    "google",
    "grpc",
    "grpc_tools",
    "jwt",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}


_FOLDERS_OF_CODE = {"emulator", *(path.name for path in (ROOT / "functions").iterdir())}


def _imports(path: Path) -> Iterator[str]:
    """Every module the file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _pure_files() -> list[Path]:
    return [
        path
        for service, edges in EDGES.items()
        for path in sorted((ROOT / "emulator" / service).glob("*.py"))
        if path.name not in edges
    ]


@pytest.mark.parametrize("path", _pure_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_core_imports_nothing_of_the_outside_world(path: Path) -> None:
    """No gRPC, protobuf, event loop, clock or chance: a test drives it with plain calls."""
    imported = set(_imports(path))
    assert not {name.partition(".")[0] for name in imported} & OUTSIDE
    service = path.parent.name
    edges = {f"emulator.{service}.{Path(name).stem}" for name in EDGES[service]}
    assert not imported & (edges | {"emulator.wire", "emulator.message_types"})


@pytest.mark.parametrize(
    ("service", "name"), [(service, name) for service, names in EDGES.items() for name in names]
)
def test_every_listed_edge_exists(service: str, name: str) -> None:
    """The list of exceptions does not outlive them."""
    assert (ROOT / "emulator" / service / name).is_file()


def test_functions_and_emulator_never_import_each_other() -> None:
    """The functions are what is deployed; the emulator is what they run on here."""
    for path in SOURCES:
        top = path.relative_to(ROOT).parts[0]
        forbidden = {"functions": {"emulator"}, "emulator": {"functions", "shared", "create_user"}}
        used = {name.partition(".")[0] for name in _imports(path)}
        assert not used & forbidden.get(top, set()), path


def test_only_the_deploy_tool_knows_the_deploy_tool() -> None:
    """It takes three modules of the emulator that start nothing, and no function's code."""
    lent = ("emulator.errors", "emulator.secret_values", "emulator.topology")
    for path in SOURCES:
        top = path.relative_to(ROOT).parts[0]
        used = set(_imports(path))
        if top in ("functions", "emulator"):
            assert not [name for name in used if name.partition(".")[0] == "deploy"], path
        elif top == "deploy":
            ours = {name for name in used if name.partition(".")[0] in _FOLDERS_OF_CODE}
            assert not [name for name in ours if not name.startswith(lent)], path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_is_and_is_not_long(path: Path) -> None:
    """A module docstring of at most 25 lines; at most 700 lines in all."""
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, "no module docstring"
    assert docstring.count("\n") < 25, "a module docstring has at most 25 lines"
    assert text.count("\n") <= 700


def _all_variables() -> Iterator[Variable]:
    tables = (CreateUserSettings, RelaySettings, SendEmailSettings)
    yield from itertools.chain.from_iterable(variables(table) for table in tables)


@pytest.mark.parametrize("variable", [*_all_variables()], ids=lambda variable: variable.name)
def test_every_setting_is_in_the_readme_with_its_default(variable: Variable) -> None:
    """The README's table is the code's."""
    (row,) = {
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith(f"| `{variable.name}`")
    }
    shown = [cell.strip() for cell in row.split("|")[3:5]]
    default = "required" if variable.default is None else variable.default
    assert shown[0].strip("`") == (default or "none")
    assert shown[1] == variable.meaning


def test_every_difference_names_a_test_that_exists() -> None:
    """docs/differences.md lists each difference with the test that shows it."""
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/differences.md").read_text())
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


def _differs_on_embedded(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and any(
        keyword.arg == "embedded" for keyword in decorator.keywords
    )


def test_every_expected_failure_of_ours_is_a_difference_that_is_told() -> None:
    """What the conformance suite excuses on the embedded backend stands in the documentation."""
    told = (ROOT / "docs/differences.md").read_text()
    for path in (ROOT / "tests/conformance").glob("*/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                _differs_on_embedded(call)
                for decorator in node.decorator_list
                for call in ast.walk(decorator)
                if isinstance(call, ast.expr)
            ):
                assert f"`{node.name}`" in told, path


def test_every_log_line_that_an_alert_watches_is_written() -> None:
    """A message that was renamed would end an alert in silence."""
    alerts = (ROOT / "terraform/monitoring.tf").read_text()
    watched = re.findall(r"jsonPayload\.message=(\S+(?: OR \S+)*)", alerts)
    names = re.findall(r'\\"(\w+)\\"', " ".join(watched))
    assert {"relay_run", "outbox_event_refused", "message_broken"} <= set(names)
    written = "\n".join(path.read_text() for path in (ROOT / "functions").rglob("*.py"))
    assert [name for name in names if f'"{name}"' not in written] == []


def test_each_functions_requirements_are_pinned() -> None:
    """What is deployed is what was tested."""
    for path in [*(ROOT / "functions").glob("*/requirements.txt"), ROOT / "requirements.txt"]:
        for line in path.read_text().splitlines():
            requirement = line.partition("#")[0].strip()
            if requirement and not requirement.startswith("-"):
                assert re.fullmatch(r"[\w.-]+==[\w.]+", requirement), f"{path}: {requirement}"
