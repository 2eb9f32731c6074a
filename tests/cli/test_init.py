"""init --if-missing and its settings: what a container calls each time it starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ledger.service import Ledger
from ledger.store.files import Paths
from ledger.store.sqlite import SqliteStore
from tests.command_line import Amanah, size_of, statements_of
from tests.support import ORIGIN

AT_ONCE = 6


def test_a_ledger_that_is_missing_is_made_and_then_left_as_it_is(empty: Amanah) -> None:
    first = empty.really("init", "--if-missing", "--origin", ORIGIN)
    assert (first.code, first.out.startswith(f"{ORIGIN}+")) == (0, True)
    before = {path: path.read_bytes() for path in Paths.of(empty.database)}
    again = empty.really("init", "--if-missing", "--origin", ORIGIN)
    assert (again.code, again.out) == (0, first.out)
    assert f"{empty.database} is the ledger {ORIGIN} already; nothing was changed." in again.err
    without_name = empty("init", "--if-missing")
    assert (without_name.code, without_name.out) == (0, first.out)
    assert {path: path.read_bytes() for path in Paths.of(empty.database)} == before


@pytest.mark.parametrize("more", [("--if-missing",), ()], ids=["if missing", "plainly"])
def test_of_many_that_start_at_once_one_makes_the_ledger(
    empty: Amanah, more: tuple[str, ...]
) -> None:
    """The others find it whole: with --if-missing they say so, without they refuse."""
    processes = [
        subprocess.Popen(
            empty.command("init", *more),
            env=empty.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(AT_ONCE)
    ]
    outcomes = [(*process.communicate(), process.returncode) for process in processes]
    made = [out for out, err, _ in outcomes if "Created" in err]
    assert len(made) == 1, outcomes
    for out, err, code in outcomes:
        if "Created" not in err:
            assert (code, out) == ((0, made[0]) if more else (2, "")), err
            assert ("nothing was changed" if more else "exists already") in err
    assert size_of(empty) == 1


@pytest.mark.parametrize("is_empty", [True, False], ids=["an empty file", "tables alone"])
def test_half_a_ledger_is_refused_and_left_as_it_is(empty: Amanah, is_empty: bool) -> None:
    if is_empty:
        empty.database.touch()
    else:
        SqliteStore.create(empty.database).close()
    before = empty.database.read_bytes()
    outcome = empty("init", "--if-missing", "--origin", ORIGIN)
    assert (outcome.code, outcome.out) == (2, "")
    assert ("is not a ledger" if is_empty else "its creation was cut short") in outcome.err
    assert empty.database.read_bytes() == before
    assert not Paths.of(empty.database).log_key.exists()


def test_another_ledger_is_not_taken_for_this_one(amanah: Amanah) -> None:
    outcome = amanah("init", "--if-missing", AMANAH_ORIGIN="ledger.example/other")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"is the ledger {ORIGIN}, not ledger.example/other" in outcome.err
    assert size_of(amanah) == 3


def test_the_settings_name_a_new_ledger_and_the_options_go_before_them(
    empty: Amanah, tmp_path: Path
) -> None:
    operator = tmp_path / "operator"
    operator.write_text("Yayasan Contoh\n")
    settings = {"AMANAH_ORIGIN": ORIGIN, "AMANAH_OPERATOR_FILE": str(operator)}
    assert empty("init", **settings).code == 0
    (genesis,) = statements_of(empty)
    assert (genesis["origin"], genesis["operator"]) == (ORIGIN, "Yayasan Contoh")
    other = Amanah(tmp_path / "other")
    assert other("init", "--origin", "a.example", "--operator", "B", **settings).code == 0
    ledger = Ledger.open(other.database)
    assert (ledger.origin, ledger.operator) == ("a.example", "B")
    ledger.close()


def test_a_place_where_no_ledger_can_be_is_said(empty: Amanah, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = empty("init", AMANAH_DATABASE=str(tmp_path / "file" / "amanah.db"))
    assert (outcome.code, outcome.out) == (2, "")
    assert f"setup: {tmp_path / 'file'} cannot be used" in outcome.err
