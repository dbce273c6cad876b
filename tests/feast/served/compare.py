"""Two answers to one request, field by field and by name. What differs is in ``differences``, or is an error."""

from __future__ import annotations

from typing import Any

from tests.feast.served.requests import ON_DEMAND, Body
from tests.feast.served.servers import Reply

EPOCH = "1970-01-01T00:00:00Z"
Columns = dict[str, dict[str, list[Any]]]
_COMPUTED = {name for names, _ in ON_DEMAND.values() for name in names}


def same(ours: Any, theirs: Any) -> bool:
    """Equal, and of the same JSON type all the way down: 1 is not 1.0, and not true."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


def compare(body: Body, theirs: Reply, ours: Reply) -> set[str]:
    """The names of the differences. AssertionError for one that has no name."""
    failed = _failure(body, theirs) if theirs.status != 200 else set()
    if ours.status != 200:
        assert (ours.status, ours.code) == (422, "INVALID_ENTITIES"), ours.body
        assert "nothing that was asked for uses" in ours.json["detail"]["message"]
        return {"unused"}
    if failed:
        return failed
    assert ours.json.keys() == theirs.json.keys() == {"metadata", "results"}
    return (
        _names(body, theirs.json["metadata"], ours.json["metadata"])
        | _versions(theirs.json["metadata"], ours.json["metadata"])
        | _columns(body, theirs, ours.columns)
    )


def _failure(body: Body, theirs: Reply) -> set[str]:
    """Why Feast's server fails where ours does not."""
    assert theirs.status == 500, theirs.body
    text = theirs.body.decode()
    views = {reference.partition(":")[0] for reference in body.get("features", ())}
    if "times" in views and any(words in text for words in ("cannot mix", "Expected dict key", "extension")):
        return {"pandas beside"}
    if "expected length" in text and {"single", "times"} <= views:
        return {"singleton"}
    if "'trips'" in text and "more:trips" in body["features"]:
        return {"clash"}
    raise AssertionError(text)


def _names(body: Body, theirs: dict[str, Any], ours: dict[str, Any]) -> set[str]:
    their_names, our_names = theirs["feature_names"], ours["feature_names"]
    missing = set(their_names) - set(our_names)
    assert not missing, missing
    found = {"clash"} if len(set(their_names)) < len(their_names) else set()
    lost = set(our_names) - set(their_names)
    if lost:
        assert body.get("full_feature_names"), lost
        python = {f"{view}__{name}" for view in ("plus", "said", "single", "worth") for name in ON_DEMAND[view][0]}
        assert lost <= python, lost
        found.add("python full")
    if "features" in body:
        count = len(our_names) - len(body["features"])
        spelt = [reference.replace(":", "__").replace("@latest", "") for reference in body["features"]]
        plain = [reference.partition(":")[2] for reference in body["features"]]
        assert our_names[count:] == (spelt if body.get("full_feature_names") else plain)
    if [name for name in our_names if name not in lost] != list(dict.fromkeys(their_names)):
        found.add("order")
    return found


def _versions(theirs: dict[str, Any], ours: dict[str, Any]) -> set[str]:
    def listed(metadata: dict[str, Any]) -> list[Any]:
        return sorted(metadata.get("feature_view_metadata", []), key=lambda entry: str(entry["name"]))

    assert same(listed(ours), listed(theirs)), (ours, theirs)
    return set()


def _columns(body: Body, theirs: Reply, ours: Columns) -> set[str]:
    found = set()
    names = theirs.json["metadata"]["feature_names"]
    for name, stock in zip(names, theirs.json["results"], strict=True):
        column = ours[name]
        assert column.keys() == stock.keys() == {"values", "statuses", "event_timestamps"}
        plain = name.rpartition("__")[2]
        if plain == "twice" and len(stock["values"]) < len(column["values"]):
            found.add("singleton")
            column = {field: values[: len(stock["values"])] for field, values in column.items()}
        if names.count(name) > 1 and column["values"] != stock["values"]:
            # Which of the two columns is the one that was asked for is anybody's guess.
            assert name == "trips", name
            found.add("clash")
            continue
        if plain == "score" and _is_mixed_up(body) and column["values"] != stock["values"]:
            found.add("alias beside plain")
            continue
        if plain == "scalar_map" and any(value is not None for value in column["values"]):
            found.add("scalar map")
            assert set(map(str, stock["values"])) == {"None"}
        else:
            assert same(column["values"], stock["values"]), (name, column["values"], stock["values"])
        assert same(column["event_timestamps"], stock["event_timestamps"]), (name, column, stock)
        found |= _statuses(plain, stock, column)
    return found


def _is_mixed_up(body: Body) -> bool:
    """Whether the service wants customers twice, and the column without an alias stands last."""
    if body.get("feature_service") != "twice_aliased":
        return False
    columns = [{"customer": "customer_id"}.get(name, name) for name in body["entities"]]
    return columns.index("customer_id") > columns.index("payer")


def _statuses(plain: str, stock: dict[str, list[Any]], column: dict[str, list[Any]]) -> set[str]:
    assert set(stock["statuses"]) <= {"PRESENT"}
    found = set()
    for value, status, moment in zip(column["values"], column["statuses"], column["event_timestamps"], strict=True):
        if status == "NOT_FOUND":
            assert (value, moment) == (None, EPOCH)
            found.add("not found")
        elif status == "NULL_VALUE":
            assert value is None
            found.add("null computed" if plain in _COMPUTED else "null")
        elif status == "OUTSIDE_MAX_AGE":
            assert moment != EPOCH
            found.add("too old")
        else:
            assert status == "PRESENT"
    return found
