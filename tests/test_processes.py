"""Promises 1 to 4 and 6 of the writer, held by real processes that race, are killed and lie.

AMANAH_KILLS sets how often a loaded server is killed (10; CI asks for 50).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from ledger.audit import Known, audit
from ledger.entry import decode_entry, entry_hash
from ledger.errors import ClockError, LedgerError, LogMismatch, Refusal, RolledBack, Unavailable
from ledger.post import Submission, read_submission
from ledger.sequencer import Pending, Sequencer
from ledger.service import Ledger
from ledger.store.files import HighWater
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.policy import Policy
from tests.support import donation, fund, party, running_server

KILLS = int(os.environ.get("AMANAH_KILLS", "10"))


def sound(ledger: Ledger, *known: Known) -> int:
    """Audit the whole ledger against all that is known of it; its size."""
    heads = [Known(*head) for head in ledger.store.heads()]
    return audit(ledger.store, Policy.for_key(ledger.vkeys[0]), [*heads, *known]).checkpoint.size


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A ledger with one fund, closed."""
    path = tmp_path / "amanah.db"
    ledger = Ledger.create(path, "test.example/processes", "Test")
    ledger.register_platform("kita")
    ledger.post("kita", [party("yayasan"), fund("air", owner="yayasan")])
    ledger.close()
    return path


@pytest.fixture
def ledger(database: Path) -> Iterator[Ledger]:
    opened = Ledger.open(database)
    yield opened
    opened.close()


# -- racing

APPENDER = """
import json, sys, threading
from pathlib import Path
from ledger.service import Ledger
from tests.support import donation
ledger = Ledger.open(Path(sys.argv[1]))
mine, count = sys.argv[2], int(sys.argv[3])
answers = []
def post(ref):
    entry = ledger.post("kita", [donation(ref=ref)]).entries[0]
    answers.append((ref, entry.index, entry.leaf_hash.hex(), entry.replayed))
def run(thread):
    for i in range(count):
        post(f"{mine}-{thread}-{i}")
        post(f"shared-{thread}-{i}")
threads = [threading.Thread(target=run, args=(t,)) for t in range(3)]
[t.start() for t in threads]; [t.join() for t in threads]
ledger.close()
print(json.dumps(answers))
"""


def test_four_processes_append_in_one_order(database: Path) -> None:
    """No entry is lost, none stands twice, and a ref raced for is sealed by one of them."""
    count, mine = 12, ("p0", "p1", "p2", "p3")
    command = [sys.executable, "-c", APPENDER, str(database)]
    processes = [
        subprocess.Popen([*command, name, str(count)], stdout=subprocess.PIPE) for name in mine
    ]
    answers: list[tuple[str, int, str, bool]] = []
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        answers += [tuple(answer) for answer in json.loads(out)]
    places = {ref: (index, leaf) for ref, index, leaf, _ in answers}
    assert all(places[ref] == (index, leaf) for ref, index, leaf, _ in answers)
    sealed = [index for _, index, _, replayed in answers if not replayed]
    assert sorted(sealed) == list(range(4, 4 + len(places)))
    assert len(places) == 3 * count * (len(mine) + 1)
    ledger = Ledger.open(database)
    assert sound(ledger) == 4 + len(places)
    for ref, (index, leaf) in places.items():
        data = ledger.store.entry_bytes(index)
        assert decode_entry(data).statement["ref"] == ref
        assert entry_hash(data).hex() == leaf
    ledger.close()


def test_a_refused_post_leaves_those_that_ride_with_it_alone(ledger: Ledger) -> None:
    def post(number: int) -> Any:
        amount = "1000" if number % 3 else "0"
        try:
            return ledger.post("kita", [donation(ref=f"r{number}", amount=amount)])
        except Refusal as refusal:
            return refusal.code

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(post, range(120)))
    refused = [n for n, outcome in enumerate(outcomes) if outcome == "invalid_amount"]
    assert refused == list(range(0, 120, 3))
    indexes = [o.entries[0].index for o in outcomes if o != "invalid_amount"]
    assert sorted(indexes) == list(range(4, 4 + 80))
    assert sound(ledger) == 84


def test_an_answer_carries_a_checkpoint_that_covers_it(ledger: Ledger) -> None:
    sizes = []
    for number in range(5):
        sealed = ledger.post("kita", [donation(ref=f"r{number}")])
        checkpoint = open_checkpoint(sealed.checkpoint, ledger.vkeys[0])
        assert sealed.entries[0].index < checkpoint.size == ledger.store.size()
        sizes.append(checkpoint.size)
    assert sizes == sorted(set(sizes))


