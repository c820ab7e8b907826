"""Publishes dead-lettered messages again, to the topic they came from, and loses none.

1. A message is acknowledged after its copy was published. What ends a run in between leaves a
   second copy, never none; subscribers know a copy by its event id.
2. A copy has the message's data, ordering key and attributes, but for those that Pub/Sub added:
   those of a dead letter, and those that begin with `goog`, which nobody else may publish.
3. What the topic refuses, and what came from a subscription that the topology does not know,
   stays where it is. It comes again whenever its ack deadline has passed, and neither ends a run
   nor keeps it going.
4. The deployer may read no message, so this acts as the person who runs it. No data is shown.

Every subscriber of the topic gets the copy, also one that had taken the message. gcloud cannot do
this: it takes data as an argument, as text, and splits attributes at commas.

Sources: https://cloud.google.com/pubsub/docs/handling-failures#track-delivery-attempts,
https://cloud.google.com/pubsub/docs/publish-message-overview (attributes)
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import google.auth
from google.api_core.exceptions import (
    DeadlineExceeded,
    GoogleAPIError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
    Unauthenticated,
)
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, SubscriberClient

from deploy.errors import UnmetError
from deploy.gcloud import LOG_IN
from emulator.topology import Topology

Show = Callable[[str], None]
_DEAD_LETTER = "CloudPubSubDeadLetterSource"
_ADDED = (_DEAD_LETTER, "goog")
_BATCH = 10  # all are published well within their ack deadline
_CALL_SECONDS = 10.0
_SCOPE = "https://www.googleapis.com/auth/pubsub"


@dataclass(frozen=True, slots=True)
class Calls:
    """Pub/Sub's own calls: one request each, with a deadline, without batches or retries."""

    publisher: Any
    subscriber: Any

    @classmethod
    def of(cls, project: str) -> "Calls":
        """To Google, or to PUBSUB_EMULATOR_HOST, with the application default credentials.

        Raises:
            UnmetError: there are none, or they do not work.
        """
        # The outer clients are the ones that know PUBSUB_EMULATOR_HOST.
        known = {} if "PUBSUB_EMULATOR_HOST" in os.environ else {"credentials": _login(project)}
        publisher = pubsub_v1.PublisherClient(**known)
        subscriber = pubsub_v1.SubscriberClient(**known)
        return cls(
            PublisherClient(transport=publisher.transport),
            SubscriberClient(transport=subscriber.transport),
        )


def _login(project: str) -> Any:
    """Credentials that have just worked.

    A pull that waits for new ones ends at its own deadline, as if there were no messages.
    """
    with _explained():
        # A person's credentials belong to no project; the calls are counted in this one.
        credentials, _ = google.auth.default([_SCOPE], quota_project_id=project)
        credentials.refresh(Request())
    return credentials


def redrive(
    calls: Calls,
    project: str,
    topology: Topology,
    show: Show,
    *,
    limit: int = 1000,
    wait_seconds: float = _CALL_SECONDS,
) -> int:
    """Redrive every dead-letter subscription of the topology; 1 if a message had to stay.

    At most `limit` messages of each; one is empty when nothing has come for `wait_seconds`.

    Raises:
        UnmetError: Pub/Sub could not be asked, or refused; every message is still there.
    """
    given_up = {sub.dead_letter_topic for sub in _all_subscriptions(topology).values()}
    stayed = 0
    for name, subscription in topology.subscriptions.items():
        if subscription.topic in given_up:
            run = _Run(calls, project, name, topology, show)
            with _explained():
                run.empty(limit, wait_seconds)
            show(f"{name}: {run.published} published again, {len(run.stays)} left there")
            if run.published + len(run.stays) >= limit:
                show(f"{name}: stopped at {limit}; run this again for the rest")
            stayed += len(run.stays)
    return 1 if stayed else 0


def _all_subscriptions(topology: Topology) -> dict[str, Any]:
    return {**topology.subscriptions, **topology.pushes}


