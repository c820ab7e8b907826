"""create_user and relay_outbox over HTTP, served by functions-framework."""

import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from create_user.outbox import PublishUnavailable
from shared.documents import StoreUnavailable
from tests.unit.fakes import (
    CANARY,
    CREATE_USER_ENVIRONMENT,
    RELAY_ENVIRONMENT,
    START,
    SignUpBench,
)

REAL = "functions/create_user/main.py"
ON_FAKES = "tests/unit/on_fakes/create_user/main.py"
FORM = {"name": "Ada Lovelace", "email": "ada@example.com", "password": CANARY}
JSON = "application/json"


@pytest.fixture
def real(load: Any) -> Client:
    """The function as deployed. It reaches for its clients only after a good form."""
    client: Client = load(REAL, "create_user", CREATE_USER_ENVIRONMENT)[0]
    return client


@pytest.fixture
def served(load: Any) -> tuple[Client, SignUpBench]:
    client, module = load(ON_FAKES, "create_user")
    return client, module.bench


def post(client: Client, body: object, **headers: str) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/", data=data, content_type=JSON, headers=headers)


def assert_problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    problem: dict[str, Any] = json.loads(response.data)
    assert (problem["status"], problem["code"]) == (status, code)
    assert {"type", "title", "detail"} <= set(problem)
    return problem


def form(**changes: object) -> bytes:
    return json.dumps(FORM | changes).encode()


def raw(replaced: str, by: str) -> bytes:
    return form().replace(replaced.encode(), by.encode())


BAD_BODIES: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "invalid_json"),
    ("not JSON", b"name=Ada&password=" + CANARY.encode(), 400, "invalid_json"),
    ("cut off", form()[:-1], 400, "invalid_json"),
    ("two objects", form() + form(), 400, "invalid_json"),
    ("single quotes", form().replace(b'"', b"'"), 400, "invalid_json"),
    ("a comment", b"/* */" + form(), 400, "invalid_json"),
    ("an array", b"[" + form() + b"]", 400, "invalid_json"),
    ("null", b"null", 400, "invalid_json"),
    ("a string", json.dumps(CANARY).encode(), 400, "invalid_json"),
    ("a number", b"1", 400, "invalid_json"),
    ("NaN", raw('"Ada Lovelace"', "NaN"), 400, "invalid_json"),
    ("Infinity", raw('"Ada Lovelace"', "-Infinity"), 400, "invalid_json"),
    ("1e999", raw('"Ada Lovelace"', "1e999"), 400, "invalid_json"),
    ("5000 digits", raw('"Ada Lovelace"', "1" * 5000), 400, "invalid_json"),
    ("a duplicate key", raw('{"name"', '{"name": "Eve", "name"'), 400, "invalid_json"),
    ("a nested duplicate", raw('"Ada Lovelace"', '{"a": 1, "a": 2}'), 400, "invalid_json"),
    ("a lone surrogate", raw("Lovelace", "\\ud800"), 400, "invalid_json"),
    ("a lone surrogate key", raw('"name"', '"\\udfff": 1, "name"'), 400, "invalid_json"),
    ("deep arrays", b"[" * 8000 + b"]" * 8000, 400, "invalid_json"),
    ("deep objects", b'{"a":' * 2700 + b"1" + b"}" * 2700, 400, "invalid_json"),
    ("not UTF-8", form().replace(b"Ada", b"\xff\xfe"), 400, "invalid_json"),
    ("UTF-16", form().decode().encode("utf-16"), 400, "invalid_json"),
    ("a byte order mark", b"\xef\xbb\xbf" + form(), 400, "invalid_json"),
    ("a raw control character", form().replace(b"Ada", b"A\x00a"), 400, "invalid_json"),
    ("an empty object", b"{}", 422, "invalid_form"),
    ("no password", form(password=None), 422, "invalid_form"),
    ("an unknown field", form(admin=True), 422, "invalid_form"),
    ("a prototype", form(__proto__={"admin": True}), 422, "invalid_form"),
    ("a list for a name", form(name=[CANARY]), 422, "invalid_form"),
    ("a moderate nesting", form(name=json.loads("[" * 50 + "]" * 50)), 422, "invalid_form"),
    ("CR LF in the name", form(name="Ada\r\nBcc: x"), 422, "invalid_form"),
    ("two addresses", form(email="a@example.com,b@example.com"), 422, "invalid_form"),
    ("KELVIN SIGN", form(email="\u212aate@example.com"), 422, "invalid_form"),
    ("NUL in the address", form(email="a\x00@example.com"), 422, "invalid_form"),
    ("a short password", form(password="x7!"), 422, "invalid_form"),
    ("a long password", form(password=CANARY * 60), 422, "invalid_form"),
    ("a number for a password", form(password=12345678), 422, "invalid_form"),
    ("the name as company, 200 long", form(company="x" * 200), 422, "invalid_form"),
    ("a locale with a path", form(locale="../../etc"), 422, "invalid_form"),
    ("17 KiB", form(name="x" * 17 * 1024), 413, "too_large"),
    ("one byte over 16 KiB", form() + b" " * (16 * 1024 + 1 - len(form())), 413, "too_large"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES]
)
def test_a_bad_body_is_answered_with_a_problem(
    real: Client, capfd: pytest.CaptureFixture[str], body: bytes, status: int, code: str
) -> None:
    """Never a 500, never HTML, and the password is repeated neither in the answer nor the log."""
    response = post(real, body)
    assert_problem(response, status, code)
    captured = capfd.readouterr()
    assert CANARY not in response.text + captured.out + captured.err


