"""The small shared things: logs, traces, strict JSON, and a value built once."""

import json
import threading

import pytest

from shared import logs, traces
from shared.once import Once
from shared.strict_json import NotStrictJson, parse_object
from shared.traces import Trace

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in its values: line ends, separators, surrogates, objects."""
    hostile = "a\nb\u2028c\ud800"
    logs.write("INFO", "m", text=hostile, thing=object(), nothing=None)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.isascii()
    entry = json.loads(out)
    assert (entry["severity"], entry["message"], entry["text"]) == (
        "INFO",
        "m",
        "a\nb\u2028c\ud800",
    )
    assert "nothing" not in entry


def test_bound_fields_are_on_every_line_of_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    """Nested blocks add; leaving takes away; other threads see nothing."""
    with logs.bound(event_id="e-1"):
        with logs.bound(step=2):
            logs.write("INFO", "inner")
        logs.write("INFO", "outer")
        thread = threading.Thread(target=logs.write, args=("INFO", "elsewhere"))
        thread.start()
        thread.join()
    inner, outer, elsewhere = map(json.loads, capsys.readouterr().out.splitlines())
    assert (inner["event_id"], inner["step"]) == ("e-1", 2)
    assert "step" not in outer
    assert "event_id" not in elsewhere


@pytest.mark.parametrize(
    ("address", "masked"),
    [("john@example.com", "j***@example.com"), ("j@x.de", "j***@x.de"), ("", "***@")],
)
def test_an_address_is_masked(address: str, masked: str) -> None:
    """First character and domain."""
    assert logs.mask(address) == masked


def test_an_error_is_its_classes_and_places() -> None:
    """Never its text."""
    try:
        try:
            raise KeyError("secret-1")
        except KeyError as error:
            raise RuntimeError("secret-2") from error
    except RuntimeError as error:
        fields = logs.error_fields(error)
    assert fields["error"] == "builtins.RuntimeError"
    assert fields["causes"] == ["builtins.KeyError"]
    assert "test_shared.py" in fields["where"][0]
    assert "secret" not in str(fields)


@pytest.mark.parametrize(
    ("traceparent", "cloud_trace", "expected"),
    [
        (f"00-{TRACE_ID}-00f067aa0ba902b7-01", None, (TRACE_ID, "00f067aa0ba902b7", "01")),
        (f"cc-{TRACE_ID}-00f067aa0ba902b7-01", None, (TRACE_ID, "00f067aa0ba902b7", "01")),
        (None, f"{TRACE_ID}/255;o=1", (TRACE_ID, "00000000000000ff", "01")),
        ("junk", f"{TRACE_ID.upper()}/255", (TRACE_ID, "00000000000000ff", "00")),
    ],
)
def test_a_trace_is_read_from_either_header(
    traceparent: str | None, cloud_trace: str | None, expected: tuple[str, str, str]
) -> None:
    """W3C first."""
    assert traces.read(traceparent, cloud_trace) == Trace(*expected)


def test_a_cloud_trace_without_span_gets_one() -> None:
    """A traceparent needs one that is not zero."""
    trace = traces.read(None, TRACE_ID)
    assert trace is not None
    assert traces.read(trace.traceparent) == trace


@pytest.mark.parametrize(
    "value",
    [None, 7, "", "junk", f"ff-{TRACE_ID}-00f067aa0ba902b7-01",
     f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE_ID}-{'0' * 16}-01",
     f"00-{TRACE_ID.upper()}-00f067aa0ba902b7-01"],
)  # fmt: skip
def test_what_is_no_trace_is_ignored(value: object) -> None:
    """As the specification says: begin a new one."""
    assert traces.read(value, value if value != "junk" else "x/y") is None


def test_a_new_trace_is_a_valid_one() -> None:
    """And two are different."""
    one, two = traces.begin(), traces.begin()
    assert traces.read(one.traceparent) == one
    assert one != two


def test_strict_json_reads_an_object() -> None:
    """With all that JSON has."""
    assert parse_object(b' {"a": [1, -2.5e3, true, null, "\\u00e9\\ud83d\\ude00"]} ') == {
        "a": [1, -2500.0, True, None, "é😀"]
    }


def test_strict_json_quotes_nothing() -> None:
    """The reason is shown and logged."""
    for data in (b'{"secret": secret}', b'{"secret": 1, "secret": 2}', b'"secret"', b"\xffsecret"):
        with pytest.raises(NotStrictJson) as caught:
            parse_object(data)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_value_is_built_once_by_many_threads() -> None:
    """The others wait for it."""
    built: list[int] = []
    begin = threading.Barrier(8)
    once = Once(lambda: built.append(1) or object())  # type: ignore[func-returns-value]
    got: list[object] = []

    def work() -> None:
        begin.wait()
        got.append(once.get())

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(built) == 1
    assert len(set(map(id, got))) == 1


def test_a_build_that_failed_is_tried_again() -> None:
    """The next request may have more luck."""
    outcomes = iter([RuntimeError("no"), "built"])

    def build() -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    once = Once(build)
    with pytest.raises(RuntimeError):
        once.get()
    assert once.get() == once.get() == "built"
