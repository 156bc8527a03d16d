"""Reads a result stream of trivec with pyarrow and compares it with the NDJSON of the same job.

Maintainer's check: pip install pyarrow, then
  curl -s URL/jobs/ID/results > r.ndjson
  curl -s -H 'Accept: application/vnd.apache.arrow.stream' URL/jobs/ID/results > r.arrow
  python3 scripts/check_arrow.py r.arrow r.ndjson
Also takes the Arrow file of a single shard. Exits non-zero when anything differs.
"""

import json
import sys

import pyarrow as pa

TYPES = {
    "id": pa.string(),
    "chunk": pa.int32(),
    "tokens": pa.int32(),
    "sparse": pa.struct(
        [
            pa.field("indices", pa.list_(pa.field("item", pa.uint32(), False)), False),
            pa.field("values", pa.list_(pa.field("item", pa.float32(), False)), False),
        ]
    ),
}


def read(path: str) -> pa.Table:
    with open(path, "rb") as file:
        data = file.read()
    opener = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
    return opener(data).read_all()


def check_type(field: pa.Field) -> None:
    if field.name == "dense":
        ok = pa.types.is_fixed_size_list(field.type) and field.type.value_type == pa.float32()
    elif field.name == "colbert":
        ok = pa.types.is_fixed_size_list(field.type.value_type)
        ok = ok and field.type.value_type.value_type == pa.float16()
    else:
        ok = field.type == TYPES[field.name]
    assert ok, f"{field.name} has type {field.type}"


def same(a: float, b: float) -> bool:
    return pa.scalar(a, pa.float32()) == pa.scalar(b, pa.float32())


def main(arrow_path: str, ndjson_path: str) -> None:
    table = read(arrow_path)
    table.validate(full=True)
    for field in table.schema:
        check_type(field)
    with open(ndjson_path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert table.num_rows == len(lines), f"{table.num_rows} rows, {len(lines)} lines"
    for row, line in zip(table.to_pylist(), lines):
        assert list(row) == list(line), f"columns {list(row)}, fields {list(line)}"
        for name in ("id", "chunk", "tokens"):
            assert row[name] == line[name], f"{name}: {row[name]} and {line[name]}"
        if "dense" in row:
            values = zip(row["dense"], line["dense"], strict=True)
            assert all(same(a, b) for a, b in values), f"dense of {row['id']}"
        if "sparse" in row:
            assert row["sparse"]["indices"] == line["sparse"]["indices"], f"sparse of {row['id']}"
            values = zip(row["sparse"]["values"], line["sparse"]["values"], strict=True)
            assert all(same(a, b) for a, b in values), f"sparse of {row['id']}"
        if "colbert" in row:
            assert len(row["colbert"]) == len(line["colbert"]), f"colbert of {row['id']}"
            for a, b in zip(row["colbert"], line["colbert"]):
                assert all(same(float(x), y) for x, y in zip(a, b, strict=True)), f"colbert of {row['id']}"
    print(f"{len(lines)} rows are equal; columns {', '.join(table.schema.names)}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
