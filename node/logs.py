"""Logs are text for operators: events with names, never a patient's name."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any, Literal

import structlog

#: Keys that would name a person. They have no business in an event; the processor drops them should one slip in.
_PERSONAL = frozenset({"patient_name", "PatientName", "patient_id", "PatientID", "birth_date", "PatientBirthDate"})


def _drop_personal(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: value for key, value in event.items() if key not in _PERSONAL}


def _trace_without_values(exc_info: structlog.typing.ExcInfo) -> str:
    """Where an error came from, and what it is; not what it says, because libraries quote the values that they stumble over."""
    lines: list[str] = []
    cause: BaseException | None = exc_info[1]
    while cause is not None:
        lines += [*traceback.format_tb(cause.__traceback__), f"{type(cause).__module__}.{type(cause).__qualname__}\n"]
        cause = cause.__cause__ or cause.__context__
    return "".join(lines)


def _name_role(role: str) -> structlog.typing.Processor:
    def name_role(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["role"] = role
        return event

    return name_role


def configure_logs(level: str, style: Literal["console", "json"], role: str) -> None:
    """Send everything, ours and the libraries', to standard error in one form.

    The libraries are kept at warnings: pynetdicom's debug output prints data sets, and those name patients.
    """
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _name_role(role),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_trace_without_values),
        _drop_personal,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("node").setLevel(level.upper())
    # These two quote values of data sets in their warnings, and a value may be a name; what matters of it is in our own events.
    for chatty in ("pydicom", "pynetdicom", "dbos"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom|pynetdicom|highdicom")
    _catch_the_uncaught()


def _catch_the_uncaught() -> None:
    """Have what nobody caught logged in the same way, instead of printed with what it says."""
    log = logging.getLogger("node.uncaught")

    def in_main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("process.crashed", exc_info=(kind, error, trace))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            log.critical("thread.crashed", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook = in_main
    threading.excepthook = in_thread
