"""/v1/lessons"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from app.errors import Invalid
from app.http.bodies import DocumentRoute
from app.http.openapi import problems
from app.lessons.schemas import LessonList, LessonOut
from lessons.catalogue import Language, lessons

router = APIRouter(prefix="/v1", tags=["lessons"], route_class=DocumentRoute)


@router.get("/lessons", summary="List lessons", responses=problems(Invalid))
def list_lessons(
    language: Annotated[Language, Query(description="Of the texts: English or Chinese.")] = "en",
) -> LessonList:
    """`foldhouse lessons run NAME` runs one on the command line."""
    return LessonList(data=[LessonOut.of(lesson, language) for lesson in lessons()])
