"""What is remembered of models' names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.registry import names, repository
from app.registry.names import ModelNames
from app.storage.database import Database
from app.storage.tables import Model

LONG = 3_600.0  # s


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that the database is asked for; each stands for a model of that id."""
    references: list[str] = []

    def get(_session: object, _tenant: str, reference: str) -> Model:
        references.append(reference)
        return Model(id=reference)

    monkeypatch.setattr(repository, "get", get)
    return references


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database("sqlite://")
    yield database
    database.close()


@pytest.mark.parametrize(("fresh", "times"), [(LONG, 1), (0.0, 2)])
def test_a_name_is_asked_for_again_once_it_is_not_fresh(
    database: Database,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    fresh: float,
    times: int,
) -> None:
    monkeypatch.setattr(names, "FRESH", fresh)
    known = ModelNames(database)

    assert [known.resolve("local", "champion").id for _ in range(2)] == ["champion", "champion"]
    assert len(asked) == times


def test_the_newest_model_is_always_asked_for(database: Database, asked: list[str]) -> None:
    known = ModelNames(database)

    for _ in range(2):
        known.resolve("local", "latest")
    assert asked == ["latest", "latest"]
    assert known.known("local", "latest") is None


def test_the_least_recently_used_names_make_way(
    database: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "FRESH", LONG)
    monkeypatch.setattr(names, "MOST_NAMES", 2)
    known = ModelNames(database)

    for name in ("a", "b", "a", "c"):
        known.resolve("local", name)
    assert asked == ["a", "b", "c"]
    assert [known.known("local", name) is not None for name in "abc"] == [True, False, True]
    assert known.known("another", "a") is None


def test_what_was_read_before_a_change_is_not_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "FRESH", LONG)
    known = ModelNames(database)

    def get(_session: object, _tenant: str, reference: str) -> Model:
        known.forget()  # an alias moves while its old row is on its way here
        return Model(id=reference)

    monkeypatch.setattr(repository, "get", get)
    known.resolve("local", "champion")
    assert known.known("local", "champion") is None
