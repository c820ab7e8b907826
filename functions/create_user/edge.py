"""HTTP in, HTTP out: everything that create_user and relay_outbox answer.

Rules:
1. Every answer is JSON; every error is `application/problem+json` (RFC 9457) with a stable
   `code`. The framework answers its own errors in HTML: `install` takes that over.
2. Checks run from the cheapest: path 404, method 405, content type 415, size 413, JSON 400,
   fields 422. Nothing outside is asked before all have passed.
3. No answer repeats a value it was sent.

    {"type": "about:blank", "title": "Unprocessable Entity", "status": 422, "trace": "4bf9...",
     "code": "invalid_form", "detail": "Some fields are not valid.",
     "errors": [{"field": "email", "code": "invalid_email", "message": "is not an address ..."}]}
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

import flask
import functions_framework
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared import logs, traces
from shared.documents import StoreUnavailable
from shared.events import rfc3339
from shared.strict_json import NotStrictJson, parse_object
from shared.traces import Trace

from .form import InvalidForm, parse
from .outbox import Relay
from .registration import EmailTaken, Registered, Registration

MAX_BODY_BYTES = 16 * 1024
_RETRY_AFTER = {"Retry-After": "2"}


@dataclass(eq=False)
class Problem(Exception):
    """An error as its answer: status, stable code, a sentence, and what else belongs to it."""

    status: int
    code: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)


def install() -> None:
    """Answer what the framework itself refuses or fails at; call while `main.py` is loaded."""
    for handled in (Exception, 500):  # 500 by number: the framework's own handler has it
        functions_framework.errorhandler(handled)(_problem_response)


def sign_up(
    request: flask.Request,
    project: str,
    password_min_length: int,
    registration: Callable[[], Registration],
) -> flask.Response:
    """Answer a POST of a sign-up form: 201 with the user and a token."""

    def answer(trace: Trace) -> flask.Response:
        _expect_post_to_root(request)
        if request.mimetype != "application/json" or request.content_encoding:
            raise Problem(415, "not_json", "Send application/json, not compressed.")
        new_user = parse(parse_object(_body(request)), password_min_length)
        return _json_response(201, _view(registration().register(new_user, trace)))

    return _answered(request, project, answer)


def run_relay(request: flask.Request, project: str, relay: Callable[[], Relay]) -> flask.Response:
    """Answer a POST, whatever its body: 200 with what the run did, 503 if an outage ended it."""

    def answer(trace: Trace) -> flask.Response:
        _expect_post_to_root(request)
        _body(request)
        run = relay().run()
        counts = {"published": run.published, "failed": run.failed, "remaining": run.remaining}
        logs.write(
            "WARNING" if run.outage else "INFO",
            "relay_run",
            outage=run.outage,
            oldest_pending_seconds=run.oldest_pending_seconds,
            **counts,
        )
        if run.outage is not None:
            detail = f"{run.outage} is not available; what is pending stays pending."
            raise Problem(503, "unavailable", detail, _RETRY_AFTER, counts)
        return _json_response(200, counts)

    return _answered(request, project, answer)


def _answered(
    request: flask.Request, project: str, answer: Callable[[Trace], flask.Response]
) -> flask.Response:
    headers = request.headers
    trace = traces.read(headers.get("traceparent"), headers.get("X-Cloud-Trace-Context"))
    flask.g.trace = trace = trace or traces.begin()
    with logs.bound(**logs.trace_fields(project, trace)):
        try:
            return answer(trace)
        except Exception as error:  # Becomes the answer; nothing was promised to anyone yet.
            return _problem_response(error)


def _expect_post_to_root(request: flask.Request) -> None:
    if request.path != "/":
        raise Problem(404, "not_found", "There is nothing at this path.")
    if request.method != "POST":
        raise Problem(405, "method_not_allowed", "Use POST.", {"Allow": "POST"})


def _body(request: flask.Request) -> bytes:
    # Without a Content-Length, werkzeug cuts a long body off at its limit without a word: hence
    # the limit one above ours. It never reads more than that.
    request.max_content_length = MAX_BODY_BYTES + 1
    body = request.get_data()
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    return body


def _view(registered: Registered) -> dict[str, Any]:
    user = {
        "id": registered.user_id,
        "name": registered.new_user.name,
        "email": registered.new_user.email,
        "company": registered.new_user.company,
        "created_time": rfc3339(registered.created_time),
        "email_verified": False,
    }
    return {"user": user, "token": registered.token}


def _problem_response(error: Exception) -> flask.Response:
    problem = _as_problem(error)
    logs.write("INFO", "request_refused", status=problem.status, code=problem.code)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
    if "trace" in flask.g:
        body["trace"] = flask.g.trace.trace_id
    response = _json_response(problem.status, body | problem.members)
    response.content_type = "application/problem+json"
    response.headers.update(problem.headers)
    return response


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestEntityTooLarge):
        return Problem(413, "too_large", f"Send at most {MAX_BODY_BYTES} bytes.")
    if isinstance(error, NotStrictJson):
        return Problem(400, "invalid_json", f"The body cannot be read: {error}.")
    if isinstance(error, InvalidForm):
        errors = {"errors": [asdict(mistake) for mistake in error.errors]}
        return Problem(422, "invalid_form", "Some fields are not valid.", members=errors)
    if isinstance(error, EmailTaken):
        return Problem(409, "email_taken", "This address has an account already.")
    if isinstance(error, StoreUnavailable):
        logs.write("ERROR", "store_unavailable", **logs.error_fields(error))
        detail = "Try again. If the address is then taken, this request did create the account."
        return Problem(503, "unavailable", detail, _RETRY_AFTER)
    if isinstance(error, HTTPException) and error.code and 400 <= error.code < 500:
        phrase = HTTPStatus(error.code).phrase
        return Problem(error.code, phrase.lower().replace(" ", "_"), f"{phrase}.")
    logs.write("ERROR", "unexpected_error", **logs.error_fields(error))
    return Problem(500, "internal", "Something went wrong on our side.")


def _json_response(status: int, body: dict[str, Any]) -> flask.Response:
    content = json.dumps(body).encode("ascii")
    # A list of one part makes it a stream: the framework reads the rest of the request before it
    # sends any other response, and so would hold a body of any size in memory, or fail on ours
    # being limited. Source: functions_framework.read_request
    response = flask.Response(iter([content]), status)
    response.content_type = "application/json"
    response.content_length = len(content)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
