"""The pushed request: a Pub/Sub message in, acknowledged or not.

Rules:
1. Any 2xx acknowledges; any other status has the message delivered again.
2. The framework would answer an exception with its text, and a request it cannot convert with
   all its headers and data. `install` answers both with a status and one word.
3. The framework converts a pushed message to a CloudEvent and keeps only data, attributes,
   message id and publish time; `orderingKey` and `deliveryAttempt` are lost. A message without
   data it answers 400 by itself: after the last attempt that one is in the dead-letter topic.
   Observed: functions-framework 3.10.2.
"""

from collections.abc import Callable

import flask
import functions_framework
from cloudevents.http import CloudEvent
from werkzeug.exceptions import HTTPException

from shared import logs
from shared.documents import StoreUnavailable

from .delivery import DeliverAgain, Mailer


def install() -> None:
    """Answer what the function raises and what the framework refuses; call in `main.py`."""
    for handled in (Exception, 500):  # 500 by number: the framework's own handler has it
        functions_framework.errorhandler(handled)(_refusal)


def receive(event: CloudEvent, mailer: Callable[[], Mailer]) -> None:
    """Handle one message; a raise means "again later"."""
    with logs.bound(pubsub_message_id=event["id"]):
        try:
            mailer().receive(event.get_data())
        except (DeliverAgain, StoreUnavailable) as error:
            logs.write("WARNING", "message_again_later", **logs.error_fields(error))
            raise DeliverAgain from error
        except Exception as error:  # Comes again, and at last to the dead-letter topic.
            logs.write("ERROR", "unexpected_error", **logs.error_fields(error))
            raise DeliverAgain from error


def _refusal(error: Exception) -> flask.Response:
    if isinstance(error, DeliverAgain):
        return flask.Response("again later\n", 503, mimetype="text/plain")
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        logs.write("WARNING", "request_refused", status=error.code)
        refusal = flask.Response("refused\n", error.code, mimetype="text/plain")
        if error.code == 405:
            refusal.headers["Allow"] = "POST"
        return refusal
    logs.write("ERROR", "unexpected_error", **logs.error_fields(error))
    return flask.Response("again later\n", 500, mimetype="text/plain")
