"""The bench measures every line, and the docs quote what it found and nothing else."""

from __future__ import annotations

import json
import os
import runpy
import sqlite3
import sys
import xml.etree.ElementTree as ET
from array import array
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import command
from bench.__main__ import measure
from bench.clients import Load
from bench.lines import Line
from bench.load import Run, posts
from bench.making import create_ledger
from bench.peers import PEERS, Race
from bench.report import curves, headline, lines_of, page
from bench.scale import SMOKE, Scale
from bench.svg import Axis, Series, chart, ticks
from tests.test_docs import section

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MAKER = runpy.run_path(str(DOCS / "make_performance.py"))
COMMITTED: Any = json.loads((DOCS / "performance.json").read_text("utf-8"))

LINES = """
single POST, 64 clients
single POST, 64 clients, p99
single POST, 1 client, p50
batch POST of 50, 2 clients
receipt GET, 32 clients
tile GET, 32 clients
bundle GET, 32 clients
single POST, 64 clients, long readers
single POST, 64 clients, long readers, p99
write-ahead log, long readers
full audit, one core
audit memory, grown ledger
full audit, two cores
batch POST, grown ledger
inclusion proof p50, grown ledger
start, grown ledger
on disk, per entry
backup, grown ledger
"""


# -- a run


def test_a_run_measures_every_line_and_the_docs_quote_such_a_run(tmp_path: Path) -> None:
    """One run on a very small scale, for all that follows from it. Peers need a network."""
    document = measure(SMOKE, (), tmp_path, lambda text: None)
    assert list(tmp_path.iterdir()) == [], "what was filled is removed"
    document = json.loads(json.dumps(document))
    assert document["is_sound"], document["problems"]
    check_lines(document)
    check_curves(document)
    assert shape(COMMITTED) == shape(document)
    assert all(f"| {line['what']} |" in page(document) for line in document["lines"])
    assert headline(document).count("**") == 6


def check_lines(document: Any) -> None:
    named = [line.what for line in lines_of(document)] + [what for what, _ in document["skipped"]]
    assert sorted(named) == sorted(LINES.strip().splitlines())
    for line in lines_of(document):
        assert line.figure > 0, line
        assert line.limit > 0, line


def check_curves(document: Any) -> None:
    for curve in document["clients"].values():
        assert [point["clients"] for point in curve] == list(SMOKE.connections)
        assert all(0 < point["p50_ms"] <= point["p99_ms"] for point in curve)
    sizes = [rung["size"] for rung in document["sizes"]]
    assert all(size >= rung for size, rung in zip(sizes, SMOKE.rungs, strict=True))
    assert sizes[-1] < SMOKE.entries + 2 * SMOKE.batch
    assert all(rung["bytes_per_entry"] > rung["own_bytes"] for rung in document["sizes"])
    assert all(ET.fromstring(svg) is not None for svg in curves(document).values())


def shape(document: Any) -> Any:
    """The keys of a document, those of the first of each list standing for all of them."""
    if isinstance(document, dict):
        by_number = all(key.isdecimal() for key in document)
        return "by number" if by_number else {key: shape(v) for key, v in document.items()}
    if isinstance(document, list):
        return [shape(document[0])] if document and isinstance(document[0], dict) else "list"
    return "value"


def test_an_audit_of_a_ledger_that_was_changed_is_an_error(tmp_path: Path) -> None:
    database = tmp_path / "changed.db"
    with closing(create_ledger(database)) as ledger:
        vkey = str(ledger.vkeys[0])
    command.amanah("verify", str(database), "--vkey", vkey, database=database)
    with closing(sqlite3.connect(database)) as connection:
        changed = "cast(replace(cast(bytes AS TEXT), 'Fund', 'Find') AS BLOB)"
        connection.execute(f'UPDATE entries SET bytes = {changed} WHERE "index" = 5')
        connection.commit()
    with pytest.raises(RuntimeError, match="log_mismatch"):
        command.amanah("verify", str(database), "--vkey", vkey, database=database)


# -- peers. A stand-in for pymerkle, which is not among what the tests install: its tree is built
# from RFC 9162 as it is written, so it has our root exactly when it was given our leaves.

STAND_IN = """
import hashlib

class SqliteTree:
    def __init__(self, path):
        self.leaves = []
    def append_entry(self, data):
        self.leaves.append(hashlib.sha256(b"\\0" + data).digest())
    def append_entries(self, entries):
        for data in entries[LOSES:]:
            self.append_entry(data)
    def get_size(self):
        return len(self.leaves)
    def get_root(self):
        return root(self.leaves)
    def prove_inclusion(self, index, size):
        assert 1 <= index <= size == len(self.leaves)

def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\\1" + root(leaves[:k]) + root(leaves[k:])).digest()
"""