BAD_REQUESTS: list[tuple[str, Callable[[Client], TestResponse], int, str]] = [
    ("GET", lambda c: c.get("/"), 405, "method_not_allowed"),
    ("PUT", lambda c: c.put("/", data=form(), content_type=JSON), 405, "method_not_allowed"),
    ("DELETE", lambda c: c.delete("/"), 405, "method_not_allowed"),
    ("PATCH", lambda c: c.patch("/", data=form()), 405, "method_not_allowed"),
    ("OPTIONS", lambda c: c.options("/"), 405, "method_not_allowed"),
    ("TRACE", lambda c: c.open("/", method="TRACE"), 405, "method_not_allowed"),
    ("a made-up method", lambda c: c.open("/", method="BREW"), 405, "method_not_allowed"),
    ("a path", lambda c: c.post("/users", data=form(), content_type=JSON), 404, "not_found"),
    ("a GET of a path", lambda c: c.get("/users"), 404, "not_found"),
    ("robots.txt", lambda c: c.get("/robots.txt"), 404, "not_found"),
    ("favicon.ico", lambda c: c.get("/favicon.ico"), 404, "not_found"),
    ("two slashes", lambda c: c.post("/x//y", data=form()), 404, "not_found"),
    ("traversal", lambda c: c.post("/../../etc/passwd"), 404, "not_found"),
    ("no content type", lambda c: c.post("/", data=form()), 415, "not_json"),
    ("a form", lambda c: c.post("/", data=FORM), 415, "not_json"),
    ("text", lambda c: c.post("/", data=form(), content_type="text/plain"), 415, "not_json"),
    ("gzip", lambda c: c.post("/", data=b"\x1f\x8b", content_type=JSON,
                              headers={"Content-Encoding": "gzip"}), 415, "not_json"),
    ("a huge body elsewhere", lambda c: c.post("/x", data=b"x" * 10**6), 404, "not_found"),
    ("a huge body of text", lambda c: c.post("/", data=b"x" * 10**6), 415, "not_json"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("send", "status", "code"),
    [row[1:] for row in BAD_REQUESTS],
    ids=[row[0] for row in BAD_REQUESTS],
)
def test_a_bad_request_is_answered_with_a_problem(
    real: Client, send: Callable[[Client], TestResponse], status: int, code: str
) -> None:
    """405 says what is allowed; the framework's own answers are replaced too."""
    response = send(real)
    assert_problem(response, status, code)
    assert response.headers.get("Allow") == ("POST" if status == 405 else None)


def test_head_is_answered_without_a_body(real: Client) -> None:
    """As any other method that is not POST."""
    response = real.head("/")
    assert (response.status_code, response.data) == (405, b"")


def test_a_body_without_a_length_is_bounded_too(real: Client) -> None:
    """Chunked: not cut off and then parsed, but refused."""
    body = form() + b" " * 32 * 1024
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response = real.open(
        "/", method="POST", input_stream=BytesIO(body), content_type=JSON, environ_overrides=environ
    )
    assert_problem(response, 413, "too_large")


def test_the_fields_in_error_are_listed(real: Client) -> None:
    """Each with its field, code and sentence."""
    problem = assert_problem(post(real, FORM | {"email": "x"}), 422, "invalid_form")
    (error,) = problem["errors"]
    assert set(error) == {"field", "code", "message"}
    assert (error["field"], error["code"]) == ("email", "invalid_email")


def test_a_good_form_is_answered_with_the_user_and_a_token(
    served: tuple[Client, SignUpBench],
) -> None:
    """201, exactly the promised fields, and no trace of the password."""
    client, bench = served
    response = post(client, FORM | {"company": "Engines", "locale": "en-GB"})

    assert response.status_code == 201
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    body = response.get_json()
    (user_id,) = bench.store.users
    assert body == {
        "user": {
            "id": user_id,
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "company": "Engines",
            "created_time": "2026-01-31T09:00:00.000000Z",
            "email_verified": False,
        },
        "token": body["token"],
    }
    assert CANARY not in response.text


def test_a_body_of_exactly_16_kib_is_read(served: tuple[Client, SignUpBench]) -> None:
    """The limit is the last size that is accepted."""
    assert post(served[0], form() + b" " * (16 * 1024 - len(form()))).status_code == 201


def test_a_taken_address_is_a_conflict(served: tuple[Client, SignUpBench]) -> None:
    """However it is written."""
    client, _ = served
    assert post(client, FORM).status_code == 201
    assert_problem(post(client, FORM | {"email": "ADA@Example.com"}), 409, "email_taken")


@pytest.mark.parametrize("step", ["error", "commit_error"])
def test_an_outage_is_answered_503_with_retry_after(
    served: tuple[Client, SignUpBench], step: str
) -> None:
    """Never 409, never 500, and nothing is announced."""
    client, bench = served
    setattr(bench.store, step, StoreUnavailable("DeadlineExceeded"))
    response = post(client, FORM)
    assert_problem(response, 503, "unavailable")
    assert response.headers["Retry-After"] == "2"
    assert bench.publisher.published == []


def test_an_unexpected_error_is_a_problem_that_quotes_nothing(
    served: tuple[Client, SignUpBench], capfd: pytest.CaptureFixture[str]
) -> None:
    """The log names its class and place; its text, which may quote the input, is nowhere."""
    client, bench = served
    bench.store.commit_error = RuntimeError(f"cannot store {CANARY} for ada@example.com")
    response = post(client, FORM)
    assert_problem(response, 500, "internal")
    captured = capfd.readouterr()
    everything = response.text + captured.out + captured.err
    assert CANARY not in everything
    assert "ada@example.com" not in everything
    entry = json.loads(captured.out.splitlines()[0])
    assert (entry["severity"], entry["error"]) == ("ERROR", "builtins.RuntimeError")


def test_a_publish_outage_is_no_business_of_the_client(
    served: tuple[Client, SignUpBench],
) -> None:
    """201 all the same."""
    client, bench = served
    bench.publisher.error_for = lambda message: PublishUnavailable("down")
    assert post(client, FORM).status_code == 201


def test_the_trace_of_the_request_is_in_log_event_and_problem(
    served: tuple[Client, SignUpBench], capfd: pytest.CaptureFixture[str]
) -> None:
    """From `traceparent`, or from Cloud Run's older header."""
    client, bench = served
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    post(client, FORM, traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    assert trace_id in bench.publisher.published[0].attributes["traceparent"]
    line = json.loads(capfd.readouterr().out.splitlines()[0])
    assert line["logging.googleapis.com/trace"] == f"projects/demo-test/traces/{trace_id}"
    response = client.get("/", headers={"X-Cloud-Trace-Context": f"{trace_id}/1;o=1"})
    assert response.get_json()["trace"] == trace_id


def test_every_log_line_is_one_json_object(
    served: tuple[Client, SignUpBench], capfd: pytest.CaptureFixture[str]
) -> None:
    """With severity, time and message; no traceback in between."""
    client, bench = served
    post(client, FORM)
    post(client, b"{")
    bench.store.error = RuntimeError("x")
    post(client, FORM)
    captured = capfd.readouterr()
    assert captured.err == ""
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["message"] for line in lines] == [
        "user_created",
        "request_refused",
        "unexpected_error",
        "request_refused",
    ]
    assert all({"severity", "time"} <= set(line) for line in lines)


def test_the_relay_answers_what_it_did(load: Any) -> None:
    """POST with any body; what was pending is published."""
    client, module = load(ON_FAKES, "relay_outbox")
    module.bench.store.add_pending("e-1", None, START)
    module.bench.clock.advance(60)
    response = client.post("/", data=b"{}", content_type="text/plain")
    assert response.status_code == 200
    assert response.get_json() == {"published": 0, "failed": 1, "remaining": False}


def test_the_relay_says_in_its_log_what_the_alerts_watch(
    load: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """terraform/monitoring.tf takes the age of the oldest pending event from there."""
    watched = Path("terraform/monitoring.tf").read_text()
    (message,) = re.findall(r'jsonPayload\.message=\\"(\w+)\\"', watched)
    (field,) = re.findall(r"EXTRACT\(jsonPayload\.(\w+)\)", watched)
    client, module = load(ON_FAKES, "relay_outbox")
    module.bench.store.add_pending("e-1", None, START)
    module.bench.clock.advance(60)
    client.post("/")
    client.post("/")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line[field] for line in lines if line["message"] == message] == [60, 0]


def test_the_relay_answers_an_outage_with_503(load: Any) -> None:
    """With the counts so far, so that the scheduler tries again and a person sees why."""
    client, module = load(ON_FAKES, "relay_outbox")
    module.bench.store.error = StoreUnavailable("down")
    problem = assert_problem(client.post("/"), 503, "unavailable")
    assert problem["published"] == 0
    assert "Firestore" in problem["detail"]


def test_the_relay_is_a_post_to_its_root(load: Any) -> None:
    """And needs neither pepper nor key to start."""
    client = load(REAL, "relay_outbox", RELAY_ENVIRONMENT)[0]
    assert_problem(client.get("/"), 405, "method_not_allowed")
    assert_problem(client.post("/x"), 404, "not_found")
    assert_problem(client.post("/", data=b"x" * 20_000), 413, "too_large")
