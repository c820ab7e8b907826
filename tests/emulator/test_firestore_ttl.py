"""Firestore's TTL policies: what expires, when, and what is left alone."""

import pytest

from emulator.clock import SECOND_US, ManualClock
from emulator.errors import InvalidArgument
from emulator.firestore.paths import DatabaseName
from emulator.firestore.store import Store
from emulator.firestore.ttl import Expiry, by_group
from emulator.firestore.values import Timestamp
from emulator.firestore.writes import Operation, Write


class World:
    def __init__(self):
        self.clock = ManualClock()
        self.database = Store().database(DatabaseName("p", "d"))
        self.expiry = Expiry(self.database, {"sessions": ("expires",), "deep": ("a", "b")})

    def put(self, *name, **fields):
        self.database.commit([Write(Operation.UPDATE, name, fields)], self.clock.now_us())

    def after(self, seconds):
        return Timestamp(self.clock.now_us() + seconds * SECOND_US)

    def names(self):
        return ["/".join(one.name) for one in self.database.documents((), None, True)]


@pytest.fixture
def world() -> World:
    return World()


def test_a_document_expires_when_its_time_has_come(world):
    """Not a microsecond earlier; in any collection of the group, by a nested field too."""
    world.put("sessions", "a", expires=world.after(10))
    world.put("users", "u", "sessions", "b", expires=world.after(10))
    world.put("deep", "c", a={"b": world.after(10)})
    due_us = world.after(10).us
    assert world.expiry.next_wakeup_us() == due_us
    assert world.expiry.delete_expired(due_us - 1) == 0
    assert world.expiry.delete_expired(due_us) == 3
    assert world.names() == []
    assert world.expiry.next_wakeup_us() is None


def test_what_no_policy_covers_stays(world):
    """Another group, no field, a field that is no timestamp."""
    world.put("users", "a", expires=world.after(-10))
    world.put("sessions", "b")
    world.put("sessions", "c", expires="yesterday")
    assert world.expiry.delete_expired(world.after(100).us) == 0
    assert len(world.names()) == 3


def test_only_what_the_document_says_when_due_counts(world):
    """A postponed expiry holds, a removed field saves, a deletion and re-creation is another."""
    world.put("sessions", "later", expires=world.after(10))
    world.put("sessions", "saved", expires=world.after(10))
    world.put("sessions", "later", expires=world.after(20))
    world.put("sessions", "saved")
    assert world.expiry.delete_expired(world.after(10).us) == 0
    assert world.expiry.delete_expired(world.after(20).us) == 1
    assert world.names() == ["sessions/saved"]


def test_a_collection_group_has_one_policy():
    """The same one twice is one; two fields are refused."""
    policies = [("a", ("x",)), ("b", ("y", "z")), ("a", ("x",))]
    assert by_group(policies) == {"a": ("x",), "b": ("y", "z")}
    with pytest.raises(InvalidArgument, match=r"TTL policies of b on y\.z and x: .* one at most"):
        by_group([*policies, ("b", ("x",))])
