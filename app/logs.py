"""The lines of a process's log: text for people, or JSON for what collects them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from app.printed import printable, redacted
from app.settings import Settings

# What every line says until it is set again, such as the request or the job that is at work.
CONTEXT: ContextVar[Mapping[str, str | None]] = ContextVar("log", default={})  # noqa: B039
LONGEST = 8_000  # characters of a message, which may repeat what a stranger has sent
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def saying(**values: str | None) -> Iterator[None]:
    """Every line of this thread says these as well."""
    token = CONTEXT.set({**CONTEXT.get(), **values})
    try:
        yield
    finally:
        CONTEXT.reset(token)


def facts(**values: Any) -> dict[str, Any]:
    """What one line says besides its message: `logger.info("…", extra=facts(seconds=0.1))`."""
    return {"facts": values}


class TextLines(logging.Formatter):
    """Without control characters and secrets. A message is one line, so that none can look like
    two; a traceback follows it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        said = "".join(f" {name}={value}" for name, value in _facts(record).items())
        text = record.message[:LONGEST].replace("\n", "\\n")
        record.message = printable(text + said, kept="\t")
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return redacted(printable(super().format(record)))


class JsonLines(logging.Formatter):
    """An object a line, with the traceback as one of its members, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LONGEST],
            **_facts(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Each text by itself: what is masked in one must not reach into the next.
        return json.dumps(
            {name: redacted(one) if isinstance(one, str) else one for name, one in line.items()},
            default=str,
        )


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    own: dict[str, Any] = getattr(record, "facts", {})
    found = {**CONTEXT.get(), **own}
    return {name: value for name, value in found.items() if value is not None}


def log_to_terminal(settings: Settings) -> None:
    """For a process whose standard error is its log."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines(TEXT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
