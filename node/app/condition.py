"""Which devices are in service, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text


def condition_of(examined: Sequence[tuple[datetime, str, str | None, Mapping[str, Any]]]) -> Table:
    """A table of the devices, by their latest self-test: what ``node.ledger.devices.examined`` returns."""
    table = Table("host", "device", "state", "since (UTC)", "what the self-test found", title="Devices", title_justify="left")
    for at, event, code, detail in examined:
        if event == "device.passed":
            state = "in service"
            found = (
                f"{detail['is']} ({detail['name']}), {detail['reduced']} off by {detail['reduced_difference']:g}, torch {detail['torch']}"
            )
            found += f", CUDA {detail['cuda']}, driver {detail['driver']}" if detail["cuda"] != "none" else ""
        else:
            state, found = "out of service", f"{code}: {detail['sentence']}"
        table.add_row(*(Text(cell) for cell in (detail["host"], detail["device"], state, f"{at:%Y-%m-%d %H:%M:%S}", found)))
    return table
