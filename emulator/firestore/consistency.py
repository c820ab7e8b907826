"""At which time a request reads, in which transaction, and when its turn has come.

1. A request reads the latest state, at a `read_time`, or in a transaction (live, or begun by
   the request itself).
2. The only waiting there is: a read of a hot resource in a read-write transaction waits for its
   turn (transactions.py, rule 3) on an event, and no longer than the turns before it last.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emulator.clock import SECOND_US, Clock
from emulator.errors import Aborted, FailedPrecondition
from emulator.firestore.convert import decode_time
from emulator.firestore.paths import DatabaseName, Name
from emulator.firestore.store import Database, Store
from emulator.firestore.transactions import Transaction


@dataclass(slots=True)
class View:
    """Where a request reads. `begun` says that its reply must carry the transaction's id."""

    database: Database
    now_us: int
    transaction: Transaction | None = None
    read_time_us: int | None = None
    begun: bool = False

    @property
    def snapshot_us(self) -> int | None:
        """The time to read at, None being the latest state: pass it to the store.

        Raises:
            Aborted: the transaction is doomed, and its snapshot is forgotten already.
        """
        if self.transaction is None or self.transaction.read_only:
            return self.read_time_us
        snapshot_us = self.transaction.snapshot_us
        if snapshot_us is not None:
            try:
                self.database.check_read_time(snapshot_us, self.now_us)
            except FailedPrecondition as error:
                raise Aborted("The transaction's snapshot is too old.") from error
        return snapshot_us

    def reply_time_us(self) -> int:
        """The `read_time` to answer with."""
        snapshot_us = self.snapshot_us
        return self.database.read_time(self.now_us) if snapshot_us is None else snapshot_us


def open_view(store: Store, database: DatabaseName, request: Any, clock: Clock) -> View:
    """The view a request's `consistency_selector` asks for; `new_transaction` begins one.

    Raises:
        InvalidArgument: the transaction is over, or the read time in the future.
        FailedPrecondition: the read time is too old.
    """
    view = View(store.database(database), clock.now_us())
    match request.WhichOneof("consistency_selector"):
        case "transaction":
            view.transaction = view.database.transaction(request.transaction, view.now_us)
            view.read_time_us = view.transaction.read_time_us
            if view.read_time_us is not None:
                view.database.check_read_time(view.read_time_us, view.now_us)
        case "new_transaction":
            view.transaction = begin(view.database, request.new_transaction, view.now_us)
            view.read_time_us = view.transaction.read_time_us
            view.begun = True
        case "read_time":
            view.read_time_us = decode_time(request.read_time)
            view.database.check_read_time(view.read_time_us, view.now_us)
    return view


def begin(database: Database, options: Any, now_us: int) -> Transaction:
    """Begin the transaction that a TransactionOptions message asks for.

    Raises:
        InvalidArgument: `retry_transaction` never was, or the read time is in the future.
        FailedPrecondition: the read time is too old.
    """
    if options.WhichOneof("mode") != "read_only":
        return database.transactions.begin(now_us, retry=options.read_write.retry_transaction)
    if options.read_only.WhichOneof("consistency_selector") is None:
        read_time_us = database.read_time(now_us)
    else:
        read_time_us = decode_time(options.read_only.read_time)
        database.check_read_time(read_time_us, now_us)
    return database.transactions.begin(now_us, read_time_us=read_time_us)


async def take_turns(view: View, resources: Iterable[Name], clock: Clock) -> None:
    """Wait until the transaction may read these documents, or query these collections.

    Returns at once outside a transaction and for all that is not contended for. Read, and
    record the read, before the next await.
    """
    if view.transaction is None:
        return
    transactions = view.database.transactions
    for resource in resources:
        ticket = transactions.queue(view.transaction, resource, clock.now_us())
        if ticket is None:
            continue
        turn_has_come = asyncio.Event()
        ticket.wake = turn_has_come.set
        try:
            while not ticket.ready:
                ends_us = transactions.turn_ends_us(ticket)
                left_us = max(0, ends_us - clock.now_us())
                try:
                    async with asyncio.timeout(left_us / SECOND_US):
                        await turn_has_come.wait()
                except TimeoutError:
                    # If the turn has passed on meanwhile, the new holder has its own time.
                    if not ticket.ready and transactions.turn_ends_us(ticket) <= ends_us:
                        transactions.hurry(ticket, clock.now_us())
        finally:
            transactions.leave(ticket)
