"""`amanah verify FILE` over a database that somebody wrote to behind the ledger's back."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.service import Ledger
from ledger.store.files import Paths
from tests.command_line import Amanah
from tests.damage import copy_ledger
from tests.simulator import Log, flipped
from tests.support import ORIGIN, PLATFORM, donation, fund

SIZE = 300


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of 300 entries. Not to be changed."""
    database = tmp_path_factory.mktemp("original") / "amanah.db"
    ledger = Ledger.create(database, ORIGIN, "Tests")
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air")])
    ledger.post(PLATFORM, [donation(ref=f"gift-{n}", amount="5") for n in range(3, SIZE)])
    ledger.close()
    return database


@pytest.fixture
def amanah(original: Path, tmp_path: Path) -> Amanah:
    """The command line, at a copy of the ledger with every file that belongs to it."""
    amanah = Amanah(tmp_path)
    copy_ledger(original, amanah.database)
    return amanah


def log_of(amanah: Amanah) -> Log:
    ledger = Ledger.open(amanah.database)
    log = Log.of(ledger)
    ledger.close()
    return log


def write(amanah: Amanah, sql: str, *parameters: Any) -> None:
    with sqlite3.connect(amanah.database) as connection:
        assert connection.execute(sql, parameters).rowcount != 0, sql
    connection.close()


def read(amanah: Amanah, sql: str, *parameters: Any) -> Any:
    connection = sqlite3.connect(amanah.database)
    (value,) = connection.execute(sql, parameters).fetchone()
    connection.close()
    return value


def flip(amanah: Amanah, table: str, column: str, where: str, bit: int | None = None) -> int:
    """Flip a bit of one value, a random one if `bit` is not given; the bit."""
    value = read(amanah, f"SELECT {column} FROM {table} WHERE {where}")
    chosen = random.Random(where).randrange(len(value) * 8) if bit is None else bit
    write(amanah, f"UPDATE {table} SET {column} = ? WHERE {where}", flipped(value, chosen))
    return chosen


def found(amanah: Amanah) -> int | None:
    """The index that verifying names, the same to people and to programs."""
    told = amanah("verify", amanah.database)
    assert (told.code, told.out) == (1, "")
    document = amanah("verify", amanah.database, "--json")
    assert document.code == 1
    verdict = document.json
    assert (verdict["verdict"], verdict["code"]) == ("wrong", "log_mismatch")
    index: int | None = verdict["index"]
    where = "checkpoint" if index is None else f"index {index}"
    assert f"amanah: log_mismatch: {where}: {verdict['compared']}\n" in told.err
    for name in ("expected", "found", "meaning", "advice"):
        assert verdict[name] in told.err
    assert not amanah.state.exists()  # what is not sound is not remembered
    return index


def test_the_untouched_ledger_is_sound(amanah: Amanah) -> None:
    outcome = amanah("verify", amanah.database)
    assert outcome.code == 0
    assert outcome.out.startswith(f"SOUND: all 300 entries of {ORIGIN} are intact")
    verdict = amanah("verify", amanah.database, "--json").json
    assert (verdict["verdict"], verdict["size"], verdict["not_understood"]) == ("sound", SIZE, [])


@pytest.mark.parametrize("index", [0, 1, 2, 3, 255, 256, SIZE - 1])
def test_a_flipped_bit_of_an_entry(amanah: Amanah, index: int) -> None:
    flip(amanah, "entries", "bytes", f'"index" = {index}')
    assert found(amanah) == index


@pytest.mark.parametrize("bit", range(0, 2400, 50))
def test_any_flipped_bit_of_the_genesis(amanah: Amanah, bit: int) -> None:
    """Also where it names the key that is then taken on trust."""
    flip(amanah, "entries", "bytes", '"index" = 0', bit)
    assert found(amanah) == 0