# -- killed


class Load:
    """Clients that post as fast as they can and note whatever was acknowledged."""

    def __init__(self, url: str, key: str, run: int) -> None:
        self.url, self.key, self.run = url, key, run
        self.acknowledged: list[tuple[str, int, str]] = []
        self.checkpoints: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(n,)) for n in range(6)]
        for thread in self._threads:
            thread.start()

    def _post(self, thread: int) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=10)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        number = 0
        while not self._stop.is_set():
            number += 1
            refs = [f"k{self.run}-{thread}-{number}-{i}" for i in range(1 + number % 3)]
            entries = [{"statement": donation(ref=ref)} for ref in refs]
            body = json.dumps({"entries": entries})
            try:
                answer = pool.request("POST", f"{self.url}/v1/entries", body=body, headers=headers)
            except urllib3.exceptions.HTTPError:
                return  # the server is gone; what it did not answer was not acknowledged
            if answer.status == 201:
                document = answer.json()
                for ref, entry in zip(refs, document["entries"], strict=True):
                    self.acknowledged.append((ref, entry["index"], entry["leaf_hash"]))
                self.checkpoints.append(document["checkpoint"])

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_kill_9_under_load_loses_nothing_acknowledged(database: Path) -> None:
    """After each kill everything acknowledged is there, the audit is sound, it starts again."""
    random_moment = random.Random(20261124)
    ledger = Ledger.open(database)
    key = ledger.create_key("kita").key
    log_key = ledger.vkeys[0]
    ledger.close()
    acknowledged = 0
    for run in range(KILLS):
        with running_server(database) as server:
            load = Load(server.url, key, run)
            threading.Event().wait(random_moment.uniform(0.05, 0.6))
            os.killpg(server.process.pid, signal.SIGKILL)
            load.stop()
        ledger = Ledger.open(database)
        known = []
        for note in load.checkpoints:
            checkpoint = open_checkpoint(note.encode(), log_key)
            known.append(Known(checkpoint.size, checkpoint.root, "an answer"))
        sound(ledger, *known)
        for ref, index, leaf in load.acknowledged:
            data = ledger.store.entry_bytes(index)
            assert entry_hash(data).hex() == leaf
            assert decode_entry(data).statement["ref"] == ref
        acknowledged += len(load.acknowledged)
        ledger.close()
    assert acknowledged > KILLS  # or nothing was put to the test


# -- restored, altered, full


def copy_of(database: Path, target: Path) -> None:
    """A consistent copy of the database, as a backup makes it."""
    source, copy = sqlite3.connect(database), sqlite3.connect(target)
    source.backup(copy)
    source.close()
    copy.close()


def test_an_older_copy_of_the_database_is_not_sealed_on(database: Path, tmp_path: Path) -> None:
    copy_of(database, tmp_path / "backup.db")
    ledger = Ledger.open(database)
    key = ledger.create_key("kita").key
    ledger.post("kita", [donation(ref="after-the-backup")])
    copy_of(database, tmp_path / "newest.db")
    ledger.close()
    shutil.copy(tmp_path / "backup.db", database)
    older = Ledger.open(database)
    with pytest.raises(RolledBack, match=r"4 entries, but 5 were handed out.*newest database back"):
        older.post("kita", [donation(ref="on-the-old-tip")])
    with pytest.raises(LogMismatch, match="expected: at least 5"):
        sound(older)
    older.close()
    with running_server(database, wait_for="/healthz") as server:
        pool = urllib3.PoolManager(retries=False)
        ready = pool.request("GET", f"{server.url}/readyz")
        assert (ready.status, ready.json()["code"]) == (503, "rolled_back")
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        body = json.dumps({"statement": donation(ref="over-http")})
        answer = pool.request("POST", f"{server.url}/v1/entries", body=body, headers=headers)
        # The old copy does not know the key, which is as good: nothing is sealed on it.
        assert answer.status == 401
    shutil.copy(tmp_path / "newest.db", database)
    restored = Ledger.open(database)
    restored.post("kita", [donation(ref="on-the-newest")])
    assert sound(restored) == 6
    restored.close()


