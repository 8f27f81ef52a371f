"""The work engine behind five calls: prepare, dispatch, look, cancel, run.

The ledger's work table is the truth, and chooses what the engine is given next (``node.ledger.schedule``); whatever the engine holds can
be thrown away and is made again by the reaper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer

from node.core.job import Ticket, WorkKind
from node.core.schedule import Limits
from node.ledger import schedule
from node.ledger.engine import Transaction, normalise_url, open_engine, reaching
from node.ledger.patience import ANSWER_S

#: Pinned, because the engine would otherwise leave behind whatever was queued by other code than this.
_VERSION = "1"
_QUEUES: Mapping[WorkKind, str] = {"infer": "infer", "deliver": "deliver"}
#: After which a job is offered again whose device had no place for it.
_BUSY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """What the engine knows of one ticket.

    Attributes
    ----------
    waits : bool
        It has not been given to any process yet.
    due_at : float or None
        When it may be given to a process at the earliest, in seconds since the epoch; None when it may be at once.
    given_at : float or None
        When it was given to a process that has not finished it, in seconds since the epoch.
    holder : str
        The identity of that process.
    """

    waits: bool
    due_at: float | None
    given_at: float | None
    holder: str


def prepare(url: str, poll_s: float, concurrency: Mapping[WorkKind, int]) -> None:
    """Bring the engine's own tables and queues up to date; called while the migration lock is held."""
    url = normalise_url(url)
    DBOS.migrate(url)
    with Engine(url) as engine:
        engine.register("infer", poll_s, worker_concurrency=concurrency["infer"])
        engine.register("deliver", poll_s, partition_concurrency=concurrency["deliver"])


class Engine:
    """The door through which every role enters, looks at and cancels tickets; it runs nothing.

    Parameters
    ----------
    url : str
        The ledger's own database: that is what makes an enqueue atomic with the rows that it belongs to.
    limits : Limits, optional
        How many jobs run at once.
    device : str
        What this process runs jobs on, named so that no other machine has one of that name.
    """

    def __init__(self, url: str, limits: Limits | None = None, device: str = "") -> None:
        self._limits, self._device = limits or Limits(), device
        self._database = open_engine(url, pool_size=5, writer=False, answer_s=ANSWER_S)
        self._client = DBOSClient(
            system_database_url=normalise_url(url),
            system_database_engine=self._database,
            serializer=DBOSPortableJSONSerializer(),
            retry_connection_errors=False,  # by us, who can stop meanwhile
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def register(
        self, kind: WorkKind, poll_s: float, *, worker_concurrency: int | None = None, partition_concurrency: int | None = None
    ) -> None:
        """Enter a queue: at most so many at a time on one worker, or for one destination."""
        self._client.register_queue(
            _QUEUES[kind],
            worker_concurrency=worker_concurrency,
            partition_concurrency=partition_concurrency,
            polling_interval_sec=poll_s,
        )

    def dispatch(self, tx: Transaction, ticket: Ticket) -> None:
        """Have the ledger choose, in the caller's transaction, what is handed over now that ``ticket`` waits; the same is entered once.

        What is to be begun later is entered at once, with its delay.
        """
        if ticket.delay_s > 0:
            delayed = schedule.put_off(tx, ticket.work_id, ticket.delay_s)
            self._enter(tx, [delayed] if delayed else [])
        self.refill(tx, ticket.kind, ticket.partition)

    def admit(self, tx: Transaction, work_id: str, dispatch: int) -> bool:
        """Whether work that was handed to this process may begin; what may not goes back to the ledger."""
        admitted = schedule.admits(tx, work_id, dispatch, self._limits, self._device)
        if admitted is None:
            delayed = schedule.put_off(tx, work_id, _BUSY_S)
            self._enter(tx, [delayed] if delayed else [])
        return bool(admitted)

    def refill(self, tx: Transaction, kind: WorkKind, destination: str | None) -> None:
        """Hand over what may follow, because something of this line has begun or ended."""
        self._enter(tx, schedule.release(tx, schedule.Line(kind=kind, destination=destination), self._limits))

    def refill_all(self, tx: Transaction) -> None:
        """Hand over whatever may be begun now."""
        for line in list(schedule.lines(tx)):
            self._enter(tx, schedule.release(tx, line, self._limits))

    def _enter(self, tx: Transaction, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            self._enter_one(tx, ticket)

    def _enter_one(self, tx: Transaction, ticket: Ticket) -> None:
        options = {
            "queue_name": _QUEUES[ticket.kind],
            "workflow_name": ticket.kind,
            "workflow_id": ticket.workflow_id,
            "app_version": _VERSION,
            "priority": ticket.priority,
        }
        if ticket.partition is not None:
            options["queue_partition_key"] = ticket.partition
        if ticket.delay_s > 0:
            options["delay_seconds"] = ticket.delay_s
        self._client.enqueue_in_transaction(tx, options, ticket.work_id, ticket.dispatch)  # type: ignore[arg-type]

    def look(self, workflow_ids: Iterable[str]) -> dict[str, Dispatched]:
        """Tell what became of tickets; those that the engine does not know are absent."""
        wanted = list(workflow_ids)
        if not wanted:
            return {}
        with reaching():
            found = self._client.list_workflows(workflow_ids=wanted, load_input=False, load_output=False)
        return {
            status.workflow_id: Dispatched(
                waits=status.status in ("ENQUEUED", "DELAYED"),
                due_at=status.delay_until_epoch_ms / 1000 if status.status == "DELAYED" and status.delay_until_epoch_ms else None,
                given_at=status.dequeued_at / 1000 if status.status == "PENDING" and status.dequeued_at else None,
                holder=status.executor_id or "",
            )
            for status in found
        }

    def cancel(self, workflow_id: str) -> None:
        """Take a ticket out of the engine, so that it no longer fills a place in its queue."""
        with reaching():
            self._client.cancel_workflow(workflow_id)

    def close(self) -> None:
        """Give the connections back."""
        self._client.destroy()
        self._database.dispose()


class Executor:
    """This process's share of one queue.

    Parameters
    ----------
    perform : callable
        Called with (work id, dispatch number) on a thread for each ticket; it must not raise.
    executor_id : str
        New for every process: nothing is ever recovered by name, that is the reaper's task.
    """

    def __init__(self, url: str, kind: WorkKind, executor_id: str, perform: Callable[[str, int], None]) -> None:
        config: DBOSConfig = {
            "name": "radnode",
            "system_database_url": normalise_url(url),
            "system_database_engine": open_engine(url, pool_size=8, writer=False, answer_s=ANSWER_S),
            "application_version": _VERSION,
            "executor_id": executor_id,
            "run_migrations": False,
            "log_level": "CRITICAL",
            "serializer": DBOSPortableJSONSerializer(),
        }
        DBOS(config=config)
        DBOS.listen_queues([_QUEUES[kind]])

        @DBOS.workflow(name=kind, max_recovery_attempts=1_000_000)
        def workflow(work_id: str, dispatch: int) -> None:
            perform(work_id, dispatch)

    def start(self) -> None:
        """Begin to take tickets."""
        DBOS.launch()

    def stop(self, patience_s: float) -> None:
        """Take no more tickets, and wait ``patience_s`` seconds for those that run."""
        DBOS.destroy(workflow_completion_timeout_sec=int(patience_s))
