"""Reading, listing and deleting datasets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fastapi.testclient import TestClient
from house_api import houses_csv, resources_of, submit, upload


def test_a_dataset_is_found_by_id_and_as_the_latest(client: TestClient) -> None:
    first, second = upload(client), upload(client, houses_csv(rows=30))

    assert client.get(f"/v1/datasets/{first['id']}").json() == first
    assert client.get("/v1/datasets/latest").json() == second
    assert client.get("/v1/datasets/ds_none").status_code == 404


def test_there_is_no_latest_at_first(client: TestClient) -> None:
    response = client.get("/v1/datasets/latest")

    assert response.status_code == 404
    assert "POST /v1/datasets" in response.json()["detail"]


def test_pages_are_newest_first(client: TestClient) -> None:
    ids = [upload(client, houses_csv(rows))["id"] for rows in (20, 21, 22)]

    first = client.get("/v1/datasets", params={"limit": 2}).json()
    second = client.get("/v1/datasets", params={"limit": 2, "after": first["next"]}).json()

    assert [dataset["id"] for dataset in first["data"]] == [ids[2], ids[1]]
    assert (first["has_more"], first["next"]) == (True, ids[1])
    assert [dataset["id"] for dataset in second["data"]] == [ids[0]]
    assert (second["has_more"], second["next"]) == (False, None)


def test_a_list_says_of_each_table_how_large_it_is(client: TestClient) -> None:
    """Its columns may be thousands."""
    dataset = upload(client)

    [listed] = client.get("/v1/datasets").json()["data"]

    assert set(listed) == {"id", "name", "sha256", "bytes", "rows", "created_at"}
    assert listed.items() <= dataset.items()


def test_the_content_is_what_was_uploaded(client: TestClient) -> None:
    text = houses_csv().replace("\n", "\r\n")
    dataset = upload(client, text)

    response = client.get(f"/v1/datasets/{dataset['id']}/content")

    assert response.content == text.encode()
    assert response.headers["Content-Type"].startswith("text/csv")
    assert response.headers["Content-Length"] == str(len(text))
    assert "attachment" in response.headers["Content-Disposition"]


def test_deleting_takes_the_files_too(client: TestClient) -> None:
    dataset = upload(client)

    assert client.delete(f"/v1/datasets/{dataset['id']}").status_code == 204

    assert client.get(f"/v1/datasets/{dataset['id']}").status_code == 404
    assert list((resources_of(client).settings.root / "storage" / "datasets").iterdir()) == []
    again = upload(client)
    assert again["id"] != dataset["id"]
    assert client.get("/v1/datasets/latest/content").text == houses_csv()


def test_deleting_a_dataset_while_jobs_are_submitted(both_clients: TestClient) -> None:
    spec = {"target": "Price"}
    statuses: set[tuple[int, int]] = set()
    for rows in range(20, 30):
        dataset_id = upload(both_clients, houses_csv(rows))["id"]
        with ThreadPoolExecutor(2) as pool:
            submitted = pool.submit(
                both_clients.post, "/v1/jobs", json=spec | {"dataset_id": dataset_id}
            )
            deleted = pool.submit(both_clients.delete, f"/v1/datasets/{dataset_id}")
        statuses.add((submitted.result().status_code, deleted.result().status_code))

    assert statuses <= {(202, 409), (404, 204), (409, 204)}


def test_a_dataset_that_jobs_refer_to_stays(client: TestClient) -> None:
    dataset, job = upload(client), submit(client)
    client.post(f"/v1/jobs/{job['id']}/cancel")

    response = client.delete(f"/v1/datasets/{dataset['id']}")

    assert response.status_code == 409
    assert job["id"] in response.json()["detail"]
    assert client.get(f"/v1/datasets/{dataset['id']}/content").text == houses_csv()


AMBIGUOUS = "Area;Price\n" + "\n".join(f"{i}.{i:03};{100 + i}" for i in range(100, 140)) + "\n"


def test_marks_settle_what_can_be_read_in_two_ways(client: TestClient) -> None:
    """The same bytes with other marks are another dataset, by query and by form alike."""
    plain = upload(client, AMBIGUOUS)
    marks = {"decimal": ",", "thousands": "."}
    grouped, again = (
        client.post(
            "/v1/datasets",
            params=marks,
            content=AMBIGUOUS,
            headers={"Content-Type": "text/csv"},
        )
        for _ in range(2)
    )
    form = client.post("/v1/datasets", data=marks, files={"file": AMBIGUOUS.encode()})

    assert (grouped.status_code, again.status_code, form.status_code) == (201, 200, 200)
    assert grouped.json()["id"] == again.json()["id"] == form.json()["id"] != plain["id"]
    assert plain["columns"][0]["storage"] == "text"
    assert "?decimal=,&thousands=." in plain["warnings"][0]["detail"]
    assert grouped.json()["columns"][0]["max"] == 139_139
    assert upload(client, AMBIGUOUS)["id"] == plain["id"]


def test_a_field_of_the_form_that_is_left_empty_was_not_given(client: TestClient) -> None:
    empty = {"name": "", "decimal": "", "thousands": "", "separator": ""}
    file = {"file": ("flats.csv", AMBIGUOUS.encode())}
    form = client.post("/v1/datasets", data=empty, files=file)
    assert form.status_code == 201
    assert form.json()["name"] == "flats.csv"
    assert form.json()["id"] == upload(client, AMBIGUOUS)["id"]


def test_marks_that_are_none(client: TestClient) -> None:
    def status(**given: str) -> int:
        query = client.post(
            "/v1/datasets",
            params=given,
            content=AMBIGUOUS,
            headers={"Content-Type": "text/csv"},
        )
        form = client.post("/v1/datasets", data=given, files={"file": AMBIGUOUS.encode()})
        assert query.status_code == form.status_code
        return form.status_code

    assert (
        status(decimal="x") == status(thousands="..") == status(decimal=".", thousands=".") == 422
    )


def test_a_target_that_could_be_read_in_two_ways_is_refused_with_the_remedy(
    client: TestClient,
) -> None:
    dataset = upload(client, AMBIGUOUS)

    response = client.post(
        "/v1/jobs:validate", json={"dataset_id": dataset["id"], "target": "Area"}
    )

    [error] = response.json()["errors"]
    assert error["pointer"] == "/target"
    assert "?decimal=,&thousands=." in error["detail"]


TWO_SEPARATORS = "area, m2;price, kEUR\n" + "128,9;315,2\n147,9;340,8\n" * 10


def test_a_separator_settles_a_table_that_two_fit(client: TestClient) -> None:
    csv = {"Content-Type": "text/csv"}
    refused = client.post("/v1/datasets", content=TWO_SEPARATORS, headers=csv)
    query = client.post("/v1/datasets?separator=;", content=TWO_SEPARATORS, headers=csv)
    data = {"separator": ";"}
    form = client.post("/v1/datasets", data=data, files={"file": TWO_SEPARATORS.encode()})

    assert refused.status_code == 422
    assert "with ?separator=, or ?separator=;" in refused.json()["detail"]
    assert (query.status_code, form.status_code) == (201, 200)
    assert [column["name"] for column in query.json()["columns"]] == ["area, m2", "price, kEUR"]
    for separator in ("a", ";;", '"', "%0A", "é"):
        path = f"/v1/datasets?separator={separator}"
        assert client.post(path, content=TWO_SEPARATORS, headers=csv).status_code == 422
