"""Serializability: what concurrent transactions read and wrote is checked, not assumed."""

import concurrent.futures
import random
from dataclasses import dataclass

import pytest
from google.api_core.exceptions import Aborted
from google.cloud.firestore_v1 import types

from tests.conformance.features import feature
from tests.conformance.firestore.pages import CONTENTION
from tests.conformance.firestore.raw import OWNER, Raw

ATTEMPTS = 30


@dataclass
class Done:
    """A committed transaction: what it read and wrote, document id -> the writer's number."""

    commit_time: object
    read: dict[str, int]
    wrote: dict[str, int]


def run(raw: Raw, number: int, documents: int) -> Done:
    """Read two documents and overwrite one or both, until it commits."""
    chosen = random.Random(number)  # noqa: S311 - a repeatable choice, not a secret
    ids = chosen.sample([f"d{n}" for n in range(documents)], 2)
    wrote = dict.fromkeys(ids[: chosen.randint(1, 2)], number)
    retry = b""
    for _ in range(ATTEMPTS):
        begin = types.BeginTransactionRequest(
            database=raw.database, options={"read_write": {"retry_transaction": retry}}
        )
        transaction = raw.api.begin_transaction(request=begin, metadata=OWNER).transaction
        get = types.BatchGetDocumentsRequest(
            database=raw.database,
            documents=[raw.name(f"cells/{name}") for name in ids],
            transaction=transaction,
        )
        try:
            read = {
                reply.found.name.rsplit("/", 1)[1]: reply.found.fields["by"].integer_value
                for reply in raw.api.batch_get_documents(request=get, metadata=OWNER)
                if "found" in reply
            }
            writes = [raw.put(f"cells/{name}", by=number) for name in wrote]
            reply = raw.commit(*writes, transaction=transaction)
        except Aborted:
            retry = transaction
            continue
        return Done(reply.commit_time, read, wrote)
    pytest.fail(f"no success in {ATTEMPTS} attempts")


@feature("Transactions are serializable", production=CONTENTION)
def test_concurrent_transactions_equal_one_after_the_other(raw: Raw) -> None:
    """In order of commit time each transaction read just what those before it had written."""
    documents = 12
    raw.commit(*(raw.put(f"cells/d{n}", by=-1) for n in range(documents)))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda number: run(raw, number, documents), range(30)))
    cells = {f"d{n}": -1 for n in range(documents)}
    for transaction in sorted(done, key=lambda one: one.commit_time):  # type: ignore[arg-type, return-value]
        assert transaction.read == {name: cells[name] for name in transaction.read}
        cells |= transaction.wrote
    found = {
        reply.document.name.rsplit("/", 1)[1]: reply.document.fields["by"].integer_value
        for reply in raw.query("cells")
    }
    assert found == cells
