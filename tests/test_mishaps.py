"""What goes wrong around a ledger: nothing is told to be sealed that is not, and the error says
what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger.audit import Known, audit
from ledger.config import Config
from ledger.errors import SetupError, Unavailable
from ledger.service import Ledger
from ledger.store import transaction
from ledger.store.files import write_private
from ledger.tlog.policy import Policy
from tests.support import PLATFORM, donation, fund


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """A ledger with the fund `air` and one gift."""
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air"), donation()])
    return ledger


def sound(ledger: Ledger) -> int:
    """Audit all of it, with what was handed out; its size."""
    heads = [Known(*head) for head in ledger.store.heads()]
    return audit(ledger.store, Policy.for_key(ledger.vkeys[0]), heads).checkpoint.size


class Bug(Exception):
    """Something that nobody foresaw."""


def fails(*_: object) -> int:
    raise Bug


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_mark_that_cannot_be_written_leaves_nothing_acknowledged(
    filled: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same post goes through, once, when there is room again."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(Unavailable, match="send the same post again"):
            filled.post(PLATFORM, [donation(ref="again")])
    (sealed,) = filled.post(PLATFORM, [donation(ref="again")]).entries
    assert sealed.index == 4
    assert filled.post(PLATFORM, [donation(ref="again")]).all_replayed
    assert sound(filled) == 5


def test_a_bug_while_sealing_is_no_answer_and_no_harm(
    filled: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails)
        with pytest.raises(Bug):
            filled.post(PLATFORM, [donation(ref="again")])
    assert filled.post(PLATFORM, [donation(ref="again")]).entries[0].index == 4
    assert sound(filled) == 5


def test_a_database_that_cannot_be_read_is_unavailable(filled: Ledger) -> None:
    """Not a page of it, while it is open: no answer is made up."""
    database = filled.store.paths.database
    filled.close()
    other = Ledger.open(database)
    database.write_bytes(database.read_bytes()[:4096] + b"\xff" * 40_000)
    with pytest.raises(Unavailable, match="could not be read"):
        other.store.entries(0, 4)
    other.close()


def test_a_key_that_lies_there_is_never_overwritten(tmp_path: Path) -> None:
    write_private(tmp_path / "key", "secret")
    with pytest.raises(SetupError, match="never overwritten"):
        write_private(tmp_path / "key", "another")
    assert (tmp_path / "key").read_text() == "secret"


def test_what_is_no_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "amanah.db").mkdir()
    with pytest.raises(SetupError, match="is a directory"):
        Ledger.open(tmp_path / "amanah.db")
    with pytest.raises(SetupError, match="is not the path of a file"):
        Config.from_environment({"AMANAH_DATABASE": "/"})


def test_without_the_lock_nothing_is_written(filled: Ledger) -> None:
    """A lock that cannot be taken stops the writer and no reader."""
    paths = filled.store.paths
    filled.close()
    paths.lock.unlink()
    paths.lock.mkdir()
    other = Ledger.open(paths.database)
    assert sound(other) == 4
    with pytest.raises(SetupError, match="cannot be opened"):
        other.post(PLATFORM, [donation(ref="again")])
    assert sound(other) == 4
    other.close()


def test_more_funds_than_are_kept_at_hand_add_up(
    filled: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "FUNDS_RECALLED", 2)
    names = [f"fund-{number}" for number in range(5)]
    filled.post(PLATFORM, [fund(name) for name in names])
    for turn in range(3):
        for name in names:
            filled.post(PLATFORM, [donation(name, f"{name}-{turn}")])
    assert sound(filled) == 4 + 5 + 15
