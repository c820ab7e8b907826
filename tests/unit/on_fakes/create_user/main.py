"""A `main.py` for functions-framework: the HTTP edge of create_user on fakes."""

import flask

from create_user import edge
from tests.unit.fakes import SignUpBench

edge.install()
bench = SignUpBench()


def create_user(request: flask.Request) -> flask.Response:
    """HTTP entry point."""
    return edge.sign_up(request, "demo-test", 8, bench.registration)


def relay_outbox(request: flask.Request) -> flask.Response:
    """HTTP entry point."""
    return edge.run_relay(request, "demo-test", bench.relay)
