"""A `main.py` for functions-framework: the push edge of send_email on fakes."""

import functions_framework
from cloudevents.http import CloudEvent

from send_email import edge
from tests.unit.fakes import MailBench

edge.install()
bench = MailBench()


@functions_framework.cloud_event
def send_email(event: CloudEvent) -> None:
    """CloudEvent entry point."""
    edge.receive(event, bench.mailer)
