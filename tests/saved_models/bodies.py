"""Bodies for ``/invocations`` of every kind, right and wrong ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pandas as pd

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


def bodies(frame: pd.DataFrame) -> Iterator[tuple[str, str, Any]]:
    """(case, content type, body) of every kind, over rows of ``frame``."""
    rows = json.loads(frame.to_json(orient="split", double_precision=15))
    names, data = rows["columns"], rows["data"]
    records = [dict(zip(names, row, strict=True)) for row in data]
    first, last = names[0], names[-1]

    def split(data: Any, columns: Any = names, **more: Any) -> tuple[str, Any]:
        return JSON, {"dataframe_split": {"columns": columns, "data": data, **more}}

    def changed(at: int, value: Any) -> list[Any]:
        return [[value if place == at else cell for place, cell in enumerate(data[0])], *data[1:]]

    yield ("split", *split(data))
    yield ("split of one", *split(data[:1]))
    yield ("split with index", *split(data, index=list(range(len(data)))))
    yield ("split with a short index", *split(data, index=[0]))
    yield ("split in another order, and more", *split([[9.5, *row[::-1]] for row in data], ["extra", *names[::-1]]))
    yield ("split without names", JSON, {"dataframe_split": {"data": data}})
    yield ("split lacks a column", *split([row[1:] for row in data], names[1:]))
    yield ("split lacks its data", JSON, {"dataframe_split": {"columns": names}})
    yield ("split with another key", *split(data, other=1))
    yield ("split is a list", JSON, {"dataframe_split": data})
    yield ("split with a long row", *split([[*data[0], 1.0]]))
    yield ("split with an empty row", *split([[]]))
    yield ("split without rows", *split([]))
    yield ("split with a name twice", *split(data, [first, first, *names[2:]]))
    for at, name in enumerate(names):
        for word, value in {
            "null": None,
            "text of a number": "5",
            "text": "word",
            "a fraction": 2.75,
            "a whole number": 3,
            "a huge number": 1e300,
            "true": True,
            "a list": [1],
            "an object": {"x": 1},
        }.items():
            yield (f"{name} is {word}", *split(changed(at, value)))
    yield ("records", JSON, {"dataframe_records": records})
    yield ("records, one lacks a key", JSON, {"dataframe_records": [records[0], {**records[1], first: None}]})
    yield ("records, all lack a key", JSON, {"dataframe_records": [{last: record[last]} for record in records]})
    yield ("records are an object", JSON, {"dataframe_records": records[0]})
    yield ("no records", JSON, {"dataframe_records": []})
    yield ("instances as records", JSON, {"instances": records})
    yield ("instances as an array", JSON, {"instances": data})
    yield ("instances, one lacks a key", JSON, {"instances": [records[0], {last: records[1][last]}]})
    yield ("inputs by column", JSON, {"inputs": {name: [row[at] for row in data] for at, name in enumerate(names)}})
    yield ("inputs as an array", JSON, {"inputs": data})
    yield ("inputs as records", JSON, {"inputs": records})
    yield ("inputs of one row", JSON, {"inputs": records[0]})
    yield ("inputs of one dimension", JSON, {"inputs": data[0]})
    yield ("inputs are a number", JSON, {"inputs": 5})
    yield ("inputs with ragged columns", JSON, {"inputs": {name: data[0][: at + 1] for at, name in enumerate(names)}})
    yield ("inputs with ragged rows", JSON, {"inputs": [data[0], data[1][:-1]]})
    for word, params in {
        "unknown": {"zzz": 1},
        "right": {"n": 4, "ratio": 1, "name": "y", "list": [3]},
        "a wrong type": {"n": "four"},
        "a fraction": {"n": 1.5},
        "no list": {"list": 3},
        "no object": [1],
        "null": None,
    }.items():
        yield (f"params: {word}", JSON, {"dataframe_split": {"columns": names, "data": data}, "params": params})
    yield ("two kinds of input", JSON, {"inputs": data, "instances": data})
    yield ("no kind of input", JSON, {"rows": data})
    yield ("an unknown key besides", JSON, {"dataframe_split": {"columns": names, "data": data}, "other": 1})
    yield ("a list", JSON, data)
    yield ("a number", JSON, 5)
    yield ("no JSON", JSON, b"{")
    yield ("no UTF-8", JSON, b'{"inputs": "\xff"}')
    yield ("no body", JSON, b"")
    yield ("csv", CSV, frame.to_csv(index=False).encode())
    yield ("csv without rows", CSV, ",".join(names).encode())
    yield ("csv with text", CSV, (",".join(names) + "\n" + ",".join("word" for _ in names)).encode())
    yield ("csv with a gap", CSV, (",".join(names) + "\n" + "," * (len(names) - 1)).encode())
    yield ("no csv", CSV, b"\xff\xfe\x00")
    out = BytesIO()
    frame.to_parquet(out)
    yield ("parquet", PARQUET, out.getvalue())
    out = BytesIO()
    frame.assign(**{first: range(2, len(frame) + 2)}).to_parquet(out)
    yield ("parquet with whole numbers", PARQUET, out.getvalue())
    yield ("no parquet", PARQUET, b"PAR1")
    content = json.dumps({"dataframe_split": {"columns": names, "data": data}}).encode()
    yield ("another type", "text/plain", content)
    yield ("json in another charset", JSON + "; charset=latin-1", content)
    yield ("json with charset", JSON + "; charset=utf-8", content)
    yield ("json with an odd setting", JSON + "; pandas=split", content)