def test_another_history_of_the_same_size_is_not_sealed_on(
    ledger: Ledger, database: Path, tmp_path: Path
) -> None:
    copy_of(database, tmp_path / "fork.db")
    ledger.post("kita", [donation(ref="one"), donation(ref="two")])
    for name in (".log-key", ".key-secret"):
        shutil.copy(f"{database}{name}", f"{tmp_path / 'fork.db'}{name}")
    fork = Ledger.open(tmp_path / "fork.db")
    fork.post("kita", [donation(ref="other"), donation(ref="history")])
    fork.close()
    shutil.copy(f"{database}.high-water", f"{tmp_path / 'fork.db'}.high-water")
    fork = Ledger.open(tmp_path / "fork.db")
    with pytest.raises(RolledBack, match="at size 6 the database has root"):
        fork.post("kita", [donation(ref="more")])
    fork.close()


def test_a_mark_that_lags_behind_a_crash_is_caught_up(ledger: Ledger) -> None:
    """Killed between the commit and the mark: the database extends it, so sealing goes on."""
    mark = HighWater(ledger.store.paths.high_water)
    before = mark.read()
    assert before is not None
    ledger.post("kita", [donation(ref="one")])
    mark.write(*before)
    ledger.post("kita", [donation(ref="two")])
    assert mark.read() == (6, ledger.store.tip().root)


def test_a_damaged_mark_stops_sealing_and_says_so(ledger: Ledger) -> None:
    ledger.store.paths.high_water.write_text("nonsense\n")
    with pytest.raises(LedgerError, match="high-water is damaged") as caught:
        ledger.post("kita", [donation(ref="one")])
    assert caught.value.code == "setup"
    assert ledger.store.size() == 4


def test_a_full_disk_seals_nothing_and_the_same_post_succeeds_later(ledger: Ledger) -> None:
    writer = ledger.store._open_writer()
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    statements = [donation(ref=f"r{n}") for n in range(500)]
    with pytest.raises(Unavailable, match="send the same post again"):
        ledger.post("kita", statements)
    assert ledger.store.size() == 4
    sealed = ledger.post("kita", statements)  # on a new connection, without the limit
    assert [entry.replayed for entry in sealed.entries] == [False] * 500
    assert sound(ledger) == 504


# -- the clock


def sequencer_at(ledger: Ledger, clock: dict[str, float]) -> Sequencer:
    signer = ledger.sequencer._signer
    return Sequencer(ledger.store, signer, lambda: clock["wall"], lambda: clock["steady"])


def submission(ledger: Ledger, ref: str) -> Submission:
    body = json.dumps({"statement": donation(ref=ref)}).encode()
    return read_submission(body, ledger.currencies, ledger.now())


@pytest.fixture
def clock(ledger: Ledger) -> dict[str, float]:
    return {"wall": ledger.now().timestamp() + 100, "steady": 1000.0}


def recorded_at(ledger: Ledger) -> str:
    return decode_entry(ledger.store.entry_bytes(ledger.store.size() - 1)).recorded_at


def test_time_never_goes_back(ledger: Ledger, clock: dict[str, float]) -> None:
    sequencer = sequencer_at(ledger, clock)
    sequencer.append(Pending("kita", submission(ledger, "one")))
    first = recorded_at(ledger)
    clock["wall"] -= 4
    sequencer.append(Pending("kita", submission(ledger, "two")))
    assert recorded_at(ledger) == first


def test_a_clock_behind_the_last_entry_stops_sealing(
    ledger: Ledger, clock: dict[str, float]
) -> None:
    sequencer = sequencer_at(ledger, clock)
    sequencer.append(Pending("kita", submission(ledger, "one")))
    clock["wall"] -= 6
    with pytest.raises(ClockError, match="6 s behind the last entry"):
        sequencer.append(Pending("kita", submission(ledger, "two")))
    assert ledger.store.size() == 5


@pytest.mark.parametrize("jump_s", [61, 86_400])
def test_a_clock_that_jumps_stops_sealing(
    ledger: Ledger, clock: dict[str, float], jump_s: int
) -> None:
    sequencer = sequencer_at(ledger, clock)
    sequencer.append(Pending("kita", submission(ledger, "one")))
    clock["wall"] += jump_s
    with pytest.raises(ClockError, match="jumped by"):
        sequencer.append(Pending("kita", submission(ledger, "two")))
    clock["steady"] += jump_s  # time really passed: no jump
    sequencer.append(Pending("kita", submission(ledger, "three")))
