"""The contract: what create_user writes, and what an older or newer reader makes of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import BrokenEvent, Message, decode, encode
from tests.unit.fakes import user_created


def changed(**fields: object) -> Message:
    good = encode(user_created(), "/source")
    return Message(json.dumps(json.loads(good.data) | fields).encode(), good.attributes)


def test_an_event_is_a_cloudevent_in_binary_mode() -> None:
    """Attributes for routing, the payload as data, nothing else in either."""
    message = encode(user_created(), "/projects/p/functions/create_user")
    assert dict(message.attributes) == {
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-type": "user.created",
        "ce-source": "/projects/p/functions/create_user",
        "ce-subject": "u-1",
        "ce-time": "2026-01-31T09:00:00.000000Z",
        "ce-datacontenttype": "application/json",
        "ce-dataschema": "urn:signup-cloud:user.created:1.0",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    assert json.loads(message.data) == {
        "schema_version": "1.0",
        "user_id": "u-1",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "locale": "en",
        "created_time": "2026-01-31T09:00:00.000000Z",
    }


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=1000))
def test_any_name_travels_unchanged(name: str) -> None:
    """Encoding and decoding are inverse."""
    event = user_created(name=name)
    assert decode(encode(event, "/source")) == event


def test_an_older_reader_reads_a_newer_minor_version() -> None:
    """Fields it does not know are no reason to refuse."""
    message = changed(schema_version="1.7", plan="gold", tags=[1, {"deep": None}])
    assert decode(message) == user_created()


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", "1", "1.0.0", "v1.0", "", None, 1])
def test_another_major_version_is_refused(version: object) -> None:
    """What it means is not known."""
    with pytest.raises(BrokenEvent, match="schema_version"):
        decode(changed(schema_version=version))


@pytest.mark.parametrize(
    "address",
    ["ADA@example.com", "a@b", "a b@example.com", "a@example.com\n", "<a@example.com>",
     "a..b@x.com", "é@example.com", "a@-x.com", "a@x-.com", ".a@x.com", "a.@x.com", "a@x..com",
     "a@@x.com"],
)  # fmt: skip
def test_only_a_plain_address_is_written_to(address: str) -> None:
    """A reader trusts nobody, not even create_user."""
    with pytest.raises(BrokenEvent, match="email"):
        decode(changed(email=address))


@pytest.mark.parametrize(
    "moment", ["2026-01-31T09:00:00", "yesterday", "1999-12-31T00:00:00Z", "2100-01-01T00:00:00Z"]
)
def test_a_time_without_zone_or_century_is_refused(moment: str) -> None:
    """Arithmetic is done with it."""
    with pytest.raises(BrokenEvent, match="created_time"):
        decode(changed(created_time=moment))


def test_a_reason_quotes_nothing() -> None:
    """It is logged and stored."""
    with pytest.raises(BrokenEvent) as caught:
        decode(changed(email="secret@@example.com"))
    assert "secret" not in str(caught.value)
