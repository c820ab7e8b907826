"""The settings of create_user and of relay_outbox, each its own table.

relay_outbox runs without a pepper or a signing key: it only carries what is written already.
"""

from dataclasses import dataclass

from shared.events import Encoding
from shared.settings import (
    KEY_SET_SHAPE,
    KeySet,
    database_variable,
    firestore_timeout_variable,
    function_timeout_variable,
    key_set,
    matching,
    project_variable,
    seconds,
    secret_key,
    variable,
    whole,
)


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """What writing to and publishing from the outbox needs."""

    project: str = project_variable()
    database: str = database_variable()
    firestore_timeout_seconds: float = firestore_timeout_variable()
    topic: str = variable(
        "USER_CREATED_TOPIC",
        matching(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}"),
        "a Pub/Sub topic id",
        "the topic of `user.created` events",
    )
    publish_timeout_seconds: float = variable(
        "PUBLISH_TIMEOUT_SECONDS",
        seconds(0.1, 30),
        "seconds, 0.1 to 30",
        "bound on publishing one event, retries included",
        default="2",
    )


@dataclass(frozen=True, slots=True)
class RelaySettings(OutboxSettings):
    """What relay_outbox needs."""

    min_age_seconds: float = variable(
        "OUTBOX_MIN_AGE_SECONDS",
        seconds(0, 86_400),
        "seconds, 0 to 86400",
        "age from which a pending event is the relay's business; more than a sign-up takes",
        default="30",
    )
    budget_seconds: float = variable(
        "RELAY_BUDGET_SECONDS",
        seconds(1, 600),
        "seconds, 1 to 600",
        "when a run of the relay ends; some seconds less than the function's timeout",
        default="20",
    )
    function_timeout_seconds: float = function_timeout_variable()

    def contradictions(self) -> list[str]:
        """What is wrong with these settings together."""
        if self.budget_seconds + self.publish_timeout_seconds < self.function_timeout_seconds:
            return []
        # The last event of a run may take its whole timeout.
        return [
            "RELAY_BUDGET_SECONDS + PUBLISH_TIMEOUT_SECONDS < FUNCTION_TIMEOUT_SECONDS must hold"
        ]


@dataclass(frozen=True, slots=True)
class CreateUserSettings(OutboxSettings):
    """What create_user needs."""

    encoding: Encoding = variable(
        "USER_CREATED_ENCODING",
        matching("JSON|BINARY"),
        "JSON or BINARY",
        "how `user.created` events are written, as the topic's schema says: JSON, or protobuf",
    )
    password_peppers: KeySet = variable(
        "PASSWORD_PEPPERS",
        key_set,
        KEY_SET_SHAPE,
        "peppers of the password hashes; a retired one stays while a hash names it",
        secret=True,
    )
    email_claim_key: bytes = variable(
        "EMAIL_CLAIM_KEY",
        secret_key,
        "base64 of at least 32 random bytes",
        "key of the hash that names an address's claim; never changes",
        secret=True,
    )
    jwt_keys: KeySet = variable(
        "JWT_KEYS",
        key_set,
        KEY_SET_SHAPE,
        "keys of the access tokens; the current one signs, all verify",
        secret=True,
    )
    jwt_issuer: str = variable(
        "JWT_ISSUER",
        matching(r"[!-~]{1,200}"),
        "text without spaces, best a URL",
        "`iss` of the access tokens",
    )
    jwt_audience: str = variable(
        "JWT_AUDIENCE",
        matching(r"[!-~]{1,200}"),
        "text without spaces, best a URL",
        "`aud` of the access tokens",
    )
    jwt_ttl_seconds: int = variable(
        "JWT_TTL_SECONDS",
        whole(60, 86_400),
        "whole seconds, 60 to 86400",
        "life of an access token",
        default="900",
    )
    bcrypt_cost: int = variable(
        "BCRYPT_COST",
        whole(10, 20),
        "a whole number, 10 to 20",
        "bcrypt's cost: one more doubles the work",
        default="12",
    )
    password_min_length: int = variable(
        "PASSWORD_MIN_LENGTH",
        whole(8, 64),
        "a whole number, 8 to 64",
        "shortest password, in code points; 15 where it is the only factor",
        default="8",
    )
