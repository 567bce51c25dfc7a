"""The errors of the client.

FoldhouseError       the service answered with a problem document, or the rows cannot be sent
├── Unreachable      nothing answered
├── Unfinished       a job took longer than its caller would wait
└── FitFailed        an estimator's fit gave no model
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from foldhouse_client.ids import is_sweep

PROBLEM_MEDIA_TYPE = "application/problem+json"
AWAY = (502, 503, 504)  # answered by the service, or by a proxy in front of it
MAX_ECHO = 500  # characters of an answer that is not a problem document


@dataclass(frozen=True)
class Fault:
    """One of several faults, located by a JSON pointer or by a table's row and column.

    Rows count from 1, the first row below the header.
    """

    detail: str
    pointer: str | None = None
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        places = {"row": self.row, "column": self.column, "field": self.pointer}
        where = ", ".join(f"{name} {place}" for name, place in places.items() if place is not None)
        return f"{where}: {self.detail}" if where else self.detail


class FoldhouseError(Exception):
    """A problem document (RFC 9457). `str()` names every field, row and column at fault."""

    def __init__(
        self, title: str, status: int | None, detail: str, errors: Sequence[Fault] = ()
    ) -> None:
        super().__init__(title, status, detail, errors)
        self.title = title
        self.status = status
        self.detail = detail
        self.errors = list(errors)

    def __str__(self) -> str:
        # The detail of a document repeats its first faults.
        more = [f"  {fault}" for fault in self.errors if fault.detail not in self.detail]
        return "\n".join([f"{self.title}: {self.detail}", *more])

    def moved(self, rows: int) -> FoldhouseError:
        """Shift the row numbers of an error about a part that starts after `rows` rows."""
        for place, fault in enumerate(self.errors):
            if fault.row is not None:
                self.errors[place] = replace(fault, row=fault.row + rows)
        return self


class Unreachable(FoldhouseError):
    """No service answers at the client's address."""


class Unfinished(FoldhouseError):
    """A job or sweep took longer than its caller would wait. It goes on."""


class FitFailed(FoldhouseError):
    """An estimator's fit gave no model: refused, failed, cancelled, or out of time."""


def is_away(error: FoldhouseError) -> bool:
    """Whether the service, or its database, may come back."""
    return isinstance(error, Unreachable) or error.status in AWAY


def from_document(document: Mapping[str, Any]) -> FoldhouseError:
    """The error that a problem document describes."""
    faults = [
        Fault(fault["detail"], fault.get("pointer"), fault.get("row"), fault.get("column"))
        for fault in document["errors"]
    ]
    return FoldhouseError(document["title"], document["status"], document["detail"], faults)


def from_response(response: httpx.Response) -> FoldhouseError:
    """The error of an answer; a proxy may have answered without a problem document."""
    if not response.headers.get("Content-Type", "").startswith(PROBLEM_MEDIA_TYPE):
        return FoldhouseError(
            f"HTTP {response.status_code}", response.status_code, response.text[:MAX_ECHO]
        )
    return from_document(response.json())


def job_error(job: Mapping[str, Any]) -> FoldhouseError:
    """Why a finished job or sweep did not succeed."""
    if job["error"] is None:
        noun = "sweep" if is_sweep(job["id"]) else "job"
        return FoldhouseError(f"The {noun} was cancelled", None, f"{job['id']} has no model")
    return from_document(job["error"])
