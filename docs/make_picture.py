"""Make docs/receipt.svg: the real output of `amanah receipt verify`, as a terminal shows it.

    python docs/make_picture.py               the picture, from the receipt in docs/example
    python docs/make_picture.py --new-receipt first a new receipt and its policy, of a new ledger

The picture is the same every time; a new receipt has a new key and a new time, so it is made
only when the format changed.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
RECEIPT, POLICY = "docs/example/gift.tlog-proof", "docs/example/policy"
COMMAND = ("receipt", "verify", RECEIPT, "--policy", POLICY)
ORIGIN = "amanah.example/demonstration"
GIFT = "gift-0012"  # a ref of the worked example
WIDTH = 88


def run(*arguments: str) -> str:
    """What `amanah` with these arguments prints. Raises CalledProcessError when it fails."""
    code = "from ledger.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def picture() -> str:
    """The SVG. It names no font to fetch: opening it calls nobody."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(Text.assemble(("$ ", "bold green"), " ".join(("amanah", *COMMAND))))
    console.print(Text(run(*COMMAND).rstrip("\n")))
    svg = console.export_svg(title="a receipt, verified offline", unique_id="amanah-receipt")
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")


def new_receipt() -> None:
    """Seal the worked example into a ledger that is thrown away; keep one receipt of it."""
    from ledger.audit import prove_receipt
    from ledger.demo import PARTNER, PLATFORM, statements
    from ledger.service import Ledger

    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger.create(Path(directory, "amanah.db"), ORIGIN, "Amanah demonstration")
        for platform in (PLATFORM, PARTNER):
            ledger.register_platform(platform)
        for platform, statement in statements():
            ledger.post(platform, [statement])
        index = ledger.store.index_of_ref(PLATFORM, GIFT)
        assert index is not None, "the worked example holds this gift"
        key, entry_bytes = ledger.vkeys[0], ledger.store.entry_bytes(index)
        note, size = ledger.store.checkpoint(), ledger.store.size()
        node = ledger.store.nodes(size).node
        receipt = prove_receipt(entry_bytes, index, note, size, node).format()
        ledger.close()
    (ROOT / RECEIPT).write_bytes(receipt)
    (ROOT / POLICY).write_text(f"log {key}\nquorum none\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--new-receipt"]:
        new_receipt()
    (DOCS / "receipt.svg").write_text(picture(), "utf-8")
