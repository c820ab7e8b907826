"""The atomic commit when its answer is lost: whose claim it is tells what happened."""

from typing import Any

import pytest
from google.api_core import exceptions

from create_user.form import NewUser
from create_user.passwords import StoredPassword
from create_user.registration import SignUp
from create_user.store import UserStore
from shared.documents import StoreUnavailable
from shared.events import Message
from tests.unit.fakes import START

SIGN_UP = SignUp(
    user_id="ours",
    event_id="e-1",
    claim_key="key",
    new_user=NewUser("Ada", "ada@example.com", None, "en", "plain"),
    password=StoredPassword(12, "k1", "hash"),
    message=Message(b"{}", {"ce-id": "e-1"}),
    created_time=START,
)


class FakeFirestore:
    """As much of a client as a commit needs: `answer` is raised after `applied` is decided."""

    def __init__(self, claimant: str | None, answer: Exception | None) -> None:
        self.claimant = claimant
        self.answer = answer
        self.created: dict[str, dict[str, Any]] = {}
        self.read_error: Exception | None = None

    def collection(self, name: str) -> "FakeCollection":
        return FakeCollection(self, name)

    def batch(self) -> "FakeFirestore":
        return self

    def create(self, document: "FakeDocument", fields: dict[str, Any]) -> None:
        self.created[document.path] = fields

    def commit(self, retry: object, timeout: float) -> None:
        assert timeout == 5
        if self.answer:
            raise self.answer


class FakeCollection:
    def __init__(self, client: FakeFirestore, name: str) -> None:
        self.client, self.name = client, name

    def document(self, document_id: str) -> "FakeDocument":
        return FakeDocument(self.client, f"{self.name}/{document_id}")


class FakeDocument:
    def __init__(self, client: FakeFirestore, path: str) -> None:
        self.client, self.path = client, path

    def get(self, field_paths: object = None, **limits: object) -> Any:
        if self.client.read_error:
            raise self.client.read_error
        return FakeSnapshot(self.client.claimant)


class FakeSnapshot:
    def __init__(self, claimant: str | None) -> None:
        self.exists = claimant is not None
        self.claimant = claimant

    def get(self, field: str) -> str | None:
        assert field == "user_id"
        return self.claimant


def test_one_commit_creates_claim_user_and_pending_event() -> None:
    """All three in one batch, each with "must not exist"; the password only as its record."""
    client = FakeFirestore(None, None)
    assert UserStore(client, 5).commit(SIGN_UP)

    assert set(client.created) == {"email_claims/key", "users/ours", "outbox/e-1"}
    assert client.created["outbox/e-1"]["state"] == "pending"
    assert client.created["users/ours"]["password"]["alg"] == "bcrypt-hmac-sha256"
    assert "plain" not in str(client.created)


LOST = [
    exceptions.AlreadyExists("x"),
    exceptions.DeadlineExceeded("x"),
    exceptions.ServiceUnavailable("x"),
]


@pytest.mark.parametrize("answer", LOST, ids=lambda error: type(error).__name__)
def test_a_commit_that_happened_is_ours_whatever_its_answer_was(answer: Exception) -> None:
    """A retry after a lost answer says AlreadyExists: the claim names us, so we did it."""
    assert UserStore(FakeFirestore("ours", answer), 5).commit(SIGN_UP) is True


@pytest.mark.parametrize("answer", LOST, ids=lambda error: type(error).__name__)
def test_a_claim_of_someone_else_means_taken(answer: Exception) -> None:
    """Ours can then not have happened: the three writes are one."""
    assert UserStore(FakeFirestore("theirs", answer), 5).commit(SIGN_UP) is False


@pytest.mark.parametrize("answer", LOST, ids=lambda error: type(error).__name__)
def test_an_unknown_outcome_is_said_to_be_unknown(answer: Exception) -> None:
    """No claim to be seen, or no way to look: neither "created" nor "taken"."""
    client = FakeFirestore(None, answer)
    with pytest.raises(StoreUnavailable):
        UserStore(client, 5).commit(SIGN_UP)
    client.read_error = exceptions.ServiceUnavailable("x")
    with pytest.raises(StoreUnavailable):
        UserStore(client, 5).commit(SIGN_UP)
