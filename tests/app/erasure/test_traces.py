"""What holds a value is found, and nothing keeps the value that was asked for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from house_api import become, finish, houses_csv, resources_of, submit, upload
from sqlalchemy import select, update

from app.accounts.audit import Audit
from app.erasure import endpoints, traces
from app.storage.tables import Base, Dataset, Job

ANA = "ana@houses.example"


def table(column: str = "Email", first: str = ANA, more: str = "") -> str:
    """The houses with a column that names people; `first` has rows 1 and 3."""
    owners = [first, "bo@houses.example", first.upper(), *(f"c{i}@x.example" for i in range(57))]
    header, *lines = houses_csv().splitlines()
    rows = [f"{line},{owner}{more}" for line, owner in zip(lines, owners, strict=True)]
    return "\n".join([f"{header},{column}", *rows]) + "\n"


def find(client: TestClient, value: str = ANA, column: str = "Email", **query: Any) -> Any:
    sought = {"column": column, "value": value}
    answer = client.post("/v1/datasets:find", json=sought, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_rows_and_what_learnt_from_them(both_clients: TestClient, tmp_path: Path) -> None:
    client = both_clients
    resources = resources_of(client)
    upload(client)  # lacks the column
    held = upload(client, table())["id"]
    first = submit(client, dataset_id=held)["id"]
    model = finish(resources, first, tmp_path)
    other = upload(client, table(first="di@houses.example"))["id"]
    started = submit(client, dataset_id=other)["id"]
    with resources.database.writing() as session:  # as the spec of a job that starts from a model
        spec = session.scalar(select(Job.spec).where(Job.id == started))
        assert spec is not None
        session.execute(
            update(Job).where(Job.id == started).values(spec=spec | {"initialize_from": model})
        )

    found = find(client)
    assert found == {
        "data": [
            {
                "id": held,
                "name": "houses.csv",
                "rows": 2,
                "first_rows": [1, 3],
                "jobs": [
                    {"id": started, "models": []},
                    {"id": first, "models": [{"id": model, "aliases": ["champion"]}]},
                ],
                "jobs_total": 2,
            }
        ],
        "examined": 3,
        "unread": [],
        "has_more": False,
        "next": None,
    }
    client.post(f"/v1/jobs/{started}/cancel")
    for path in ("aliases/champion", f"jobs/{started}", f"jobs/{first}", f"datasets/{held}"):
        assert client.delete(f"/v1/{path}").status_code == 204
    assert find(client)["data"] == []


def test_characters_are_the_same_however_they_are_written(client: TestClient) -> None:
    upload(client, table(column="Name", first="Jose\u0301  \uff21"))
    for value in ("Jos\u00e9  A", "JOSE\u0301  a"):
        assert find(client, value, "Name")["data"][0]["first_rows"] == [1, 3]


def test_searches_wait_behind_a_few_at_most(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MOST_WAITING", 0)
    answer = client.post("/v1/datasets:find", json={"column": "Email", "value": ANA})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_numbers_and_dates_are_read_as_the_column_was(client: TestClient) -> None:
    lines = [f"{i},{1000 + i}.50 €,{i % 28 + 1:02}.03.1990" for i in range(60)]
    upload(client, "\n".join(["Id,Paid,Born", *lines]))
    rows = {
        ("Paid", "1,007.50 €"): [8],
        ("Paid", "1007.5"): [8],
        ("Paid", "seven"): [],
        ("Born", "05.03.1990"): [5, 33],
        ("Born", "1990-03-05"): [5, 33],
        ("Born", "yesterday"): [],
        ("Id", "7"): [8],
    }
    for (column, value), expected in rows.items():
        found = find(client, value, column)["data"]
        assert [row for one in found for row in one["first_rows"]] == expected, (column, value)


def test_pages_end_after_a_number_of_datasets_or_when_time_is_up(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [upload(client, table(more=str(place)))["id"] for place in range(3)]
    value = f"{ANA}1"
    page = find(client, value, limit=1)
    assert (page["data"], page["examined"], page["next"]) == ([], 1, ids[2])
    page = find(client, value, limit=1, after=page["next"])
    assert ([one["id"] for one in page["data"]], page["next"]) == ([ids[1]], ids[1])
    page = find(client, value, limit=1, after=page["next"])
    assert (page["data"], page["has_more"], page["next"]) == ([], False, None)

    monkeypatch.setattr(traces, "PATIENCE", -1.0)
    page = find(client, value)
    assert (page["examined"], page["has_more"], page["next"]) == (1, True, ids[2])


def test_a_damaged_table_is_named(client: TestClient) -> None:
    damaged, lost, whole = (upload(client, table(more=str(i)))["id"] for i in range(3))
    storage = resources_of(client).settings.root / "storage"
    with resources_of(client).database.reading() as session:
        files = {row.id: row.parquet for row in session.scalars(select(Dataset))}
    (storage / files[damaged]).write_bytes(b"no table")
    (storage / files[lost]).unlink()
    found = find(client, f"{ANA}2")
    assert [one["id"] for one in found["data"]] == [whole]
    assert found["unread"] == [lost, damaged]


def test_the_value_stays_nowhere_and_others_see_nothing(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor if it is refused; and the audit says that somebody searched."""
    caplog.set_level(logging.DEBUG)
    become(client, "mine")
    upload(client, table())
    assert find(client)["data"]
    become(client, "other")
    assert find(client) == {
        "data": [], "examined": 0, "unread": [], "has_more": False, "next": None
    }  # fmt: skip
    unsought = "eve@houses.example"
    refused = client.post("/v1/datasets:find", json={"column": "", "value": unsought})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/column")
    find(client, unsought)
    become(client, "mine", "viewer")
    sought = {"column": "Email", "value": unsought}
    assert client.post("/v1/datasets:find", json=sought).status_code == 403

    resources = resources_of(client)
    assert resources[Audit].store()
    with resources.database.reading() as session:
        rows = [
            str(row) for one in Base.metadata.sorted_tables for row in session.execute(select(one))
        ]
    assert any("/v1/datasets:find" in row for row in rows)
    assert not any(unsought in row for row in rows)
    assert "/v1/datasets:find" in caplog.text
    assert ANA not in caplog.text
    assert unsought not in caplog.text
