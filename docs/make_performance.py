"""Write what a run of the bench found into the docs: the table, the curves, and a sentence of
three ratios between the same two marks in README.md, where it has them.

python docs/make_performance.py [var/bench/performance.json]

The figures are kept in docs/performance.json; without a file, they are taken from there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.report import Document, curves, headline, page

DOCS = Path(__file__).resolve().parent
FIGURES = DOCS / "performance.json"
BEGIN, END = "<!-- from performance.json: begin -->", "<!-- from performance.json: end -->"


def pages(document: Document) -> dict[Path, str]:
    """The text of each page that quotes figures, with those of `document`."""
    written = {
        DOCS / "performance.md": page(document),
        DOCS.parent / "README.md": headline(document),
    }
    texts = {path: path.read_text("utf-8") for path in written}
    # README quotes figures once they are worth quoting: it then has the marks.
    return {
        path: between(text, written[path])
        for path, text in texts.items()
        if BEGIN in text or path.parent == DOCS
    }


def between(text: str, generated: str) -> str:
    """`text` with what stands between its two marks replaced."""
    head, found, rest = text.partition(BEGIN)
    _, found_end, tail = rest.partition(END)
    assert found and found_end, "the page has lost its marks"  # noqa: PT018 - one fault
    return f"{head}{BEGIN}\n{generated}\n{END}{tail}"


def pictures(document: Document) -> dict[Path, str]:
    return {DOCS / "img" / name: svg for name, svg in curves(document).items()}


def main() -> None:
    if len(sys.argv) > 1:
        FIGURES.write_text(Path(sys.argv[1]).read_text("utf-8"), "utf-8")
    document = json.loads(FIGURES.read_text("utf-8"))
    (DOCS / "img").mkdir(exist_ok=True)
    for path, text in {**pages(document), **pictures(document)}.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
