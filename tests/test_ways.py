"""Every way to read a log says the same of it: entry by entry, bundle by bundle, in processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ledger.audit import Known, Ways, audit
from ledger.entry import canonical, entry_hash
from ledger.errors import LedgerError, Unavailable, Unreachable
from ledger.tlog.tile import TILE_WIDTH, bundle_path
from ledger.walk import ahead, whole
from tests.files import Files, write_files
from tests.simulator import Document, Log, new_log
from tests.support import ORIGIN, PLATFORM, donation, fund, party
from tests.test_audit import BROKEN, BYTES, LIES, OTHER, story

START = 300  # where the story begins, in the second bundle
SHIFT = START - 3  # it names its own entries as if it began at 3
PLACE = 330  # behind it


def moved(statement: Document) -> Document:
    """A statement of the story, as it is where the story begins later."""
    names = {
        name: statement[name] + SHIFT for name in ("target", "supersedes") if name in statement
    }
    return statement | names


@pytest.fixture(scope="module")
def honest() -> Log:
    """The story between other gifts: three full bundles and a part. Not to be changed."""
    log = new_log(ORIGIN)
    for name in (PLATFORM, OTHER):
        log.append(name, party(name))
    log.append(PLATFORM, fund("first"))
    while len(log.entries) < START:
        log.append(PLATFORM, donation("first", f"first-{len(log.entries)}"))
    for statement in story():
        log.append(PLATFORM, moved(statement))
    while len(log.entries) < 3 * TILE_WIDTH + 40:
        log.append(PLATFORM, donation("air", f"more-{len(log.entries)}", amount="5"))
    return log.refold().seal()


def relinked(log: Log, index: int) -> Log:
    """The log, in which all that follows entry `index` follows it as it is now."""
    prev = entry_hash(log.entries[index]).hex()
    for after in range(index + 1, len(log.entries)):
        prev = entry_hash(log.edit(after, prev=prev).entries[after]).hex()
    return log.publish()


class Shared(Executor):
    """A process that outlives the audits that use it: to start one takes a second."""

    def __init__(self) -> None:
        self.pool = ahead.spawned(1)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    shared = Shared()
    yield shared
    shared.pool.shutdown()


class Judges:
    """Audits one log in every way there is."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch, honest: Log) -> None:
        self.directory, self.patch, self.honest = directory, patch, honest

    def __call__(self, log: Log, *known: Known) -> str:
        """What all of them say."""
        files = write_files(log, self.directory)
        there = Ways(partial(Files, self.directory), 2)
        with self.patch.context() as patch:
            patch.setattr(whole, "checked_bundles", lambda _, bundles, *__: (None for _ in bundles))
            expected = self.verdict(files, Ways(), known)
        ways = {"bundle by bundle": Ways(), "threads": Ways(in_flight=3), "processes": there}
        for name, way in ways.items():
            assert self.verdict(files, way, known) == expected, name
        return expected

    def verdict(self, reader: Any, ways: Ways, known: tuple[Known, ...]) -> str:
        try:
            report = audit(reader, self.honest.policy, known, ways=ways)
        except LedgerError as error:
            return f"{error.code}: {error}"
        return f"sound: {report.is_sound}, {report.not_understood}"


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: Log, shared: Shared) -> Judges:
    monkeypatch.setattr(ahead, "WORTH_BUNDLES", 0)
    monkeypatch.setattr(ahead, "SEGMENT", 1)
    monkeypatch.setattr(ahead, "spawned", lambda workers: shared)
    return Judges(tmp_path, monkeypatch, honest)


@pytest.fixture
def log(honest: Log) -> Log:
    return honest.copy()


def test_the_honest_log(judges: Judges, log: Log, honest: Log) -> None:
    heads = [honest.copy().roll_back(size).known() for size in (1, 256, 257, 400, 512, 700, 768)]
    assert judges(log) == judges(log, *heads, honest.known()) == "sound: True, []"


