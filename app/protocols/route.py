"""Shared by the other protocols: errors in their format."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic import BaseModel

from app.errors import Invalid, ProblemDocument, describe
from app.http.bodies import RowsRoute
from app.http.media import JSON
from app.http.openapi import REF

TAG = "other protocols"


class ProtocolRoute(RowsRoute):
    """An operation of another protocol."""

    @classmethod
    def error(cls, document: ProblemDocument) -> BaseModel:
        """A problem in the protocol's format."""
        raise NotImplementedError

    @classmethod
    def write_problem(cls, document: ProblemDocument, headers: dict[str, str]) -> Response:
        """Invalid requests get 400, because clients of these protocols do not expect 422."""
        status = 400 if document.status == Invalid.status else document.status
        return Response(cls.error(document).model_dump_json(), status, headers, JSON)


def error_responses(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """An operation's error responses."""
    content = {JSON: {"schema": {"$ref": REF.format(model=model.__name__)}}}
    return {
        "4XX": {"description": "There is an error in the request.", "content": content},
        # The application declares these by their own statuses, which come before 4XX.
        401: {"description": "An API key is needed.", "content": content},
        403: {"description": "Not allowed.", "content": content},
        429: {"description": "Too many failed attempts to sign in.", "content": content},
        503: {
            "description": "A service or file that the request needs is unavailable or damaged.",
            "content": content,
        },
    }


def message(document: ProblemDocument) -> str:
    """A problem with all of its faults as one text, which is all that these protocols allow."""
    more = [fault for fault in document.errors if fault.detail not in document.detail]
    return "\n".join([document.detail, *map(describe, more)])
