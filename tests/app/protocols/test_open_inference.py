"""The Open Inference Protocol, by hand and with Triton's own client."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from house_api import serving
from protocol_rows import COLUMNS, predict

from app.settings import Settings

INFER = "/v2/models/champion/infer"
AREA = {"name": "Area", "shape": [3], "datatype": "FP64", "data": COLUMNS["Area"]}
QUALITY = {"name": "Quality", "shape": [3], "datatype": "INT64", "data": COLUMNS["Quality"]}
ZONE = {"name": "Zone", "shape": [3], "datatype": "BYTES", "data": COLUMNS["Zone"]}
TENSORS = [AREA, QUALITY, ZONE]


def outputs_of(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"] for output in response.json()["outputs"]}


def texts(*cells: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(cell)) + cell for cell in cells)


def binary(name: str, datatype: str, rows: int, size: int) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"name": name, "shape": [rows], "datatype": datatype, "parameters": parameters}


def post_binary(client: TestClient, document: dict[str, Any], data: bytes) -> Any:
    head = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return client.post(INFER, content=head + data, headers=headers)


def test_tensors_cost_what_predict_says(client: TestClient) -> None:
    flat = client.post(INFER, json={"inputs": TENSORS, "id": "q7"})
    nested = [{**t, "shape": [3, 1], "data": [[cell] for cell in t["data"]]} for t in TENSORS]

    assert outputs_of(flat) == predict(client)
    assert outputs_of(client.post(INFER, json={"inputs": nested})) == predict(client)
    document = flat.json()
    model_id = client.get("/v1/models/champion").json()["id"]
    assert (document["id"], document["model_name"]) == ("q7", "champion")
    assert document["model_version"] == model_id
    assert [(o["datatype"], o["shape"]) for o in document["outputs"]] == [
        *[("FP64", [3])] * 3,
        ("BYTES", [3]),
    ]
    by_id = client.post(f"/v2/models/{model_id}/infer", json={"inputs": TENSORS})
    assert outputs_of(by_id) == outputs_of(flat)


def test_a_column_that_is_left_out_is_warned_of(client: TestClient) -> None:
    answer = client.post(INFER, json={"inputs": [QUALITY, ZONE]})

    assert outputs_of(answer)["warnings"][0] == ""
    assert answer.json()["parameters"] == {
        "target": "Price",
        "unit": "%E2%82%AC",
        "alias": "champion",
        "missing_columns": "Area",
    }


def test_outputs_and_parameters_are_asked_for(client: TestClient) -> None:
    chosen = [{"name": "high"}, {"name": "value"}]
    body = {"inputs": TENSORS, "outputs": chosen, "parameters": {"coverage": 0.5, "priority": 1}}
    refused = client.post(INFER, json={"inputs": TENSORS, "parameters": {"on_unknown": "error"}})

    answer = outputs_of(client.post(INFER, json=body))
    assert [*answer] == ["high", "value"]
    assert answer["high"] == predict(client, coverage=0.5)["high"]
    assert refused.status_code == 400
    assert "row 2, column Zone" in refused.json()["error"]


def test_bytes_in_and_out(client: TestClient) -> None:
    areas = np.array([100.125, 1e4, np.nan]).tobytes()
    zones = texts(b"south", b"west", b"")
    inputs = [
        binary("Area", "FP64", 3, len(areas)),
        QUALITY,
        binary("Zone", "BYTES", 3, len(zones)),
    ]
    outputs = [{"name": "value", "parameters": {"binary_data": True}}, {"name": "warnings"}]
    expected = predict(client)

    as_json = post_binary(client, {"inputs": inputs}, areas + zones)
    mixed = post_binary(client, {"inputs": inputs, "outputs": outputs}, areas + zones)
    everything = client.post(
        INFER, json={"inputs": TENSORS, "parameters": {"binary_data_output": True}}
    )

    assert outputs_of(as_json) == expected
    size = int(mixed.headers["Inference-Header-Content-Length"])
    value, warnings = json.loads(mixed.content[:size])["outputs"]
    assert mixed.headers["Content-Type"] == "application/octet-stream"
    assert value["parameters"] == {"binary_data_size": 24}
    assert "data" not in value
    assert warnings["data"] == expected["warnings"]
    assert np.frombuffer(mixed.content[size:]).tolist() == expected["value"]
    size = int(everything.headers["Inference-Header-Content-Length"])
    numbers = np.frombuffer(everything.content[size : size + 72]).reshape(3, 3)
    assert numbers.tolist() == [expected[name] for name in ("value", "low", "high")]
    expected_texts = texts(*(text.encode() for text in expected["warnings"]))
    assert everything.content[size + 72 :] == expected_texts


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [("BOOL", "?"), ("INT8", "<i1"), ("UINT16", "<u2"), ("INT32", "<i4"), ("FP32", "<f4")],
)
def test_numbers_of_every_width(client: TestClient, datatype: str, dtype: str) -> None:
    data = np.array([1, 0], dtype).tobytes()
    answer = post_binary(client, {"inputs": [binary("Quality", datatype, 2, len(data))]}, data)

    warned = datatype == "BOOL"  # true is no number of rooms
    first, second = outputs_of(answer)["value"]
    assert first - second == (0 if warned else 500)
    assert ("not_a_number" in outputs_of(answer)["warnings"][0]) is warned


def test_long_tensors_are_priced_in_order(client: TestClient) -> None:
    areas = np.arange(9_000, dtype="<f8")
    answer = post_binary(
        client, {"inputs": [binary("Area", "FP64", 9_000, 72_000)]}, areas.tobytes()
    )
    document = {"rows": [{"Area": area} for area in areas.tolist()]}

    expected = client.post("/v1/predict", json=document).json()["predictions"]
    assert outputs_of(answer)["value"] == [row["value"] for row in expected]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no inputs": ({"inputs": []}, "/inputs"),
    "none at all": ({}, "/inputs"),
    "a tensor twice": ({"inputs": [AREA, AREA]}, "'Area' is in the request twice"),
    "another datatype": ({"inputs": [{**AREA, "datatype": "BF16"}]}, "got 'BF16'"),
    "texts as numbers": ({"inputs": [{**AREA, "data": ["1", 2, 3]}]}, "'Area' is FP64"),
    "truths as integers": ({"inputs": [{**QUALITY, "data": [True, 2, 3]}]}, "'Quality' is INT64"),
    "fractions as integers": ({"inputs": [{**QUALITY, "data": [1.5, 2, 3]}]}, "integers"),
    "numbers as texts": ({"inputs": [AREA, {**ZONE, "data": [1, 2, 3]}]}, "'Zone' is BYTES"),
    "lists in lists": ({"inputs": [{**AREA, "data": [[[1]], 2, 3]}]}, "'Area' is FP64"),
    "too few cells": ({"inputs": [{**AREA, "data": [1, 2]}]}, "as its shape says, got 2"),
    "no cells": ({"inputs": [{**AREA, "data": None}]}, "'Area' has neither data"),
    "unequal lengths": (
        {"inputs": [AREA, {**QUALITY, "shape": [2], "data": [1, 2]}]},
        "'Quality' must be of shape [3] or [3, 1]",
    ),
    "a matrix": ({"inputs": [{**AREA, "shape": [1, 3]}]}, "'Area' must be of shape"),
    "a scalar": ({"inputs": [{**AREA, "shape": []}]}, "'Area' must be of shape"),
    "no rows": ({"inputs": [{**AREA, "shape": [0], "data": []}]}, "no rows"),
    "a huge shape": ({"inputs": [{**AREA, "shape": [2**62]}]}, "as its shape says, got 3"),
    "an endless shape": ({"inputs": [{**AREA, "shape": [10**400]}]}, "/inputs/0/shape/0"),
    "a negative shape": ({"inputs": [{**AREA, "shape": [-1]}]}, "/inputs/0/shape/0"),
    "another output": ({"inputs": [AREA], "outputs": [{"name": "y"}]}, "got 'y'"),
    "an output twice": ({"inputs": [AREA], "outputs": [{"name": "low"}] * 2}, "'low' twice"),
    "bytes without a header": (
        {"inputs": [binary("Area", "FP64", 3, 24)]},
        "24 bytes, got 0",
    ),
    "a coverage of all": ({"inputs": [AREA], "parameters": {"coverage": 1}}, "coverage"),
    "none of the columns": ({"inputs": [{**AREA, "name": "x"}]}, "none of the columns"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_name_the_tensor(client: TestClient, case: str) -> None:
    document, named = WRONG[case]
    response = client.post(INFER, json=document)

    assert response.status_code == 400, response.text
    assert [*response.json()] == ["error"]
    assert named in response.json()["error"]


LIES: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "too short": (binary("Area", "FP64", 3, 24), bytes(16), "must have 24 bytes, got 16"),
    "too long": (binary("Area", "FP64", 3, 24), bytes(32), "The last 8 bytes of the body"),
    "another size": (binary("Area", "FP64", 3, 16), bytes(16), "which takes 24 bytes"),
    "a huge shape": (binary("Area", "FP64", 2**62, 24), bytes(24), "bytes, got 24"),
    "a negative size": (binary("Area", "FP64", 3, -1), b"", "binary_data_size"),
    "a text without an end": (
        binary("Zone", "BYTES", 1, 8),
        struct.pack("<I", 2**32 - 1) + b"abcd",
        "'Zone' ends in the middle of its text 1",
    ),
    "half a length": (binary("Zone", "BYTES", 2, 6), texts(b"") + b"\0\0", "its text 2"),
    "too many texts": (
        binary("Zone", "BYTES", 1, 8),
        texts(b"", b""),
        "as its shape says, got 2",
    ),
    "texts in latin-1": (binary("Zone", "BYTES", 1, 5), texts(b"\xe9"), "not UTF-8"),
}


@pytest.mark.parametrize("case", LIES)
def test_lengths_that_lie_are_told(client: TestClient, case: str) -> None:
    tensor, data, named = LIES[case]
    response = post_binary(client, {"inputs": [tensor]}, data)

    assert response.status_code == 400, response.text
    assert named in response.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "", "9" * 5000, "1000", "3"])
def test_a_header_that_lies_is_told(client: TestClient, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    response = client.post(INFER, content=b'{"inputs": []}', headers=headers)

    assert response.status_code == 400
    assert [*response.json()] == ["error"]


def test_a_member_that_a_tensor_has_twice_is_told(client: TestClient) -> None:
    content = b'{"inputs": [{"name": "Area", "shape": [1], "shape": [1], "data": [1]}]}'
    response = client.post(INFER, content=content.replace(b'"data"', b'"datatype": "FP64", "data"'))

    assert response.status_code == 400
    assert "/inputs/0/shape occurs twice" in response.json()["error"]


@pytest.mark.parametrize("content", [b"", b"x", b"\xff", b"[" * 50_000, b'{"inputs": [{'])
def test_what_is_no_json_is_told(client: TestClient, content: bytes) -> None:
    response = client.post(INFER, content=content)

    assert response.status_code == 400
    assert "not JSON" in response.json()["error"]


def test_requests_above_a_limit_are_refused(client: TestClient) -> None:
    data = bytes(10_001)
    rows = post_binary(client, {"inputs": [binary("Area", "INT8", 10_001, len(data))]}, data)
    large = client.post(INFER, content=bytes(200_001))

    assert rows.status_code == large.status_code == 413
    assert "max_predict_rows" in rows.json()["error"]
    assert "max_body_bytes" in large.json()["error"]


def test_many_faults_cost_little(settings: Settings) -> None:
    """Each would have been a finding of a kilobyte."""
    many: list[Any] = [{}] * 10_000
    bodies = [{"inputs": many}, {"inputs": [AREA], "outputs": many}, {"inputs": [{"shape": many}]}]
    with serving(settings) as client:
        for body in bodies:
            response = client.post(INFER, json=body)
            assert response.status_code == 400
            assert len(response.text) < 1000


def test_server_and_model_describe_themselves(client: TestClient) -> None:
    server = client.get("/v2").json()
    model = client.get("/v2/models/champion").json()

    assert server["name"] == "foldhouse"
    assert server["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/champion/ready").json() == {"name": "champion", "ready": True}
    assert model["versions"] == [client.get("/v1/models/champion").json()["id"]]
    assert model["inputs"] == [
        {"name": "Area", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "Quality", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "Zone", "datatype": "BYTES", "shape": [-1, 1]},
    ]
    assert [output["name"] for output in model["outputs"]] == ["value", "low", "high", "warnings"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/champion/versions/1", 404),
        ("POST", "/v2/repository/index", 404),
        ("GET", INFER, 405),
    ],
)
def test_what_is_not_offered_is_told_as_the_protocol_does(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert path in answer.json()["error"]


@pytest.mark.parametrize("path", ["/v2/models/nobody", "/v2/models/nobody/ready"])
def test_another_model_is_not_found(client: TestClient, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 404
    assert "nobody" in response.json()["error"]


@pytest.mark.parametrize("as_bytes", [True, False])
def test_tritons_client_is_answered(client: TestClient, port: int, as_bytes: bool) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="needs [clients]")
    from tritonclient.utils import InferenceServerException

    def tensor(name: str, cells: np.ndarray[Any, Any], datatype: str) -> Any:
        found = triton.InferInput(name, [*cells.shape], datatype)
        found.set_data_from_numpy(cells, binary_data=as_bytes)
        return found

    inputs = [
        tensor("Area", np.array([[100.125], [1e4], [np.nan]]), "FP64"),
        tensor("Quality", np.array([3, -1, np.nan]), "FP64"),
        tensor("Zone", np.array(["south", "west", ""], object), "BYTES"),
    ]
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as server:
        assert server.is_server_live()
        assert server.is_server_ready()
        assert server.is_model_ready("champion")
        assert not server.is_model_ready("nobody")
        assert server.get_server_metadata()["name"] == "foldhouse"
        assert server.get_model_metadata("champion")["inputs"][2]["datatype"] == "BYTES"

        plain = server.infer("champion", inputs)
        asked = [triton.InferRequestedOutput("value", binary_data=as_bytes)]
        chosen = server.infer("champion", inputs, outputs=asked, parameters={"coverage": 0.5})
        with pytest.raises(InferenceServerException, match="'nobody'"):
            server.infer("nobody", inputs)
        with pytest.raises(InferenceServerException, match="'Area' is in the request twice"):
            server.infer("champion", [inputs[0], inputs[0]])

    expected = predict(client)
    for name in ("value", "low", "high"):
        assert plain.as_numpy(name).tolist() == expected[name]
    assert [text.decode() for text in plain.as_numpy("warnings")] == expected["warnings"]
    assert chosen.as_numpy("value").tolist() == expected["value"]
    assert chosen.as_numpy("low") is None