def test_bundles_are_taken_as_they_were_checked(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all of this would compare one way with itself."""
    taken: list[bool] = []
    take = whole.Walk._take_checked

    def watched(walk: whole.Walk, checked: Any) -> bool:
        taken.append(take(walk, checked))
        return taken[-1]

    monkeypatch.setattr(whole.Walk, "_take_checked", watched)
    assert audit(log, log.policy).is_sound
    assert taken == [True, True]


@pytest.mark.parametrize(("ref", "change"), LIES.values(), ids=LIES)
def test_false_totals(
    judges: Judges, log: Log, ref: str, change: Callable[[Document], object]
) -> None:
    index = log.find(ref)
    document = log.document(index)
    change(document)
    log.entries[index] = canonical(document)
    assert judges(log.seal()).startswith(f"log_mismatch: index {index}: ")


@pytest.mark.parametrize("change", ["true", " 1", "1.0"])
def test_a_number_in_totals_that_is_spelled_otherwise(
    judges: Judges, log: Log, change: str
) -> None:
    """As values, all of these are 1."""
    index = log.find("gift-1")
    log.entries[index] = log.entries[index].replace(b'"n":1', b'"n":' + change.encode())
    assert judges(relinked(log, index)).startswith(f"log_mismatch: index {index}: ")


ONE_OF_EACH: dict[Any, Any] = {code: case for code, *case in BROKEN.values()}


@pytest.mark.parametrize("code", ONE_OF_EACH)
def test_broken_rules(judges: Judges, log: Log, code: str) -> None:
    platform, statement = ONE_OF_EACH[code]
    log.insert(PLACE, platform, moved(statement), totals=[{"made": "up"}])
    log.insert(PLACE + 9, PLATFORM, donation("nowhere", "later"))
    assert judges(log.seal()).startswith(f"log_mismatch: index {PLACE}: rule `{code}`")


@pytest.mark.parametrize("change", BYTES.values(), ids=BYTES)
def test_bytes_that_are_not_of_the_format(
    judges: Judges, log: Log, change: Callable[[bytes], bytes]
) -> None:
    index = log.find("paid-1")
    log.entries[index] = change(log.entries[index])
    assert judges(relinked(log, index)).startswith(
        f"log_mismatch: index {index}: form of the entry"
    )


def _edited_at(index: int, /, **fields: Any) -> Callable[[Log], object]:
    return lambda log: relinked(log.edit(index, **fields), index)


def _flipped(path: str, bit: int) -> Callable[[Log], object]:
    return lambda log: log.flip(path, bit)


# The first and last entry of a bundle, and one between.
PLACES = (256, 257, 400, 511, 512)
TAMPERED: dict[str, tuple[Callable[[Log], object], str]] = {
    **{f"prev of {i}": (_edited_at(i, prev="1" * 64), f"index {i}: prev") for i in PLACES},
    **{
        f"time of {i}": (_edited_at(i, recorded_at="2020-01-01T00:00:00.000Z"), f"index {i}: rec")
        for i in PLACES
    },
    **{f"index of {i}": (_edited_at(i, index=3), f"index {i}: the entry's index") for i in PLACES},
    **{
        f"the one before {i}": (_edited_at(i - 1, totals=None), f"index {i - 1}: totals")
        for i in PLACES
    },
    "goods of a gift": (_edited_at(400, goods=[{"fund": "air"}]), "index 400: goods"),
    "a bit of an entry": (_flipped(bundle_path(1, 256), 99_999), "index "),
    "a bit of a length": (_flipped(bundle_path(2, 256), 15), "index 512: "),
    "a bit of a leaf hash": (_flipped("tile/0/001", 256 * 77), "index 333: leaf hash"),
    "a bit of an upper hash": (_flipped("tile/1/000.p/3", 256), "index 256: hash 1 of"),
    "bytes behind a bundle": (
        lambda log: log.serve(bundle_path(1, 256), log.files()[bundle_path(1, 256)] + b"\0"),
        "index 512: end of the entry bundle",
    ),
    "a tile of another length": (lambda log: log.serve("tile/0/001", b"x"), "index 256: tile"),
    "dropped": (lambda log: log.drop(400), "index 400: "),
    "swapped": (lambda log: log.swap(510, 511), "index 510: "),
    "cut": (lambda log: log.cut(600), "index 600: entry"),
    "a ref again": (
        lambda log: log.edit_statement(600, ref="gift-2").seal(),
        "index 600: rule `ref_conflict`",
    ),
    "a ref again, and worse before": (
        lambda log: log.edit_statement(600, ref="gift-2").edit_statement(590, fund="no").seal(),
        "index 590: rule `unknown_reference`",
    ),
    "a ref again, and worse behind": (
        lambda log: log.edit_statement(580, ref="gift-2").edit_statement(590, fund="no").seal(),
        "index 580: rule `ref_conflict`",
    ),
    "a text too long for its schema": (
        lambda log: log.edit_statement(300, name="x" * 141).seal(),
        "index 300: rule `invalid`",
    ),
}


@pytest.mark.parametrize(("change", "found"), TAMPERED.values(), ids=TAMPERED)
def test_tampered(judges: Judges, log: Log, change: Callable[[Log], object], found: str) -> None:
    change(log)
    assert judges(log).startswith(f"log_mismatch: {found}")


def test_another_history_against_known_heads(judges: Judges, log: Log, honest: Log) -> None:
    fork = log.fork(270, amount="999")
    assert judges(fork) == "sound: True, []"
    for size in (271, 400, 511, 512, 513, 700):
        head = honest.copy().roll_back(size).known()
        assert judges(fork, head).startswith(f"log_mismatch: index {size - 1}: root at size {size}")


NOT_UNDERSTOOD: dict[str, tuple[Callable[[Log], object], str]] = {
    "a type": (lambda log: log.insert(PLACE, PLATFORM, {"type": "lottery", "ref": "r"}), "lottery"),
    "what a donor can prove": (
        lambda log: log.edit_statement(299, donor={"kind": "pooled", "holder": "x"}),
        "/donor/holder",
    ),
    "a format": (lambda log: log.edit_statement(0, format="amanah/2"), "genesis"),
}


@pytest.mark.parametrize(("change", "what"), NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_what_is_not_understood(
    judges: Judges, log: Log, change: Callable[[Log], object], what: str
) -> None:
    change(log)
    verdict = judges(log.seal())
    assert verdict.startswith("sound: False")
    assert what in verdict
    log.edit(600, prev="1" * 64).publish()
    assert judges(log).startswith("log_mismatch: index 600: prev")


# -- trouble on the way


class Failing(Files):
    """Cannot be reached from bundle 2 on."""

    def bundle(self, index: int, width: int) -> bytes:
        if index == 2:
            raise Unreachable("nobody there")
        return super().bundle(index, width)


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_trouble_is_told_in_its_turn(
    judges: Judges, log: Log, tmp_path: Path, is_elsewhere: bool
) -> None:
    """What is wrong before it is found, and nothing is said of what could not be read."""
    ways = Ways(partial(Failing, tmp_path), 2) if is_elsewhere else Ways(in_flight=3)
    write_files(log, tmp_path)
    assert judges.verdict(Failing(tmp_path), ways, ()) == "unreachable: nobody there"
    write_files(log.edit(400, prev="1" * 64).publish(), tmp_path)
    assert judges.verdict(Failing(tmp_path), ways, ()).startswith("log_mismatch: index 400: prev")


def _vanishing(directory: Path) -> Files:
    import os

    os._exit(9)


def test_a_process_that_ends_before_its_time(
    monkeypatch: pytest.MonkeyPatch, log: Log, tmp_path: Path
) -> None:
    monkeypatch.setattr(ahead, "WORTH_BUNDLES", 0)
    files = write_files(log, tmp_path)
    with pytest.raises(Unavailable, match="--workers 1"):
        audit(files, log.policy, ways=Ways(partial(_vanishing, tmp_path), 1 + 1))


def test_a_small_log_pays_for_no_process(
    monkeypatch: pytest.MonkeyPatch, log: Log, tmp_path: Path
) -> None:
    monkeypatch.setattr(ahead, "spawned", None)
    files = write_files(log, tmp_path)
    assert audit(files, log.policy, ways=Ways(partial(Files, tmp_path), 8)).is_sound