@pytest.mark.parametrize(("level", "tile"), [(0, 0), (1, 0)])
def test_a_flipped_bit_of_a_tile(amanah: Amanah, level: int, tile: int) -> None:
    bit = flip(amanah, "tiles", "hashes", f'level = {level} AND "index" = {tile}')
    assert found(amanah) == (tile * 256 + bit // 256) * 256**level


@pytest.mark.parametrize("index", [256, 270, SIZE - 1])
def test_a_flipped_bit_of_a_hash_that_is_in_no_tile_yet(amanah: Amanah, index: int) -> None:
    flip(amanah, "entries", "leaf_hash", f'"index" = {index}')
    assert found(amanah) == index


def test_any_flipped_bit_of_the_checkpoint(amanah: Amanah) -> None:
    good = read(amanah, "SELECT checkpoint FROM head")
    codes = set()
    for bit in random.Random(5).sample(range(len(good) * 8), 40):
        note = flipped(good, bit)
        write(amanah, "UPDATE head SET checkpoint = ?", note)
        outcome = amanah("verify", amanah.database)
        assert (outcome.code, outcome.out) == (1, "")
        assert "can mean: " in outcome.err
        assert "do next:  " in outcome.err
        verdict = amanah("verify", amanah.database, "--json").json
        assert verdict["verdict"] == "wrong"
        assert verdict["meaning"]
        codes.add(verdict["code"])
    assert codes == {"malformed", "signature_invalid"}


@pytest.mark.parametrize("index", [0, 1, 100, 255, 256, SIZE - 1])
def test_a_deleted_row(amanah: Amanah, index: int) -> None:
    write(amanah, 'DELETE FROM entries WHERE "index" = ?', index)
    assert found(amanah) == index


@pytest.mark.parametrize(("one", "other"), [(0, 1), (5, 6), (7, 299), (255, 256)])
def test_two_rows_swapped(amanah: Amanah, one: int, other: int) -> None:
    for source, target in ((one, -1), (other, one), (-1, other)):
        write(amanah, 'UPDATE entries SET "index" = ? WHERE "index" = ?', target, source)
    assert found(amanah) == one


def test_a_row_too_long_to_serve(amanah: Amanah) -> None:
    write(amanah, 'UPDATE entries SET bytes = zeroblob(70000) WHERE "index" = 100')
    assert found(amanah) == 100


@pytest.mark.parametrize("table", ["entries", "tiles"])
def test_all_rows_of_a_table_deleted(amanah: Amanah, table: str) -> None:
    write(amanah, f"DELETE FROM {table}")
    assert found(amanah) == 0


def test_the_checkpoint_deleted(amanah: Amanah) -> None:
    write(amanah, "UPDATE head SET checkpoint = x''")
    assert found(amanah) is None


def test_everything_deleted(amanah: Amanah) -> None:
    for table in ("entries", "tiles", "head"):
        write(amanah, f"DELETE FROM {table}")
    assert found(amanah) == 0


def test_everything_deleted_under_a_key_that_is_known(amanah: Amanah) -> None:
    vkey = str(log_of(amanah).signer.verifier)
    for table in ("entries", "tiles", "head"):
        write(amanah, f"DELETE FROM {table}")
    outcome = amanah("verify", amanah.database, "--vkey", vkey)
    assert outcome.code == 1
    assert "log_mismatch: checkpoint: signed checkpoint" in outcome.err


@pytest.mark.parametrize("size", [SIZE - 1, 256, 4])
def test_an_older_checkpoint_in_its_place(amanah: Amanah, size: int) -> None:
    """The head beside the log still says how far it went."""
    log = log_of(amanah).roll_back(size)
    write(amanah, "UPDATE head SET checkpoint = ?", log.note)
    assert found(amanah) == size


@pytest.mark.parametrize("size", [SIZE - 1, 256, 1])
def test_an_older_ledger_in_its_place(amanah: Amanah, size: int) -> None:
    """Consistent in itself: only the high-water mark knows better."""
    log_of(amanah).roll_back(size).write_to(amanah.database)
    assert found(amanah) == size
    Paths.of(amanah.database).high_water.unlink()
    assert amanah("verify", amanah.database).code == 0


LIES: dict[str, Callable[[Log], Log]] = {
    "rewritten": lambda log: log.fork(50, amount="4"),
    "longer": lambda log: log.append(PLATFORM, donation(ref="new")).fork(50, amount="4"),
    "one entry less": lambda log: log.drop(50).refold().seal(),
    "two swapped": lambda log: log.swap(50, 51).refold().seal(),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_another_history_in_its_place(amanah: Amanah, lie: Callable[[Log], Log]) -> None:
    """As its operator could write it, key and all: only the high-water mark knows better."""
    log = lie(log_of(amanah))
    log.write_to(amanah.database)
    assert found(amanah) == min(log.size, SIZE - 1)
    Paths.of(amanah.database).high_water.unlink()
    assert amanah("verify", amanah.database).code == 0


def test_a_head_that_is_not_the_log_s(amanah: Amanah) -> None:
    flip(amanah, "head", "root", "one = 1")
    assert found(amanah) == SIZE - 1


def test_a_false_balance_sealed_by_its_operator(amanah: Amanah) -> None:
    log = log_of(amanah)
    total = log.document(200)["totals"][0]
    log.edit(200, totals=[total | {"balance": "5.00"}]).seal().write_to(amanah.database)
    assert found(amanah) == 200


def test_what_is_not_understood(amanah: Amanah) -> None:
    log = log_of(amanah).append(PLATFORM, {"type": "lottery", "ref": "r"}).seal()
    log.write_to(amanah.database)
    Paths.of(amanah.database).high_water.unlink()
    outcome = amanah("verify", amanah.database)
    assert outcome.code == 1
    assert outcome.out.startswith("NOT UNDERSTOOD: the hashes of all 301 entries")
    assert "from entry 300 on (type 'lottery')" in outcome.out
    verdict = amanah("verify", amanah.database, "--json").json
    assert verdict["verdict"] == "not_understood"
    assert verdict["not_understood"] == [[300, "type 'lottery'"]]
    assert not amanah.state.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no ledger at"), (b"no database at all, " * 100, "is not a ledger")],
    ids=["missing", "no database"],
)
def test_what_is_no_ledger(tmp_path: Path, content: bytes | None, message: str) -> None:
    amanah = Amanah(tmp_path)
    if content is not None:
        amanah.database.write_bytes(content)
    outcome = amanah("verify", amanah.database)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
