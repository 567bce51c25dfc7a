"""/lessons"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse

from app.errors import NotFound
from app.web.rendering import PageRoute, page
from lessons.catalogue import Language, lessons

router = APIRouter(prefix="/lessons", route_class=PageRoute, include_in_schema=False)

Chosen = Annotated[Language, Query()]


@router.get("")
def show_lessons(language: Chosen = "en") -> HTMLResponse:
    return page("lessons.html", section="lessons", lessons=lessons(), language=language)


@router.get("/{name}")
def show_lesson(name: Annotated[str, Path(max_length=64)], language: Chosen = "en") -> HTMLResponse:
    known = {lesson.name: lesson for lesson in lessons()}
    if name not in known:
        raise NotFound(f"There is no lesson {name}.")
    lesson = known[name]
    return page(
        "lesson.html",
        section="lessons",
        lesson=lesson,
        text=lesson.texts[language],
        language=language,
    )
