"""What was dead-lettered while the mail server refused is mailed after a redrive."""

from deploy.redrive import Calls, redrive
from tests.e2e.conftest import ATTEMPTS, PATIENCE_SECONDS, RunningStack

DEAD_LETTERS = "user.created.dead-letter"


def test_a_dead_letter_is_redriven(stack: RunningStack, address: str) -> None:
    """The project's own topology: a topic with a schema, and a dead-letter topic without one."""
    stack.mail.fail_next("451 4.3.0 never", times=ATTEMPTS)
    event_id, _ = stack.outbox_of(stack.sign_up(address).json()["user"]["id"])
    stack.wait_for_line("send-email", event_id, "mail_not_taken", count=ATTEMPTS)
    assert stack.mail.mails(address) == []

    shown: list[str] = []
    calls, topology = Calls.of(stack.stack.project), stack.stack.topology
    code = redrive(
        calls,
        stack.stack.project,
        topology,
        shown.append,
        limit=1,
        wait_seconds=PATIENCE_SECONDS,  # it may not be dead-lettered yet
    )

    assert (code, shown[0]) == (0, f"{DEAD_LETTERS}: 1 published again, 0 left there")
    stack.wait_for_mail(address)
    assert stack.wait_for_delivery(event_id, "sent")["attempts"] == ATTEMPTS + 1
    assert len(stack.mail.mails(address)) == 1
