"""Pages of a list, newest first: ids sort by creation, so a page begins after an id.

Ids are texts, except for rows that the database numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from app.http.parameters import ID_PATTERN, AsDigits

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
LARGEST_NUMBER = 2**63 - 1  # of both databases
RowNumber = Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]


class Identified(BaseModel):
    """An item of a list."""

    id: str


Item = TypeVar("Item", bound=Identified)
SelectT = TypeVar("SelectT", bound=Select[*tuple[Any, ...]])


class Page(BaseModel, Generic[Item]):
    """A page of a list; `next` is the `after` of the following page."""

    data: list[Item]
    has_more: bool
    next: str | None


@dataclass(frozen=True)
class PageQuery:
    """Which page of a list is requested."""

    limit: int
    after: str | int | None

    def apply(
        self, query: SelectT, id_column: InstrumentedAttribute[str] | InstrumentedAttribute[int]
    ) -> SelectT:
        """Select one row more than requested, which shows whether another page follows."""
        if self.after is not None:
            query = query.where(id_column < self.after)
        return query.order_by(id_column.desc()).limit(self.limit + 1)

    def page(self, items: Sequence[Item]) -> Page[Item]:
        """The page of what `apply` selected."""
        data = list(items[: self.limit])
        has_more = len(items) > self.limit
        return Page(data=data, has_more=has_more, next=data[-1].id if has_more else None)


Limit = Annotated[Annotated[int, Field(ge=1, le=MAX_LIMIT)], AsDigits, Query()]
NEXT = "`next` of the previous page."


async def _page_query(
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[str | None, Query(pattern=ID_PATTERN, description=NEXT)] = None,
) -> PageQuery:
    return PageQuery(limit, after)


async def _numbered_page_query(
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[RowNumber | None, AsDigits, Query(description=NEXT)] = None,
) -> PageQuery:
    return PageQuery(limit, after)


PageQueryDep = Annotated[PageQuery, Depends(_page_query)]
NumberedPageQueryDep = Annotated[PageQuery, Depends(_numbered_page_query)]