class _Run:
    """One pass over one dead-letter subscription."""

    def __init__(
        self, calls: Calls, project: str, subscription: str, topology: Topology, show: Show
    ) -> None:
        self.published = 0
        self.stays: set[str] = set()  # message ids
        self._calls = calls
        self._subscription = f"projects/{project}/subscriptions/{subscription}"
        self._topic_of = {
            name: f"projects/{project}/topics/{source.topic}"
            for name, source in _all_subscriptions(topology).items()
        }
        self._show = show
        self._held: dict[str, str] = {}  # message id -> ack id: pulled, not acknowledged

    def empty(self, limit: int, wait_seconds: float) -> None:
        """Publish and acknowledge until nothing comes, `limit` at most.

        When more have come again than stay, one came twice and nothing new between: no more will.
        """
        again = 0
        try:
            while left := limit - self.published - len(self.stays):
                received = self._pull(min(left, _BATCH), wait_seconds)
                self._held |= {one.message.message_id: one.ack_id for one in received}
                new = [one for one in received if one.message.message_id not in self.stays]
                again = 0 if new else again + len(received)
                if not received or again > len(self.stays):
                    return
                for one in new:
                    self._publish(one)
        finally:
            self._give_back()

    def _pull(self, count: int, wait_seconds: float) -> list[Any]:
        try:
            reply = self._calls.subscriber.pull(
                request={"subscription": self._subscription, "max_messages": count},
                retry=None,
                timeout=wait_seconds,
            )
        except DeadlineExceeded:
            return []
        return list(reply.received_messages)

    def _publish(self, received: Any) -> None:
        message = received.message
        source = message.attributes.get(f"{_DEAD_LETTER}Subscription", "")
        if source not in self._topic_of:
            self._leave(message, f"it came from {source or 'nobody knows where'}")
            return
        copy = {
            "data": message.data,
            "attributes": {
                key: value
                for key, value in message.attributes.items()
                if not key.startswith(_ADDED)
            },
            "ordering_key": message.ordering_key,
        }
        try:
            self._calls.publisher.publish(
                request={"topic": self._topic_of[source], "messages": [copy]},
                retry=None,
                timeout=_CALL_SECONDS,
            )
        except InvalidArgument:
            self._leave(message, "its topic refuses it: another schema, perhaps")
            return
        self._calls.subscriber.acknowledge(
            request={"subscription": self._subscription, "ack_ids": [received.ack_id]},
            retry=None,
            timeout=_CALL_SECONDS,
        )
        del self._held[message.message_id]
        self.published += 1

    def _leave(self, message: Any, why: str) -> None:
        self.stays.add(message.message_id)
        self._show(f"message {message.message_id} stays: {why}")

    def _give_back(self) -> None:
        """Let what was not acknowledged come again at once."""
        # Where this fails too, it comes again by itself when its ack deadline has passed.
        with suppress(GoogleAPIError, GoogleAuthError):
            if self._held:
                self._calls.subscriber.modify_ack_deadline(
                    request={
                        "subscription": self._subscription,
                        "ack_ids": [*self._held.values()],
                        "ack_deadline_seconds": 0,
                    },
                    retry=None,
                    timeout=_CALL_SECONDS,
                )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what Google refuses into what to do about it."""
    try:
        yield
    except DefaultCredentialsError as error:
        raise UnmetError("there are no application default credentials", LOG_IN) from error
    except (GoogleAuthError, DeadlineExceeded, ServiceUnavailable, Unauthenticated) as error:
        raise UnmetError(
            "Google Cloud cannot be reached, or the login has ended",
            f"look at the network, or: {LOG_IN}; no message is lost: then run this again",
        ) from error
    except NotFound as error:
        raise UnmetError(
            "a subscription or topic of the topology is not there",
            "make deploy; then run this again",
        ) from error
    except PermissionDenied as error:
        raise UnmetError(
            "you may not read the dead letters or not publish them",
            "ask the project's owner for roles/pubsub.subscriber and roles/pubsub.publisher, or to "
            "run this",
        ) from error
    except GoogleAPIError as error:
        raise UnmetError(
            f"Pub/Sub failed ({type(error).__name__})", "no message is lost: run this again"
        ) from error
