"""The words of the conformance suite: what a test proves, where production says it, who differs.

1. `@feature(title, production=URL)` stands on every test of `pubsub/` and `firestore/`; the
   title is a row of `docs/conformance.md`, the link the page of Google's that promises it.
2. `gcloud="..."` or `embedded="..."` says what was *seen* on that backend instead. It makes
   the test a strict expected failure there: it speaks up the day that backend changes.
3. `@differs(...)`, or `marks=differs(...)` on one `pytest.param`, says the same of one case.
4. Tests that share a title are one row, and the row is as good as its worst test.

What turns these marks into expected failures and into results is `conftest.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError

BACKENDS = ("embedded", "gcloud")

# What a known difference may look like. Anything else, a KeyError of the test or a server that
# does not start, is a defect and fails even where a difference is expected.
EXPECTED = (AssertionError, pytest.fail.Exception, GoogleAPICallError, TimeoutError)


@dataclass(frozen=True)
class Claim:
    """What one test says: its row, production's page, and the reason a backend differs, if any."""

    title: str
    production: str
    reasons: dict[str, str]

    @classmethod
    def of(cls, item: pytest.Item) -> "Claim | None":
        """The claim of a collected test, None where it carries no `@feature`."""
        mark = item.get_closest_marker("feature")
        if mark is None:
            return None
        reasons: dict[str, str] = {}
        for name in ("feature", "differs"):
            for found in item.iter_markers(name):
                reasons |= {key: found.kwargs[key] for key in BACKENDS if found.kwargs.get(key)}
        return cls(title=mark.args[0], production=mark.kwargs["production"], reasons=reasons)


def feature(
    title: str, *, production: str, gcloud: str | None = None, embedded: str | None = None
) -> Callable[[Any], Any]:
    """Name what the test proves; a reason makes it a strict expected failure on that backend.

    @feature("Filters decide what is delivered",
             production="https://cloud.google.com/pubsub/docs/subscription-message-filter",
             gcloud="stored and returned, never applied")
    def test_message_that_does_not_match_is_not_delivered(pubsub): ...
    """
    return pytest.mark.feature(title, production=production, gcloud=gcloud, embedded=embedded)


def differs(*, gcloud: str | None = None, embedded: str | None = None) -> pytest.MarkDecorator:
    """Say that one case differs on a backend: `pytest.param(..., marks=differs(...))`."""
    return pytest.mark.differs(gcloud=gcloud, embedded=embedded)
