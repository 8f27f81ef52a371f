"""The node from the first byte to the queue: receiver, assembler, the real catalogue and the real engine, without a socket."""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Self

from pydicom import Dataset

from node.core.rules import RuleBook, Rules
from node.core.study import Peer
from node.intake.assemble import Assembler
from node.intake.receive import Receiver
from node.intake.triage import Triage
from node.ledger import jobs, schema, views
from node.ledger.engine import Ledger, database_now
from node.work import engine as work_engine
from pipelines.catalog import Catalog, load_catalog
from pipelines.phantom import make_chest_ct
from tests.databases import prepare_database
from tests.integration.desk import flush, open_desk
from tests.unit.intake.arrivals import encode, sent

REPOSITORY = Path(__file__).parents[3]
CATALOG = load_catalog(REPOSITORY / "pipelines", REPOSITORY / "models")
QUIET_S = 0.3


def chest(slices: int = 30, **options) -> list[Dataset]:
    """A chest that ct_lungs takes: enough slices, too few pixels to cost anything."""
    return make_chest_ct(shape=(slices, 16, 20), **options).datasets


class Assembly:
    """Everything from the receiver to the queue, on a database that may be shared with another."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        catalog: Catalog = CATALOG,
        enabled=("ct_lungs",),
        reprocess: bool = True,
        quiet_s=QUIET_S,
        priorities=(),
        **more,
    ):
        self.folder, self.url = folder, url
        self._catalog, self._reprocess, self._more, self._priorities = catalog, reprocess, more, priorities
        self.rules = Rules(pipelines=enabled, quiet_s=quiet_s, patience_s=600.0)

    def __enter__(self) -> Self:
        prepare_database(self.url)
        with ExitStack() as stack:
            self.ledger = Ledger(self.url, actor="listen@test")
            stack.callback(self.ledger.close)
            self.engine = stack.enter_context(work_engine.Engine(self.url))
            self.desk = stack.enter_context(open_desk(self.ledger, self.folder / "spool"))
            self._stack = stack.pop_all()
        self.spool, self.presence = self.desk.spool, self.desk.presence
        self.receiver = Receiver(self.desk)
        self.assembler = Assembler(
            self.ledger,
            self.spool,
            self.presence,
            self._catalog,
            self.engine.dispatch,
            node_ae="RADNODE",
            reprocess=self._reprocess,
            triage=Triage(self.ledger, self._priorities),
            **{"book": RuleBook(default=self.rules), **self._more},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def receive(self, datasets: list[Dataset], association: str = "A1", *, calling: str = "CT", called: str = "RADNODE") -> list[int]:
        peer = Peer(calling_ae=calling, called_ae=called, address="127.0.0.1")
        statuses = [
            sent(encode(dataset), sop_class=dataset.SOPClassUID, instance=dataset.SOPInstanceUID, association=association, peer=peer).to(
                self.receiver
            )
            for dataset in datasets
        ]
        self.flush()
        return statuses

    def flush(self) -> None:
        """Wait until what was answered is in the ledger too."""
        flush(self.desk)

    def age(self, seconds: float = 3600.0) -> None:
        """Let the quiet time pass, without waiting for it; after an hour every patience has ended."""
        with self.ledger.beating() as tx:
            long_ago = database_now(tx) - timedelta(seconds=seconds)
            tx.execute(schema.study.update().where(schema.study.c.state == "open").values(last_activity_at=long_ago))

    def complete(self, seconds: float = 3600.0) -> int:
        self.age(seconds)
        return self.assembler.sweep()

    def events(self, prefix: str = "") -> list[views.AuditRow]:
        with self.ledger.reading() as tx:
            return [row for row in views.since(tx, 0) if row.event.startswith(prefix)]

    def names(self, prefix: str = "") -> list[str]:
        return [row.event for row in self.events(prefix)]

    def rows(self, table: str) -> list[dict]:
        with self.ledger.reading() as tx:
            return views.all_rows(tx, table)

    def end(self, state: str = "done") -> None:
        """Say of every open job that it came to its end, as a worker would."""
        with self.ledger.beating() as tx:
            tx.execute(schema.work.update().values(state=state))

    def tickets(self) -> dict:
        """What the engine knows of the ledger's work."""
        with self.ledger.reading() as tx:
            wanted = [jobs.ticket_of(work).workflow_id for work, *_ in jobs.open_work(tx)]
        return self.engine.look(wanted)
