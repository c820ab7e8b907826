"""create_user: sign a user up over HTTP; relay_outbox: publish what it could not.

    edge.py          HTTP: requests to calls, results and errors to answers
    form.py          the untrusted form, pure
    passwords.py     rules and hashes
    registration.py  the use case of create_user, and the order of its promises
    outbox.py        the use case of relay_outbox, and the states of an event
    store.py         Firestore: users, email_claims, outbox
    publisher.py     Pub/Sub
    settings.py      the environment variables

This file wires them. Settings are checked here, at start; clients are built by the first request.
"""

import os
from datetime import UTC, datetime
from functools import partial

import flask
import functions_framework

from shared.documents import connect
from shared.once import Once
from shared.settings import load_or_exit
from shared.tokens import Tokens

from . import edge
from .outbox import Relay
from .passwords import Hasher
from .publisher import PubSubPublisher
from .registration import Registration
from .settings import CreateUserSettings, OutboxSettings, RelaySettings
from .store import UserStore

now = partial(datetime.now, UTC)


def build_store(settings: OutboxSettings) -> UserStore:
    """The store on a new connection."""
    client = connect(settings.project, settings.database)
    return UserStore(client, settings.firestore_timeout_seconds)


def build_publisher(settings: OutboxSettings) -> PubSubPublisher:
    """The publisher on a new connection."""
    return PubSubPublisher(settings.project, settings.topic, settings.publish_timeout_seconds)


def build_registration(settings: CreateUserSettings) -> Registration:
    """The use case of create_user with its tools."""
    return Registration(
        store=build_store(settings),
        publisher=build_publisher(settings),
        hasher=Hasher(settings.password_peppers, settings.bcrypt_cost),
        tokens=Tokens(
            keys=settings.jwt_keys,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            typ="at+jwt",
            ttl_seconds=settings.jwt_ttl_seconds,
        ),
        email_claim_key=settings.email_claim_key,
        source=f"/projects/{settings.project}/functions/create_user",
        encoding=settings.encoding,
        now=now,
    )


def build_relay(settings: RelaySettings) -> Relay:
    """The use case of relay_outbox with its tools."""
    return Relay(
        store=build_store(settings),
        publisher=build_publisher(settings),
        min_age_seconds=settings.min_age_seconds,
        budget_seconds=settings.budget_seconds,
        now=now,
    )


edge.install()

# One process serves one entry point, named by FUNCTION_TARGET, and needs only its settings.
if os.environ["FUNCTION_TARGET"] == "relay_outbox":
    relay_settings = load_or_exit(RelaySettings)
    relay = Once(partial(build_relay, relay_settings))
else:
    create_user_settings = load_or_exit(CreateUserSettings)
    registration = Once(partial(build_registration, create_user_settings))


@functions_framework.http
def create_user(request: flask.Request) -> flask.Response:
    """HTTP entry point: POST a sign-up form."""
    settings = create_user_settings
    return edge.sign_up(request, settings.project, settings.password_min_length, registration.get)


@functions_framework.http
def relay_outbox(request: flask.Request) -> flask.Response:
    """HTTP entry point: POST, from Cloud Scheduler, to publish what is pending."""
    return edge.run_relay(request, relay_settings.project, relay.get)
