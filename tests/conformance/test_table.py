"""The page `docs/conformance.md`: what the results become."""

from typing import Any

import pytest

from tests.conformance.table import IncompleteError, render


def result(backend: str, outcome: str = "yes", reason: str = "", **fields: str) -> dict[str, str]:
    """One result as conftest.py writes it."""
    return {
        "service": "pubsub",
        "section": "Filters",
        "title": "Filters decide",
        "production": "https://example.com/filters",
        "backend": backend,
        "outcome": outcome,
        "reason": reason,
    } | fields


def page(*results: dict[str, str]) -> str:
    document: dict[str, Any] = {"versions": {"pubsub": "0.8.20"}, "results": list(results)}
    return render(document, "2026-01-02")


def test_row_shows_the_difference_of_each_backend() -> None:
    """A feature is one row, with the reason of the backend that differs."""
    text = page(result("embedded"), result("gcloud", "differs", "never | applied"))
    row = (
        "| Filters decide | [doc](https://example.com/filters) | **no**: never \\| applied | yes |"
    )
    assert row in text.splitlines()
    assert "Google's emulator (0.8.20)" in text
    assert "| Pub/Sub | 0 of 1 | 1 of 1 |" in text


def test_tests_of_one_title_are_one_row_as_good_as_its_worst() -> None:
    """One differing case of two makes the feature "partly"."""
    text = page(
        result("embedded"),
        result("embedded"),
        result("gcloud"),
        result("gcloud", "differs", "never"),
    )
    assert "| partly (1 of 2): never | yes |" in text


@pytest.mark.parametrize(
    ("results", "named"),
    [
        ([result("embedded")], "did not run on gcloud"),
        ([result("embedded", "failed"), result("gcloud")], "failed"),
        ([result("embedded"), result("gcloud", "skipped", "no java")], "no java"),
    ],
)
def test_page_is_not_made_of_an_incomplete_run(results: list[dict[str, str]], named: str) -> None:
    """A failure or a backend that did not run leaves the page alone."""
    with pytest.raises(IncompleteError, match=named):
        page(*results)
