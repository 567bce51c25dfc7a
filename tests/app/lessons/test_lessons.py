"""GET /v1/lessons"""

from __future__ import annotations

from fastapi.testclient import TestClient

from lessons.catalogue import lessons


def test_lists_them_in_order_and_in_either_language(client: TestClient) -> None:
    known = lessons()
    for language in ("en", "zh"):
        listed = client.get("/v1/lessons", params={"language": language}).json()["data"]
        assert [one["name"] for one in listed] == [lesson.name for lesson in known]
        for lesson, one in zip(known, listed, strict=True):
            text = lesson.texts[language]
            assert one == {
                "name": lesson.name,
                "title": text.title,
                "question": text.question,
                "seconds": lesson.seconds,
            }
    assert client.get("/v1/lessons").json() == client.get("/v1/lessons?language=en").json()


def test_a_language_that_there_is_not_is_refused(client: TestClient) -> None:
    answer = client.get("/v1/lessons?language=fr")
    assert answer.status_code == 422
    assert "language" in answer.text
