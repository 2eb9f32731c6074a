"""Keys, owners of keys, acknowledgements, leaf hashes and roots outlive an interrupted audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from ledger.audit import audit
from ledger.books import Books
from ledger.errors import LogMismatch, Refusal
from ledger.service import Ledger
from ledger.signing import PartyKey
from ledger.tlog.tile import TILE_WIDTH
from ledger.walk import ahead, resume
from ledger.walk.ahead import Ways
from tests.files import Files, write_files
from tests.signers import Post, acknowledgement, attestation, key, keyed, signed
from tests.simulator import Log
from tests.support import ORIGIN, PLATFORM, donation, fund, party, returned, transfer
from tests.test_attacks import twin
from tests.test_resume import Auditor

POINT = 2 * TILE_WIDTH


class Story:
    """A log with signatures on both sides of `POINT`. Each of `late` speaks of what is before."""

    def __init__(self, database: Path) -> None:
        ledger = Ledger.create(database, ORIGIN, "Tests")
        ledger.register_platform(PLATFORM)
        self.ledger = ledger
        for name in ("yayasan", "desa", "auditor"):
            self.post(signed(keyed(name), name))
        self.post({"statement": fund("air")})
        self.post({"statement": fund("desa", owner="desa")})
        self.post({"statement": donation("air")})
        self.share = self.post({"statement": transfer("air", "desa")})
        self.post(signed(self.said("received", "early"), "desa"))
        self.fill(POINT + 20)

    def post(self, post: Post) -> int:
        return self.ledger.post(PLATFORM, [post]).entries[0].index

    def fill(self, size: int) -> None:
        have = self.ledger.store.size()
        self.ledger.post(PLATFORM, [donation("air", f"n{n}") for n in range(have, size)])

    def said(self, status: str, ref: str) -> dict[str, object]:
        leaf = self.ledger.store.state().leaf_hash(self.share)
        assert leaf is not None
        return acknowledgement(self.share, leaf, "desa", ref, status=status)

    def opinion(self, size: int, of: int) -> dict[str, object]:
        root = self.ledger.store.state().root_at(of)
        assert root is not None
        return attestation(size, root, "auditor", f"a{size}")


LATE: dict[str, tuple[str, Callable[[Story], Post]]] = {
    "rotated": ("", lambda _: rotation(key("yayasan"), key("yayasan", 1))),
    "returned": ("", lambda s: signed(returned(s.share, amount="1"), "desa")),
    "acknowledged": ("", lambda s: signed(s.said("disputed", "late"), "desa")),
    "attested": ("", lambda s: signed(s.opinion(300, 300), "auditor")),
    "attested, one size of another": (
        "wrong_target",
        lambda s: signed(s.opinion(300, 301), "auditor"),
    ),
    "a swapped key": ("signature_required", lambda _: rotation(key("yayasan", 1))),
    "a stolen key": (
        "key_taken",
        lambda s: signed(party("palsu", keys=[twin("palsu").vkey]), twin("palsu")),
    ),
    "taken back": ("signature_required", lambda s: {"statement": returned(s.share, amount="1")}),
    "another leaf": (
        "wrong_target",
        lambda s: signed(s.said("received", "late") | {"target_leaf": "ab" * 32}, "desa"),
    ),
    "another ledger": (
        "signature_invalid",
        lambda s: signed(donation("air", "x"), "desa", origin="elsewhere.example"),
    ),
}


def rotation(*by: PartyKey) -> Post:
    return signed(keyed("yayasan", 1, ref="rotated", supersedes=2), *by)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    story = Story(tmp_path_factory.mktemp("story") / "amanah.db")
    yield story
    story.ledger.close()


def log_of(story: Story, post: Post) -> Log:
    """The log with one entry more, which need not be right."""
    log, state = Log.of(story.ledger), story.ledger.store.state()
    statement, signatures = post["statement"], post.get("signatures", [])
    fields = {"signatures": signatures} if signatures else {}
    with suppress(Refusal):
        books = Books(state, state.currencies)
        if totals := books.post(log.size, PLATFORM, statement, signatures):
            fields["totals"] = totals
    return log.append(PLATFORM, statement, **fields).seal()


@pytest.mark.parametrize(("code", "late"), LATE.values(), ids=LATE)
def test_what_comes_after_is_judged_by_what_came_before(
    story: Story,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    late: Callable[[Story], Post],
) -> None:
    monkeypatch.setattr(resume, "EVERY_S", 0.0)
    log = log_of(story, late(story))
    auditor = Auditor(tmp_path, log)
    auditor.interrupt(log, POINT)
    if not code:
        report = auditor(log)
        assert (report.is_sound, report.read_from) == (True, POINT)
        return
    with pytest.raises(LogMismatch) as caught:
        auditor(log)
    assert (caught.value.index, caught.value.compared) == (log.size - 1, f"rule `{code}`")


def test_signatures_pass_between_processes(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WORTH_BUNDLES", 1)
    log = Log.of(story.ledger)
    files = write_files(log, tmp_path)
    assert audit(files, log.policy, ways=Ways(partial(Files, tmp_path), 2)).is_sound
