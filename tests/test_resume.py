"""An audit that was interrupted goes on, and finds no less than one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ledger import scratch
from ledger.audit import Known, Report, audit
from ledger.books import Books
from ledger.commands import auditing
from ledger.errors import LogMismatch, SetupError
from ledger.scratch import MovementFile
from ledger.state import EmptyState
from ledger.tlog.tile import TILE_WIDTH, bundle_path
from ledger.walk import resume
from ledger.walk.resume import KeptScratch, directory_of
from tests.command_line import ROOT, SCRIPT, Amanah
from tests.files import write_files
from tests.shelf import fill
from tests.simulator import Log, flipped, new_log
from tests.support import (
    ORIGIN,
    PLATFORM,
    disbursement,
    donation,
    fund,
    goods,
    party,
    refund,
    returned,
)

BUNDLES = 5
SIZE = BUNDLES * TILE_WIDTH + 10
POINTS = [bundle * TILE_WIDTH for bundle in range(2, BUNDLES)]


@pytest.fixture(scope="module")
def honest() -> Log:
    """Gifts, most of which are given back in part, again and again. Not to be changed."""
    log = new_log(ORIGIN).append(PLATFORM, party(PLATFORM))
    for name in ("air", "desa"):
        log.append(PLATFORM, fund(name))
    for index in range(4, SIZE):
        ref, target = f"n{index}", index // 2 // 3 * 3 + 1
        match index % 3:
            case 1:
                log.append(PLATFORM, donation(("air", "desa")[index % 2], ref, amount="9"))
            case 2 if target > 4:
                log.append(PLATFORM, refund(target, ref, amount="4"))
            case _ if index % 12 == 9:
                kind = "goods_out" if index > SIZE * 3 // 5 else "goods_in"
                log.append(PLATFORM, goods(kind, "air", ref, "1"))
            case _:
                log.append(PLATFORM, party(f"p{index}", ref=ref))
    return log.refold().seal()


@pytest.fixture
def log(honest: Log) -> Log:
    return honest.copy()


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save after every bundle."""
    monkeypatch.setattr(resume, "EVERY_S", 0.0)


class Interrupted(Exception):
    """Stands for Ctrl-C."""


class Auditor:
    """Audits logs of the honest one's key, in a directory where they are kept."""

    def __init__(self, directory: Path, honest: Log) -> None:
        self.kept, self.served, self.policy = directory / "k", directory / "log", honest.policy

    def __call__(self, log: Log, *known: Known, from_scratch: bool = False) -> Report:
        """What an audit says that goes on where the last one was interrupted."""
        self.files = write_files(log, self.served)
        kept = KeptScratch(self.kept, from_scratch)
        return audit(self.files, self.policy, known, scratch=kept)

    def interrupt(self, log: Log, at: int) -> None:
        """Begin an audit, or go on with one, and end when `at` entries are done."""

        def stop(done: int, size: int) -> None:
            if done == at:
                raise Interrupted

        with pytest.raises(Interrupted):
            audit(
                write_files(log, self.served),
                self.policy,
                progress=stop,
                scratch=KeptScratch(self.kept),
            )

    def bundles_read(self) -> list[int]:
        paths = {bundle_path(i, TILE_WIDTH): i for i in range(BUNDLES)}
        return sorted({paths[path] for path in self.files.read if path in paths})


@pytest.fixture
def auditor(tmp_path: Path, honest: Log) -> Auditor:
    return Auditor(tmp_path, honest)


def heads_kept(auditor: Auditor) -> list[tuple[int, bytes]]:
    with closing(KeptScratch(auditor.kept)) as kept:
        return list(kept.heads)


