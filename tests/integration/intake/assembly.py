"""The node from the first byte to the queue: receiver, assembler, the real catalogue and the real engine, without a socket."""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Self

from pydicom import Dataset

from node.intake.assemble import Assembler
from node.intake.receive import Receiver
from node.ledger import jobs, schema, views
from node.ledger.engine import Ledger, database_now
from node.ledger.migrate import migrating
from node.work import engine as work_engine
from pipelines.catalog import Catalog, load_catalog
from pipelines.phantom import make_chest_ct
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
        self, folder: Path, url: str, *, catalog: Catalog = CATALOG, enabled=("ct_lungs",), reprocess: bool = True, quiet_s=QUIET_S
    ):
        self.folder, self.url = folder, url
        self._catalog, self._enabled, self._reprocess, self._quiet_s = catalog, enabled, reprocess, quiet_s

    def __enter__(self) -> Self:
        with migrating(self.url):
            work_engine.prepare(self.url, 0.25, {"infer": 1, "deliver": 1})
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
            enabled=self._enabled,
            quiet_s=self._quiet_s,
            reprocess=self._reprocess,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def receive(self, datasets: list[Dataset], association: str = "A1") -> list[int]:
        statuses = [
            sent(encode(dataset), sop_class=dataset.SOPClassUID, instance=dataset.SOPInstanceUID, association=association).to(self.receiver)
            for dataset in datasets
        ]
        self.flush()
        return statuses

    def flush(self) -> None:
        """Wait until what was answered is in the ledger too."""
        flush(self.desk)

    def age(self) -> None:
        """Let the quiet time pass, without waiting for it."""
        with self.ledger.beating() as tx:
            long_ago = database_now(tx) - timedelta(hours=1)
            tx.execute(schema.study.update().where(schema.study.c.state == "open").values(last_activity_at=long_ago))

    def complete(self) -> int:
        self.age()
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
