"""What the doors have in common: errors in the shape of another protocol."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic import BaseModel

from app.errors import Invalid, ProblemDocument, describe
from app.http.bodies import RowsRoute
from app.http.media import JSON
from app.http.openapi import REF

TAG = "other protocols"


class DoorRoute(RowsRoute):
    """An operation of another protocol."""

    @classmethod
    def error(cls, document: ProblemDocument) -> BaseModel:
        """A problem as the protocol has it."""
        raise NotImplementedError

    @classmethod
    def write_problem(cls, document: ProblemDocument, headers: dict[str, str]) -> Response:
        """What is not valid is a 400: to these protocols' clients 422 says nothing."""
        status = 400 if document.status == Invalid.status else document.status
        return Response(cls.error(document).model_dump_json(), status, headers, JSON)


def error_responses(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """An operation's error responses."""
    content = {JSON: {"schema": {"$ref": REF.format(model=model.__name__)}}}
    return {
        "4XX": {"description": "The request cannot be answered as it is.", "content": content},
        503: {"description": "What is needed does not answer or is damaged.", "content": content},
    }


def message(document: ProblemDocument) -> str:
    """All that a problem tells, as the one text that these protocols have room for."""
    untold = [fault for fault in document.errors if fault.detail not in document.detail]
    return "\n".join([document.detail, *map(describe, untold)])
