"""What a run found, as a document; and the table and curves of such a document.

The document of the last run for the docs is docs/performance.json; docs/make_performance.py
writes the pages from it.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.lines import COLUMNS, Line, Skipped, cells
from bench.svg import Axis, Series, chart

Document = dict[str, Any]
SIZE = Axis("entries in the ledger", is_log=True)


def machine(folder: Path) -> Document:
    """What the figures depend on. folder: on the disk that is measured."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "file_system": _file_system(folder),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_before": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:  # elsewhere than on Linux
        return platform.processor()
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.machine()


def _file_system(folder: Path) -> str:
    real = folder.resolve()
    mounts = {p.mountpoint: p.fstype for p in psutil.disk_partitions(all=True)}
    return next((mounts[str(p)] for p in (real, *real.parents) if str(p) in mounts), "not known")


def lines_of(document: Document) -> list[Line]:
    return [Line.from_json(line) for line in document["lines"]]


# -- the page


def page(document: Document) -> str:
    """The generated part of docs/performance.md."""
    return "\n".join([*_facts(document), "", *_table(lines_of(document)), "", *_notes(document)])


def _facts(document: Document) -> Iterator[str]:
    on = document["machine"]
    yield f"Measured on {on['date']}: {on['processor']}, {on['cpus']} cores,"
    yield f"{on['memory_gb']} GB of memory, {on['file_system']}, {on['system']},"
    yield f"Python {on['python']}, SQLite {on['sqlite']}."
    yield f"The load average before the run was {on['load_before']},"
    yield f"and the run took {document['minutes']} minutes."
    for processes, rates in document["client_processes"].items():
        yield f"With {processes} client process{'es' * (processes != '1')}, {_both(rates)}."
    yield f"The ledgers that it filled, of {_listed(document['entries'])} entries, were audited"
    yield "afterwards and are sound." if document["is_sound"] else "afterwards and ARE NOT SOUND."


def _both(rates: dict[str, float]) -> str:
    return f"the no-op answered {rates['noop']:,.0f} and Amanah {rates['ours']:,.0f} posts/s"


def _listed(sizes: Sequence[int]) -> str:
    return " and ".join(f"{size:,}" for size in sizes)


def _table(lines: Sequence[Line]) -> Iterator[str]:
    for row in (COLUMNS, ("---",) * len(COLUMNS), *map(cells, lines)):
        yield f"| {' | '.join(row)} |"


def _notes(document: Document) -> Iterator[str]:
    """What the lines include, and what was skipped."""
    for line in lines_of(document):
        if line.note:
            yield f"- **{line.what}**: {line.note}."
    for skipped in map(Skipped._make, document["skipped"]):
        yield f"- **{skipped.what}** was skipped: {skipped.why}."


# -- curves


def curves(document: Document) -> dict[str, str]:
    """name of a file -> SVG."""
    return dict([*_over_clients(document["clients"]), *_over_size(document["sizes"])])


def _over_clients(curve: dict[str, list[dict[str, float]]]) -> Iterator[tuple[str, str]]:
    names = (("Amanah", 0, "ours"), ("Flask no-op", 1, "noop"))
    asked = tuple(point["clients"] for point in curve["ours"])
    x = Axis("clients, each sending one POST after another", is_log=True, ticks=asked)

    def series(figure: str, suffix: str = "", dashed: bool = False) -> list[Series]:
        return [
            Series(f"{name}{suffix}", colour, _points(curve[key], "clients", figure), dashed)
            for name, colour, key in names
        ]

    rate = Axis("requests per second")
    yield "clients-rate.svg", chart("Durable single POSTs", x, rate, series("rate"))
    waits = [*series("p50_ms", ", p50", True), *series("p99_ms", ", p99")]
    wait = Axis("milliseconds", is_log=True)
    yield "clients-wait.svg", chart("How long a single POST waits", x, wait, waits)


def _over_size(rungs: list[dict[str, float]]) -> Iterator[tuple[str, str]]:
    for name, title, label, lines in (
        ("rate", "Posting in batches", "entries per second", (("Amanah", "entries_per_s"),)),
        ("proof", "An inclusion proof", "microseconds, p50", (("Amanah", "proof_us"),)),
        ("memory", "Memory of a whole audit", "MB at most", (("Amanah", "verify_mb"),)),
        (
            "bytes",
            "An entry on disk",
            "bytes per entry",
            (("with indexes and hashes", "bytes_per_entry"), ("its own bytes", "own_bytes")),
        ),
    ):
        series = [
            Series(series_name, colour, _points(rungs, "size", figure))
            for colour, (series_name, figure) in enumerate(lines)
        ]
        yield f"size-{name}.svg", chart(title, SIZE, Axis(label), series)


def _points(rows: list[dict[str, float]], x: str, y: str) -> list[tuple[float, float]]:
    return [(row[x], row[y]) for row in rows]


# -- the sentence of README.md


def headline(document: Document) -> str:
    """Three ratios, for those who read no further. Raises KeyError when one was not measured."""
    lines = lines_of(document)

    def ratio(prefix: str) -> str:
        for line in lines:
            if line.what.startswith(prefix):
                return f"{line.ratio:.2f}"
        raise KeyError(prefix)

    end = document["sizes"][-1]["size"]
    return (
        f"Durable single posts run at **{ratio('single POST, 64')}** times the rate of a Flask "
        "view that does nothing,\n"
        f"batches at **{ratio('batch POST of')}** times that of a raw `executemany` of the same "
        "rows,\n"
        f"and at {end:,} entries posting keeps **{ratio('batch POST, grown')}** of its rate at "
        f"{document['scale']['small']:,}.\n"
        "Each was [measured](docs/performance.md) beside its limit, in one run."
    )