@pytest.mark.parametrize("point", POINTS)
def test_what_was_read_is_not_read_again(auditor: Auditor, log: Log, point: int) -> None:
    auditor.interrupt(log, point)
    report = auditor(log)
    assert (report.is_sound, report.read_from) == (True, point)
    assert auditor.bundles_read() == list(range(point // TILE_WIDTH, BUNDLES))
    assert not auditor.kept.exists()
    assert auditor(log).read_from == 0  # what has ended is not gone on with


def test_interrupted_again_and_again_while_the_log_grows(auditor: Auditor, honest: Log) -> None:
    for point in POINTS:
        auditor.interrupt(honest.copy().roll_back(point + 100), point)
    report = auditor(honest.copy())
    assert (report.is_sound, report.read_from) == (True, POINTS[-1])


def test_from_scratch_reads_everything(auditor: Auditor, log: Log) -> None:
    auditor.interrupt(log, POINTS[1])
    report = auditor(log, from_scratch=True)
    assert (report.is_sound, report.read_from) == (True, 0)
    assert auditor.bundles_read() == list(range(BUNDLES))


def test_from_scratch_and_interrupted_at_once(auditor: Auditor, log: Log) -> None:
    """What it has emptied is not gone on with."""
    auditor.interrupt(log, POINTS[1])
    KeptScratch(auditor.kept, from_scratch=True).close()
    assert heads_kept(auditor) == [(log.size, log.known().root)]
    assert auditor(log).read_from == 0


LIES: dict[str, Callable[[Log], Log]] = {
    "a refund of more than is left": lambda log: log.append(PLATFORM, refund(301, amount="2")),
    "a refund of a party": lambda log: log.append(PLATFORM, refund(27, amount="1")),
    "a ref again": lambda log: log.append(PLATFORM, donation(ref="n7")),
    "a party again": lambda log: log.append(PLATFORM, party("p15", ref="new")),
    "goods there are not": lambda log: log.append(PLATFORM, goods("goods_out", "air", "x", "999")),
    "money there is not": lambda log: log.append(PLATFORM, disbursement(amount="99999")),
    "a return of a refund": lambda log: log.append(PLATFORM, returned(29, amount="1")),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("point", POINTS)
def test_a_lie_after_the_point_about_what_was_before(
    auditor: Auditor, log: Log, lie: Callable[[Log], Log], point: int
) -> None:
    lie(log)
    log.seal()
    auditor.interrupt(log, point)
    with pytest.raises(LogMismatch) as resumed:
        auditor(log)
    with pytest.raises(LogMismatch) as whole:
        audit(auditor.files, log.policy)
    assert str(resumed.value) == str(whole.value)
    assert resumed.value.index == SIZE


# -- cut short while it was saving

STEPS = {
    "movements written": (MovementFile, "apply"),
    "a part of what changed applied": (MovementFile, "_record"),
    "nothing saved": (resume, "_replace"),
}


@pytest.mark.parametrize("saves", [1, 2, 3])
@pytest.mark.parametrize(("where", "name"), STEPS.values(), ids=STEPS)
def test_cut_short_in_the_middle_of_a_save(
    auditor: Auditor,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    name: str,
    saves: int,
) -> None:
    # Of its 9, 8 were given back by entries 602 and 605, after the first save.
    log.append(PLATFORM, refund(301, amount="2")).seal()
    step, calls = getattr(where, name), 0

    def stopping(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls > saves * (100 if name == "_record" else 1):
            raise Interrupted
        return step(*args)

    files = write_files(log, auditor.served)
    kept = KeptScratch(auditor.kept)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, stopping)
        with pytest.raises(Interrupted):
            audit(files, log.policy, scratch=kept)
    with pytest.raises(LogMismatch) as resumed:
        auditor(log)
    assert (resumed.value.index, resumed.value.compared) == (SIZE, "rule `exceeds_original`")


@pytest.mark.parametrize("point", POINTS)
def test_what_came_after_the_last_save_is_done_anew_and_not_twice(
    auditor: Auditor, log: Log, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    monkeypatch.setattr(scratch, "_MOVEMENTS_HELD", 1)
    with monkeypatch.context() as patch:
        patch.setattr(KeptScratch, "is_due", lambda kept: not (kept._directory / "state").exists())
        auditor.interrupt(log, point)
    report = auditor(log)
    assert (report.is_sound, report.read_from) == (True, POINTS[0])


# -- a log that changed


@pytest.mark.parametrize("point", POINTS)
def test_a_log_that_changed_below_the_point(auditor: Auditor, log: Log, point: int) -> None:
    """Though its checkpoint is larger, and signed."""
    auditor.interrupt(log, point)
    fork = log.fork(5, name="Another").append(PLATFORM, donation(ref="more")).refold().seal()
    assert audit(write_files(fork, auditor.served), log.policy).is_sound
    for _ in range(2):  # it is not forgotten either
        with pytest.raises(LogMismatch, match="until the audit was interrupted") as caught:
            auditor(fork)
        assert caught.value.index == point - 1
    # The checkpoint that it was under was signed too.
    with pytest.raises(LogMismatch, match="the checkpoint of an interrupted audit"):
        auditor(fork, from_scratch=True)


def test_a_log_that_is_shorter_than_the_checkpoint_it_was_under(auditor: Auditor, log: Log) -> None:
    auditor.interrupt(log, POINTS[0])
    with pytest.raises(LogMismatch, match="against the checkpoint of an interrupted audit"):
        auditor(log.roll_back(POINTS[1]))


def test_heads_below_the_point_are_held_against_the_root(
    auditor: Auditor, log: Log, honest: Log
) -> None:
    fork = honest.fork(300, name="Another")
    for size in (200, 256, 400, POINTS[0]):
        auditor.interrupt(log, POINTS[0])
        true, false = (one.copy().roll_back(size).known() for one in (honest, fork))
        if size <= 300:
            assert true.root == false.root
        else:
            with pytest.raises(LogMismatch, match=f"root at size {size}, against a friend"):
                auditor(log, false)
        assert auditor(log, true).read_from == POINTS[0]


def test_a_tile_that_proves_nothing(auditor: Auditor, log: Log) -> None:
    auditor.interrupt(log, POINTS[0])
    with pytest.raises(LogMismatch):
        auditor(log.flip("tile/1/000.p/5", 3))


# -- what is not gone on with


def test_another_version_of_the_rules_begins_from_nothing(
    auditor: Auditor, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor.interrupt(log, POINTS[0])
    monkeypatch.setattr(resume, "rules_version", lambda: "newer")
    assert auditor(log).read_from == 0


def test_the_place_depends_on_where_it_is_read_and_on_the_keys(tmp_path: Path) -> None:
    places = [
        directory_of(tmp_path, where, keys)
        for where in ("https://a.example", "/a.db")
        for keys in (["k"], ["l"], ["k", "l"], ["l", "k"])
    ]
    assert len(set(places)) == 6


def test_what_was_kept_and_is_damaged(auditor: Auditor, log: Log) -> None:
    auditor.interrupt(log, POINTS[0])
    state = auditor.kept / "state"
    state.write_bytes(flipped(state.read_bytes(), 999))
    with pytest.raises(SetupError, match="is damaged"):
        auditor(log)


@pytest.mark.parametrize("name", ["movements", "refs"])
def test_what_was_laid_by_and_is_lost(auditor: Auditor, log: Log, name: str) -> None:
    auditor.interrupt(log, POINTS[0])
    os.truncate(auditor.kept / name, 100)
    with pytest.raises(SetupError, match=f"{name} is damaged"):
        auditor(log)


def test_two_audits_at_once(auditor: Auditor, log: Log) -> None:
    kept = KeptScratch(auditor.kept)
    with pytest.raises(SetupError, match="another audit of this log is under way"):
        KeptScratch(auditor.kept)
    kept.close()
    assert auditor(log).is_sound


def test_what_is_not_understood_is_not_lost(auditor: Auditor, log: Log) -> None:
    log.edit_statement(300, type="lottery").seal()
    auditor.interrupt(log, POINTS[1])
    report = auditor(log)
    assert (report.read_from, report.is_sound) == (0, False)


def test_all_of_the_books_is_kept() -> None:
    """A field more must be saved too, or a resumed audit would judge by less."""
    kept = {"parties", "programmes", "funds", "positions", "new_holes", "currencies", "movements"}
    kept |= {"key_owners", "new_origin", "stocks"}
    assert vars(Books(EmptyState(), {})).keys() == kept | {"base"}


# -- the command

KILLED = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from ledger.commands import auditing
from ledger.walk import resume
resume.EVERY_S, auditing.WORTH_ENTRIES = 0, 0
def step(self, done):
    if done >= 512:
        os.kill(os.getpid(), signal.SIGKILL)
auditing.Pace.step = step
{SCRIPT}
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shelf") / "amanah.db"
    fill(path)
    return path


def killed(amanah: Amanah, *args: object) -> None:
    """Run a command that is killed when 512 entries are done."""
    run = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, args)], env=amanah.environment(), check=False
    )
    assert run.returncode == -signal.SIGKILL


def test_a_verification_that_was_killed_goes_on(tmp_path: Path, database: Path) -> None:
    amanah = Amanah(tmp_path)
    killed(amanah, "verify", database)
    (directory,) = (amanah.state / "audits").iterdir()
    assert directory.stat().st_mode & 0o077 == 0
    outcome = amanah("verify", database)
    assert outcome.code == 0
    assert "was interrupted after 512 entries. It goes on from there" in outcome.err
    assert "The first 512 entries were read by an audit that was interrupted" in outcome.out
    assert not directory.exists()
    assert "interrupted" not in amanah("verify", database).out


def test_a_verification_from_scratch(tmp_path: Path, database: Path) -> None:
    amanah = Amanah(tmp_path)
    killed(amanah, "verify", database)
    outcome = amanah("verify", database, "--from-scratch")
    assert outcome.code == 0
    assert "This one reads everything from the beginning." in outcome.err
    assert "interrupted" not in outcome.out
    killed(amanah, "verify", database)
    assert amanah("verify", database, "--json").json["audit"]["read_from"] == 512


def test_a_small_log_leaves_nothing(tmp_path: Path, database: Path) -> None:
    amanah = Amanah(tmp_path)
    assert amanah("verify", database).code == 0
    assert not (amanah.state / "audits").exists()


def test_where_nothing_can_be_kept(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "WORTH_ENTRIES", 0)
    amanah = Amanah(tmp_path)
    amanah.state.mkdir()
    (amanah.state / "audits").write_text("in the way")
    outcome = amanah("verify", database)
    assert outcome.code == 2
    assert "amanah: setup: the audit cannot be kept in " in outcome.err