def race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loses: int) -> Race:
    stand_in = STAND_IN.replace("LOSES", str(loses))
    (tmp_path / "pymerkle.py").write_text(stand_in, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return Race(tmp_path, Path(sys.executable), PEERS[:1], SMOKE)


def test_peers_append_and_prove_what_the_ledger_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(race(tmp_path, monkeypatch, loses=0)) as running:
        (turn,) = running.run()
    for rates in turn:
        assert rates.keys() == {"ledger", "pymerkle"}
        assert all(rate > 0 for rate in rates.values())


def test_a_peer_that_holds_other_leaves_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        closing(race(tmp_path, monkeypatch, loses=1)) as running,
        pytest.raises(AssertionError, match="pymerkle holds other leaves"),
    ):
        running.run()


# -- figures


@pytest.mark.parametrize(
    ("figure", "limit", "target", "is_met"),
    [
        (18.0, 10.0, "ratio >= 1.8", True),
        (17.9, 10.0, "ratio >= 1.8", False),
        (15.0, 10.0, "ratio <= 1.5", True),
        (15.1, 10.0, "ratio <= 1.5", False),
        (39.9, 1.0, "figure < 40", True),
        (40.0, 1.0, "figure < 40", False),
    ],
)
def test_a_target_is_met_from_its_bound_on(
    figure: float, limit: float, target: str, is_met: bool
) -> None:
    assert Line("x", "s", figure, "s", limit, (target,)).is_met == is_met
    assert not Line("x", "s", figure, "s", limit, (target, "figure < 0")).is_met


def test_several_client_processes_count_as_one() -> None:
    runs = [Run(2.0, array("d", [0.001] * 99)), Run(1.0, array("d", [0.005]))]
    assert Load.of(runs) == Load(rate=50, p50_ms=1, p99_ms=5)


def test_no_post_is_sent_twice() -> None:
    bodies = [post.partition(b"\r\n\r\n")[2] for post in posts("key", 3, 50)]
    refs = [e["statement"]["ref"] for body in bodies for e in json.loads(body)["entries"]]
    assert len(set(refs)) == 150


def test_the_ledger_is_looked_at_on_the_way_up_and_at_the_end() -> None:
    assert Scale().rungs == [10_000, 20_000, 50_000, 100_000, 200_000, 300_000]
    assert Scale(entries=5_000_000).rungs[-4:] == [500_000, 1_000_000, 2_000_000, 5_000_000]


# -- pictures


@given(st.floats(0.001, 1e9), st.floats(1.01, 1e6), st.booleans())
def test_ticks_hold_the_numbers_between_them(low: float, factor: float, is_log: bool) -> None:
    high = low * factor
    found = ticks(low, high, is_log)
    slack = 1e-9 * high
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert list(found) == sorted(set(found))
    assert 2 <= len(found) <= 16


def test_a_chart_has_a_place_inside_for_every_point_and_the_same_bytes_again() -> None:
    series = [Series("a & b", 0, [(1, 10), (256, 9_000)]), Series("c", 1, [(4, 1)], dashed=True)]
    drawn = chart("t", Axis("x", is_log=True), Axis("y"), series)
    assert drawn == chart("t", Axis("x", is_log=True), Axis("y"), series)
    circles = ET.fromstring(drawn).findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 3
    for circle in circles:
        assert 76 <= float(circle.attrib["cx"]) <= 640
        assert 64 <= float(circle.attrib["cy"]) <= 312


# -- the docs


def test_the_committed_run_is_sound() -> None:
    assert COMMITTED["is_sound"]


@pytest.mark.parametrize("name", ["pages", "pictures"])
def test_the_docs_quote_the_committed_run(name: str) -> None:
    for path, text in MAKER[name](COMMITTED).items():
        assert path.read_text("utf-8") == text, f"{path}; run: python docs/make_performance.py"


def test_no_picture_is_left_over() -> None:
    drawn = {path.name for path in MAKER["pictures"](COMMITTED)}
    assert {path.name for path in (DOCS / "img").iterdir()} == drawn
    shown = (DOCS / "performance.md").read_text("utf-8")
    assert all(f"](img/{name})" in shown for name in drawn)


def test_each_missed_target_is_explained_and_no_other() -> None:
    text = section((DOCS / "performance.md").read_text("utf-8"), "Missed targets")
    explained = [line[4:] for line in text.splitlines() if line.startswith("### ")]
    missed = [line.what for line in lines_of(COMMITTED) if not line.is_met]
    assert sorted(explained) == sorted(missed)
