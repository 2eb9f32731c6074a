"""The ground floor is pure, and its files import one way down."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ledger.tlog

FLOOR = Path(next(iter(ledger.tlog.__path__)))
# From the ground up: each file may import those before it.
ORDER = ["spelling", "merkle", "ed25519", "head", "cosignature", "note"]
ORDER += ["checkpoint", "tile", "policy", "proof"]
# No clock, disk, network, randomness or Flask among them.
ALLOWED = {
    "__future__",
    "binascii",
    "collections.abc",
    "cryptography.exceptions",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.asymmetric.mldsa",
    "dataclasses",
    "functools",
    "hashlib",
    "ledger.errors",
    "re",
    "typing",
    "unicodedata",
}


def imported(path: Path) -> set[str]:
    """The modules a file imports; `from ledger.tlog import x` counts as ledger.tlog.x."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "ledger.tlog":
            modules |= {f"ledger.tlog.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return modules


def test_every_file_has_its_place() -> None:
    assert {path.stem for path in FLOOR.glob("*.py")} == {"__init__", *ORDER}


@pytest.mark.parametrize("name", ORDER)
def test_a_file_imports_only_from_below(name: str) -> None:
    below = {f"ledger.tlog.{other}" for other in ORDER[: ORDER.index(name)]}
    assert imported(FLOOR / f"{name}.py") <= ALLOWED | below
