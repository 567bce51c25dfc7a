"""Tables as they are kept: read by groups of rows, and refused where they are damaged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.tables import stored
from models.tables.stored import TableDamaged, ingest, read_first
from models.tables.table import Limits


@pytest.mark.parametrize("group_rows", [7, 1_000])
@pytest.mark.parametrize("rows", [1, 10, 21, 100])
def test_the_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int, rows: int
) -> None:
    """Whatever the groups are: those of an earlier version are larger than what is asked for."""
    monkeypatch.setattr(stored, "BATCH_ROWS", 7)
    whole = pa.table({"a": range(30), "b": map(str, range(30)), "c": range(30)})
    pq.write_table(whole, tmp_path / "t.parquet", row_group_size=group_rows)
    read = read_first(tmp_path / "t.parquet", ["c", "b"], rows)
    assert read.equals(whole.select(["c", "b"]).slice(0, rows))


def test_tables_are_stored_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "GROUP_ROWS", 40)
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{n},x\n" for n in range(100)))
    ingest(tmp_path / "t.csv", tmp_path / "t.parquet", Limits(1_000, 10))
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 3


def test_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(TableDamaged):
        read_first(path, ["a"], 1)
    pq.write_table(pa.table({"a": range(9_000)}), path, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(TableDamaged, match="CRC"):
        read_first(path, ["a"], 9_000)
