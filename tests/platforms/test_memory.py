"""What a client remembers of a ledger, so that a history that was rewritten is found out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import amanah
from amanah import Client, LogMismatch
from ledger.service import Ledger
from ledger.tlog.checkpoint import parse_checkpoint
from ledger.tlog.note import parse_note
from tests.liar import Liar, lying_before
from tests.platforms.place import OTHER_KEY, Place, made, noting, posts, resigned
from tests.simulator import Log
from tests.support import PLATFORM, donation, running_server

# -- what is remembered


def test_a_client_needs_a_key_or_a_memory(place: Place, tmp_path: Path) -> None:
    with pytest.raises(amanah.SetupError, match="give `vkey`"):
        Client(place.url, place.key, PLATFORM)
    with pytest.raises(amanah.LedgerError, match="vkey"):
        Client(place.url, place.key, PLATFORM, vkey="nonsense")


def test_the_key_is_taken_on_trust_once_and_aloud(
    place: Place, liar: Liar, tmp_path: Path, gift: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def anew() -> Client:
        return Client(liar.url, place.key, PLATFORM, memory=tmp_path / "memory")

    anew().post(gift(1))
    assert [record.message for record in caplog.records] == [
        f"the key that {liar.url} names is taken on trust: {place.vkey}"
    ]
    anew().post(gift(2))
    assert len(caplog.records) == 1
    liar.on("GET /v1/ledger", lambda t: t.saying(t.json | {"vkeys": [str(OTHER_KEY.verifier)]}))
    anew().post(gift(3))  # the first key is the one that counts
    liar.on("POST", noting(lambda note: resigned(note, OTHER_KEY)))
    with pytest.raises(LogMismatch, match="signature of the checkpoint"):
        anew().post(gift(4))
    liar.on("GET /v1/ledger", lambda told: told.saying({"vkeys": ["nonsense"]}))
    with pytest.raises(amanah.Unreachable, match="names no key"):
        anew().post(gift(5))


def test_a_ledger_that_is_rewritten_or_rolled_back_is_found_out(tmp_path: Path) -> None:
    """By the next post, in another process, though the operator signs whatever fits."""
    database, key, vkey = made(tmp_path)
    memory = tmp_path / "memory"

    def kita() -> Client:
        return Client(liar.url, key, PLATFORM, vkey=vkey, memory=memory)

    with lying_before(None) as liar:
        with running_server(database) as server:
            liar.upstream = server.url
            kita().post_batch(posts([donation(ref=f"gift-{n}") for n in range(5)]))
        ledger = Ledger.open(database)
        log = Log.of(ledger)
        ledger.close()
        before = {path.name: path.read_bytes() for path in memory.iterdir()}
        histories = {
            "rewritten": log.fork(4, amount="7"),
            "rolled back": log.copy().roll_back(5),
            "rolled back, with more of its own": log.copy()
            .roll_back(5)
            .append(PLATFORM, donation(ref="other-1"))
            .append(PLATFORM, donation(ref="other-2"))
            .append(PLATFORM, donation(ref="other-3"))
            .append(PLATFORM, donation(ref="other-4"))
            .refold()
            .seal(),
        }
        for name, history in histories.items():
            served = tmp_path / name.replace(" ", "-") / "amanah.db"
            served.parent.mkdir()
            for path in tmp_path.glob("amanah.db*"):
                if "high-water" not in path.name:
                    shutil.copy(path, served.parent)
            history.write_to(served)
            with running_server(served) as server:
                liar.upstream = server.url
                with pytest.raises(LogMismatch):
                    kita().receipt(0)
                with pytest.raises(LogMismatch) as caught:
                    kita().post(donation(ref=f"next-{len(name)}"))
            assert caught.value.compared.startswith(
                "size of the log" if name == "rolled back" else "the checkpoint of this answer"
            ), name
            assert {path.name: path.read_bytes() for path in memory.iterdir()} == before


def test_an_honest_ledger_that_grew_is_believed(place: Place, tmp_path: Path, gift: Any) -> None:
    for number in range(3):
        Client(place.url, place.key, PLATFORM, vkey=place.vkey, memory=tmp_path).post(gift(number))
    (kept,) = tmp_path.iterdir()
    size = parse_checkpoint(parse_note(kept.read_bytes().partition(b"\n")[2]).text).size
    kita = Client(place.url, place.key, PLATFORM, vkey=place.vkey, memory=tmp_path)
    assert kita.post(gift(2)).index < size
    assert kita._trust.size() >= size
