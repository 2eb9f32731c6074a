"""docs/exports.md: its commands run, and its tables are those of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ledger.exports.grants import _UNKNOWN_CURRENCIES
from ledger.exports.hledger import _ACCOUNTS
from ledger.exports.iati_codes import ORGANISATION_TYPES
from ledger.exports.table import COLUMNS
from tests.test_docs import DOCS, Shell, checkout, code, pattern, section, settings, table, tour

__all__ = ["checkout"]  # a fixture
PAGE = (DOCS / "exports.md").read_text("utf-8")


def test_the_commands_of_the_page(checkout: Path) -> None:
    if shutil.which("hledger") is None:
        assert not os.environ.get("CI"), "hledger is not installed"
        pytest.skip("hledger is not installed")
    environment = settings(checkout)
    demo = environment | {"AMANAH_DATABASE": str(checkout / "var/demo/amanah.db")}
    amanah = checkout / ".venv/bin/amanah"
    subprocess.run([amanah, "demo"], env=demo, check=True, capture_output=True)
    steps = list(tour(PAGE, "exports"))
    assert len(steps) == 5
    with Shell(checkout, environment) as shell:
        shell.run(". .venv/bin/activate")
        for step in steps:
            status, output = shell.run(step.commands)
            assert status == step.code, f"{step.commands}\n{output}"
            assert pattern(step.output).search(output), f"{step.commands}\n{output}"


def test_the_columns_are_those_of_the_code() -> None:
    assert [code(name) for name, _ in table(section(PAGE, "csv"))] == COLUMNS


def test_the_accounts_are_those_of_the_code() -> None:
    assert [code(name) for name, _ in table(section(PAGE, "hledger"))] == _ACCOUNTS


def test_the_types_of_organisations_are_those_of_the_code() -> None:
    rows = dict(table(section(PAGE, "iati")))
    found = re.findall(r"(\d\d) (\w+)", rows["type of an organisation"])
    assert found == [*((c, kind) for kind, c in ORGANISATION_TYPES.items()), ("90", "all")]


def test_the_currencies_that_are_left_out_are_named() -> None:
    assert f"({', '.join(sorted(_UNKNOWN_CURRENCIES))})" in section(PAGE, "360giving")
