"""The audit: sound for the honest, and for any lie the entry at which it begins."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.audit import Known, Report, audit
from ledger.entry import SYSTEM_PLATFORM, canonical, entry_hash
from ledger.errors import (
    REFUSALS,
    FormatError,
    LogMismatch,
    NotFound,
    PolicyError,
    SignatureError,
)
from ledger.money import format_amount, parse_total
from ledger.service import Ledger
from ledger.state import COUNTERS
from ledger.store.files import HighWater
from ledger.tlog.note import SigningKey
from ledger.tlog.policy import Policy
from ledger.tlog.tile import Tile, bundle_path, tiles_of
from tests.simulator import TIME, Document, Log, Witness, flipped, new_log
from tests.support import (
    ORIGIN,
    PLATFORM,
    disbursement,
    donation,
    evidence,
    fund,
    goods,
    party,
    programme,
    refund,
    report,
    returned,
    transfer,
)
from tests.test_attacks import ATTACKS

OTHER = "lain"
PLATFORMS = [PLATFORM, OTHER]
EVIDENCE = [{"sha256": "ab" * 32, "media_type": "application/pdf", "bytes": 5}]


def fees(platform: str = "", payment: str = "") -> Document:
    kinds = {"platform": platform, "payment": payment}
    return {"fees": [{"kind": kind, "amount": amount} for kind, amount in kinds.items() if amount]}


def story() -> Iterator[Document]:
    """Statements of every type, posted from entry 3 on, in which every counter moves."""
    yield party("yayasan")
    yield party("posyandu")
    participants = [{"party": "yayasan", "role": "funding"}]
    yield programme("gizi", lead="yayasan", participants=participants)
    yield fund("air", owner="yayasan", programmes=["gizi"], goal_amount="500000")  # 6
    yield fund("desa", platforms=PLATFORMS, policy={"cost_cap_bp": 1000})
    yield fund("laut", platforms=[OTHER])
    yield fund("tutup", status="closed")
    yield fund("yen", currency="JPY")
    yield fund("dinar", currency="KWD", policy={"cost_cap_bp": 0})
    yield donation("air", "gift-1", amount="1000", **fees("10", "5"))  # 12
    yield donation("air", "gift-2", amount="2000", donor={"kind": "pooled"})
    yield donation("desa", "gift-3", amount="10000", **fees("500"))
    yield disbursement("air", "paid-1", amount="300")  # 15
    yield disbursement("air", "paid-2", amount="100.50", category="operational")
    yield transfer("air", "desa", "share-1", amount="400")  # 17
    yield refund(13, "refund-1", amount="500")
    yield refund(12, "refund-2", amount="1000", **fees("10", "5"))
    yield returned(15, "back-1", amount="100")  # 20
    yield returned(16, "back-2", amount="50")
    yield returned(17, "back-3", amount="150")
    yield fund("desa", ref="desa-2", platforms=PLATFORMS, policy={"cost_cap_bp": 900}, supersedes=7)
    yield donation("air", "gift-4", amount="75.25")  # 24


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """The log of a real ledger that holds the story. Not to be changed: take `log`."""
    ledger = Ledger.create(tmp_path_factory.mktemp("honest") / "amanah.db", ORIGIN, "Tests")
    for platform in PLATFORMS:
        ledger.register_platform(platform)
    for statement in story():
        ledger.post(PLATFORM, [statement])
    log = Log.of(ledger)
    for path, data in log.files().items():  # or a liar would be caught for the wrong reason
        assert served(ledger, path, log.size) == data
    ledger.close()
    return log


@pytest.fixture
def log(honest: Log) -> Log:
    return honest.copy()


@pytest.fixture(scope="module")
def large(honest: Log) -> Log:
    """The story and 600 entries more, so that there are tiles of level 1. Not to be changed."""
    log = honest.copy()
    for number in range(600):
        log.append(PLATFORM, donation("air", f"more-{number}", amount="5"))
    return log.refold().seal()


def served(ledger: Ledger, path: str, size: int) -> bytes:
    """What a ledger's store serves at the path of a log of `size` entries."""
    store = ledger.store
    if path == "checkpoint":
        return store.checkpoint()
    for tile in tiles_of(size):
        if path == tile.path():
            return store.tile(tile)
    return store.bundle(0, size)


def judge(log: Log, honest: Log, *known: Known) -> Report:
    """Audit a log with the trust one has in the honest one's key."""
    return audit(log, honest.policy, known)


def wrong(log: Log, honest: Log, *known: Known) -> LogMismatch:
    """The mismatch an audit ends with, whose message must have all of its parts."""
    with pytest.raises(LogMismatch) as caught:
        judge(log, honest, *known)
    mismatch = caught.value
    where = "checkpoint" if mismatch.index is None else f"index {mismatch.index}"
    assert re.fullmatch(
        rf"{where}: .+\n  expected: .+\n  found:    .+\n  can mean: .+; or .+\n  do next:  .+",
        str(mismatch),
    )
    assert mismatch.expected != mismatch.found
    return mismatch


# -- the honest


def test_an_honest_ledger_is_sound_at_every_size(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "amanah.db", ORIGIN, "Tests")
    policy = Policy.for_key(ledger.vkeys[0])
    assert audit(ledger.store, policy).checkpoint.size == 1
    ledger.register_platform(PLATFORM)
    assert audit(ledger.store, policy).checkpoint.size == 2
    ledger.post(PLATFORM, [fund("air")])
    for size in (255, 256, 257, 511, 512, 513, 600):
        have = ledger.store.size()
        ledger.post(PLATFORM, [donation(ref=f"gift-{n}") for n in range(have, size)])
        report = audit(ledger.store, policy, [Known(*head) for head in ledger.store.heads()])
        assert report.is_sound
        assert report.checkpoint.size == size
        assert Log.of(ledger).files()["checkpoint"] == ledger.store.checkpoint()
    ledger.close()


def test_progress_is_told(large: Log) -> None:
    told: list[tuple[int, int]] = []
    audit(large, large.policy, progress=lambda done, size: told.append((done, size)))
    assert told == [(256, 625), (512, 625), (625, 625)]


def test_every_head_that_was_ever_true_is_a_known_one(log: Log, honest: Log) -> None:
    heads = [log.copy().roll_back(size).known() for size in range(1, log.size + 1)]
    assert judge(log, honest, *heads).is_sound


def test_witnesses_that_cosigned_are_named(log: Log) -> None:
    gov, ngo = Witness("gov"), Witness("ngo")
    text = f"log {log.signer.verifier}\nwitness gov {gov.key}\nwitness ngo {ngo.key}\n"
    policy = Policy.parse(f"{text}group both all gov ngo\nquorum both\n")
    gov.cosign(log)
    with pytest.raises(PolicyError, match="cosigned by gov, not enough for the quorum both"):
        audit(log, policy)
    ngo.cosign(log)
    report = audit(log, policy)
    assert report.is_sound
    assert report.witnesses == ["gov", "ngo"]


# -- one bit


def owners(log: Log) -> list[int]:
    """The entry that each byte of the last bundle belongs to, its length included."""
    start = (log.size - 1) // 256 * 256
    entries = enumerate(log.entries[start:], start)
    return [index for index, entry in entries for _ in range(2 + len(entry))]


def last_bundle(log: Log) -> str:
    index, last = divmod(log.size - 1, 256)
    return bundle_path(index, last + 1)


def test_any_bit_of_the_checkpoint(log: Log, honest: Log) -> None:
    note = log.note
    for bit in range(len(note) * 8):
        log.serve("checkpoint", flipped(note, bit))
        with pytest.raises((FormatError, SignatureError)):
            judge(log, honest)


def test_any_bit_of_an_entry_is_found_at_the_entry(log: Log, honest: Log) -> None:
    path, owner = last_bundle(log), owners(log)
    for bit in random.Random(1).sample(range(len(owner) * 8), 3_000):
        assert wrong(log.copy().flip(path, bit), honest).index == owner[bit // 8], bit


def test_any_bit_of_a_length_is_found_at_the_entry(log: Log, honest: Log) -> None:
    path, owner = last_bundle(log), owners(log)
    starts = [n for n in range(len(owner)) if n == 0 or owner[n] != owner[n - 1]]
    assert len(starts) == log.size
    for start in starts:
        for bit in range(start * 8, start * 8 + 16):
            assert wrong(log.copy().flip(path, bit), honest).index == owner[start], bit


@pytest.mark.parametrize("level", [0, 1])
def test_any_bit_of_a_tile_is_found_at_its_first_entry(large: Log, level: int) -> None:
    tiles = [tile for tile in tiles_of(large.size) if tile.level == level]
    assert len(tiles) == (3, 1)[level]
    chance = random.Random(level)
    for tile in tiles:
        for bit in chance.sample(range(tile.width * 256), 12):
            first = (tile.index * 256 + bit // 256) * 256**level
            assert wrong(large.copy().flip(tile.path(), bit), large).index == first


@pytest.mark.parametrize("more", [b"\0", b"\0\0", b"\0\5hello", b"\xff\xff"])
def test_bytes_after_the_last_entry(log: Log, honest: Log, more: bytes) -> None:
    path = last_bundle(log)
    mismatch = wrong(log.serve(path, log.files()[path] + more), honest)
    assert (mismatch.index, mismatch.compared) == (log.size, "end of the entry bundle")


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""],
    ids=["a byte less", "a byte more", "empty"],
)
def test_a_tile_of_another_length(log: Log, honest: Log, change: Callable[[bytes], bytes]) -> None:
    path = Tile(0, 0, log.size).path()
    mismatch = wrong(log.serve(path, change(log.files()[path])), honest)
    assert (mismatch.index, mismatch.compared) == (0, path)


# -- breaking in: without the key


def test_an_edited_entry_is_found_wherever_it_stands(log: Log, honest: Log) -> None:
    for index in range(log.size):
        edited = log.copy().edit(index, recorded_at=TIME)
        mismatch = wrong(edited, honest)
        assert (mismatch.index, mismatch.compared) == (index, "leaf hash of the entry")
        assert mismatch.expected == entry_hash(honest.entries[index]).hex()
        assert mismatch.found == entry_hash(edited.entries[index]).hex()


def test_a_dropped_entry_is_found_where_it_stood(log: Log, honest: Log) -> None:
    for index in range(log.size):
        assert wrong(log.copy().drop(index), honest).index == index


def test_swapped_entries_are_found_at_the_first(log: Log, honest: Log) -> None:
    for index in range(log.size - 1):
        assert wrong(log.copy().swap(index, index + 1), honest).index == index


def test_an_inserted_entry_is_found_where_it_stands(log: Log, honest: Log) -> None:
    for index in range(log.size):
        inserted = log.copy().insert(index, PLATFORM, donation(ref="new"))
        assert wrong(inserted, honest).index == index


@pytest.mark.parametrize("size", [0, 1, 7, 24])
def test_a_lost_tail_is_found_under_the_checkpoint_that_covered_it(
    log: Log, honest: Log, size: int
) -> None:
    mismatch = wrong(log.cut(size), honest)
    assert (mismatch.index, mismatch.compared) == (size, "entry")


@pytest.mark.parametrize("size", [255, 256, 257, 512, 600])
def test_a_lost_tail_of_many_bundles(large: Log, size: int) -> None:
    assert wrong(large.copy().cut(size), large).index == size


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/002.p/113", "tile/1/000.p/2"])
def test_a_missing_tile(large: Log, path: str) -> None:
    class Without(Log):
        def tile(self, tile: Tile) -> bytes:
            if tile.path() == path:
                raise NotFound(f"{path} does not exist")
            return super().tile(tile)

    log = Without(large.entries, large.signer)
    mismatch = wrong(log, large)
    assert (mismatch.index, mismatch.compared) == (512 if "002" in path else 0, path)


def test_an_entry_too_long_for_any_bundle(log: Log, honest: Log) -> None:
    log.entries[9] = b"x" * 70_000
    mismatch = wrong(log, honest)
    assert (mismatch.index, mismatch.compared) == (9, "entry")


@pytest.mark.parametrize("who", ["nobody known", "another key of the same name"])
def test_a_checkpoint_by_another_key(log: Log, honest: Log, who: str) -> None:
    name = "other.example" if who == "nobody known" else ORIGIN
    log.seal(SigningKey.of(name, b"\x01" * 32))
    with pytest.raises(SignatureError, match="has no signature by a key that the policy lists"):
        judge(log, honest)


# -- the operator's own lies: everything fits together, and the key has signed it


def test_a_rewritten_history_is_sound_to_who_saw_nothing_before(log: Log, honest: Log) -> None:
    """Which is why one remembers, and why witnesses cosign."""
    fork = log.fork(13, amount="1900")
    assert judge(fork, honest).is_sound
    assert fork.document(24) != honest.document(24)


@pytest.mark.parametrize("index", [1, 13, 23, 24])
def test_a_rewritten_history_is_found_against_what_is_remembered(
    log: Log, honest: Log, index: int
) -> None:
    forks = {1: {"name": "Kita"}, 23: {"title": "Desa"}}
    fork = log.fork(index, **forks.get(index, {"amount": "1900"}))
    assert judge(fork, honest).is_sound
    heads = [honest.copy().roll_back(size).known() for size in (1, 5, 12, 13, 20, 24, 25)]
    mismatch = wrong(fork, honest, *heads)
    sizes = [head.size for head in heads if head.size > index]
    assert mismatch.index == sizes[0] - 1
    head = next(head for head in heads if head.size == sizes[0])
    assert mismatch.compared == f"root at size {sizes[0]}, against a friend"
    assert mismatch.expected == head.root.hex()
    assert "this log was rewritten" in mismatch.meaning


@pytest.mark.parametrize("size", [1, 2, 24])
def test_a_cut_tail_is_found_against_what_is_remembered(log: Log, honest: Log, size: int) -> None:
    short = log.roll_back(size)
    assert judge(short, honest).is_sound
    mismatch = wrong(short, honest, honest.known())
    assert (mismatch.index, mismatch.compared) == (size, "size, against a friend")
    assert (mismatch.expected, mismatch.found) == ("at least 25", str(size))
    assert "an old backup was restored; or the newest entries were removed" in mismatch.meaning


def test_an_empty_log_is_not_sound(log: Log, honest: Log) -> None:
    mismatch = wrong(log.roll_back(0), honest)
    assert (mismatch.index, mismatch.found) == (0, "a log without entries")


def test_the_high_water_mark_remembers_too(tmp_path: Path, log: Log, honest: Log) -> None:
    mark = HighWater(tmp_path / "mark")
    mark.write(honest.size, honest.known().root)
    size, root = mark.read() or (0, b"")
    known = Known(size, root, "the mark")
    assert judge(log, honest, known).is_sound
    assert wrong(log.fork(13, amount="1900"), honest, known).index == 24
    assert wrong(log.roll_back(20), honest, known).index == 20


@pytest.mark.parametrize("index", [0, 1, 12, 24])
def test_a_chain_that_is_not_linked_again(log: Log, honest: Log, index: int) -> None:
    mismatch = wrong(log.edit(index, prev="0" * 63 + "1").publish(), honest)
    assert (mismatch.index, mismatch.compared) == (index, "prev, the leaf hash of the entry before")


def test_an_entry_edited_without_linking_those_after_it(log: Log, honest: Log) -> None:
    mismatch = wrong(log.edit_statement(1, name="Kita").publish(), honest)
    assert mismatch.index == 2
    assert mismatch.expected == entry_hash(log.entries[1]).hex()


def test_indexes_that_are_not_counted_again(log: Log, honest: Log) -> None:
    mismatch = wrong(log.edit(9, index=10).publish(), honest)
    assert (mismatch.index, mismatch.expected, mismatch.found) == (9, "9", "10")


def test_time_that_goes_back(log: Log, honest: Log) -> None:
    mismatch = wrong(log.edit(9, recorded_at=TIME).seal(), honest)
    assert mismatch.index == 9
    assert mismatch.compared == "recorded_at, never decreasing"


def test_a_root_of_another_tree(log: Log, honest: Log) -> None:
    other = log.copy().edit_statement(24, amount="5").publish()
    mismatch = wrong(log.serve("checkpoint", other.note), honest)
    assert (mismatch.index, mismatch.compared) == (None, "root of all entries")
    assert mismatch.found == honest.known().root.hex()


GENESIS: dict[str, tuple[Document, str]] = {
    "other origin": ({"origin": "other.example"}, "origin in the genesis"),
    "no origin": ({"origin": None}, "origin in the genesis"),
    "other ref": ({"ref": "origin"}, "ref of the genesis"),
    "other key": ({"vkeys": ["x"]}, "keys in the genesis"),
    "no key": ({"vkeys": None}, "keys in the genesis"),
    "a number for keys": ({"vkeys": 5}, "keys in the genesis"),
    "objects for keys": ({"vkeys": [{"a": "b"}]}, "keys in the genesis"),
    "other type": ({"type": "party"}, "first entry"),
    "unknown field": ({"colour": "blue"}, "rule `invalid`"),
    "no operator": ({"operator": None}, "rule `invalid`"),
    "currencies of another kind": ({"currencies": 5}, "rule `invalid`"),
    "an exponent of 5": ({"currencies": {"IDR": 5}}, "rule `invalid`"),
}


@pytest.mark.parametrize(("changes", "compared"), GENESIS.values(), ids=GENESIS)
def test_a_genesis_that_is_none(log: Log, honest: Log, changes: Document, compared: str) -> None:
    mismatch = wrong(log.edit_statement(0, **changes).seal(), honest)
    assert (mismatch.index, mismatch.compared) == (0, compared)


def test_a_genesis_by_a_platform(log: Log, honest: Log) -> None:
    mismatch = wrong(log.edit(0, platform=PLATFORM).seal(), honest)
    assert (mismatch.index, mismatch.found) == (0, "'genesis' by 'kita'")


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "a space": lambda raw: raw.replace(b":", b": ", 1),
    "a float": lambda raw: raw.replace(b'"index":', b'"index":0.5,"x":', 1),
    "null": lambda raw: raw.replace(b'"statement":{', b'"statement":{"area":null,', 1),
    "a key twice": lambda raw: raw.replace(b"{", b'{"index":0,', 1),
    "keys in another order": lambda raw: json.dumps(
        dict(reversed(json.loads(raw).items())), separators=(",", ":")
    ).encode(),
    "an escape": lambda raw: raw.replace(b'"type"', b'"\\u0074ype"', 1),
    "a newline after it": lambda raw: raw + b"\n",
    "not UTF-8": lambda raw: raw.replace(b'"type"', b'"\xfftype"', 1),
    "a C1 control": lambda raw: raw.replace(b'"fund":"', b'"fund":"\xc2\x85', 1),
    "a lone surrogate": lambda raw: raw.replace(b'"fund":"', b'"fund":"\\ud800', 1),
    "deep nesting": lambda raw: b'{"a":' + b"[" * 30_000,
    "a large integer": lambda raw: raw.replace(b'"index":', b'"a":9007199254740992,"index":', 1),
    "an unknown field": lambda raw: raw.replace(b"{", b'{"aaa":1,', 1),
    "no object": lambda raw: b"[]",
    "nothing": lambda raw: b"",
    "over 48,000 bytes": lambda raw: raw.replace(b'"purpose":"', b'"purpose":"' + b"x" * 48_000),
}


@pytest.mark.parametrize("change", BYTES.values(), ids=BYTES)
def test_entry_bytes_that_are_not_of_the_format(
    log: Log, honest: Log, change: Callable[[bytes], bytes]
) -> None:
    index = log.find("paid-1")
    log.entries[index] = change(log.entries[index])
    mismatch = wrong(log.publish(), honest)
    assert (mismatch.index, mismatch.compared) == (index, "form of the entry")


# -- false totals, sealed as if they were true


def shifted(amount: str, by: int = 1) -> str:
    return format_amount(parse_total(amount, 2) + by, 2)


def with_total(name: str, change: Callable[[Any], Any]) -> Callable[[Document], None]:
    """Change one field of the last position of an entry; None takes it away."""

    def apply(document: Document) -> None:
        total = document["totals"][-1]
        total[name] = change(total.get(name))
        if total[name] is None:
            del total[name]

    return apply


LIES: dict[str, tuple[str, Callable[[Document], None]]] = {
    "balance": ("gift-2", with_total("balance", shifted)),
    "balance spelled otherwise": ("gift-2", with_total("balance", lambda b: b + "0")),
    "balance as a number": ("gift-2", with_total("balance", lambda b: 298500)),
    "n": ("gift-2", with_total("n", lambda n: n + 1)),
    "prev": ("gift-2", with_total("prev", lambda index: index - 1)),
    "prev of a first entry": ("gift-1", with_total("prev", lambda index: 6)),
    "no prev": ("gift-2", with_total("prev", lambda index: None)),
    "currency": ("gift-2", with_total("currency", lambda code: "USD")),
    "fund": ("gift-2", with_total("fund", lambda fund: "laut")),
    "span shifted": (
        "gift-2",
        with_total("spans", lambda s: [[shifted(end) for end in s[0]]]),
    ),
    "span longer": ("gift-2", with_total("spans", lambda s: [[s[0][0], shifted(s[0][1])]])),
    "span cut in two": (
        "paid-1",
        with_total("spans", lambda s: [[s[0][0], "100.00"], ["100.00", s[0][1]]]),
    ),
    "span of somebody else": ("paid-1", with_total("spans", lambda s: [["985.00", "1285.00"]])),
    "no spans": ("gift-2", with_total("spans", lambda s: [])),
    "a counter of zero": ("gift-2", with_total("returned", lambda _: "0.00")),
    "an unknown counter": ("gift-2", with_total("stolen", lambda _: "1.00")),
    "no totals": ("gift-2", lambda document: document.pop("totals")),
    "totals of what moves no money": (
        "party.yayasan",
        lambda document: document.update(totals=[{"n": 1}]),
    ),
    "totals twice": (
        "gift-2",
        lambda document: document.update(totals=document["totals"] * 2),
    ),
    "receiving fund first": ("share-1", lambda document: document["totals"].reverse()),
    "half of a transfer": ("share-1", lambda document: document["totals"].pop()),
}


def sealed_lie(log: Log, index: int, change: Callable[[Document], object]) -> Log:
    document = log.document(index)
    change(document)
    log.entries[index] = canonical(document)
    return log.seal()


@pytest.mark.parametrize(("ref", "change"), LIES.values(), ids=LIES)
def test_false_totals_are_found_at_their_entry(
    log: Log, honest: Log, ref: str, change: Callable[[Document], object]
) -> None:
    index = log.find(ref)
    mismatch = wrong(sealed_lie(log, index, change), honest)
    assert (mismatch.index, mismatch.compared) == (
        index,
        "totals, added up again from the first entry",
    )
    assert "sealed a false balance" in mismatch.meaning


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("by", [-1, 1])
def test_a_false_counter_is_found_at_the_first_entry_that_says_it(
    log: Log, honest: Log, counter: str, by: int
) -> None:
    places = [
        (index, number)
        for index in range(log.size)
        for number, total in enumerate(log.document(index).get("totals", []))
        if counter in total
    ]

    def lie(document: Document) -> None:
        total = document["totals"][places[0][1]]
        total[counter] = shifted(total[counter], by)

    assert wrong(sealed_lie(log, places[0][0], lie), honest).index == places[0][0]


# -- every audited rule, broken by force

DOOR_ONLY = {"personal_data_suspected", "duplicate_ref"}
READING = {"malformed", "not_supported"}  # BYTES above, and "not understood" below
FULL = "9" * 15 + ".999"


def broken() -> Iterator[tuple[str, str, str, Document]]:
    """(what, code, platform, statement): each breaks one rule when it is entry 25."""
    unknown = "unknown_reference"
    yield "unknown fund", unknown, PLATFORM, donation("nowhere")
    yield "unknown donor", unknown, PLATFORM, donation(donor={"kind": "organisation", "party": "x"})
    yield "unknown recipient", unknown, PLATFORM, disbursement(recipient={"party": "nobody"})
    yield "unknown receiving fund", unknown, PLATFORM, transfer("air", "nowhere")
    yield "unknown giving fund", unknown, PLATFORM, transfer("nowhere", "air")
    yield "unknown owner", unknown, PLATFORM, fund("new", owner="nobody")
    yield "unknown platform of a fund", unknown, PLATFORM, fund("new", platforms=["nobody"])
    yield "unknown programme", unknown, PLATFORM, fund("new", programmes=["nothing"])
    yield "unknown lead", unknown, PLATFORM, programme("new", lead="nobody")
    participants = [{"party": "nobody", "role": "funding"}]
    yield "unknown participant", unknown, PLATFORM, programme("new", participants=participants)
    yield "unknown poster", unknown, "nobody", donation()
    yield "posted by the ledger itself", unknown, SYSTEM_PLATFORM, donation()
    yield "target at its own index", unknown, PLATFORM, refund(25)
    yield "target beyond the log", unknown, PLATFORM, returned(10**9)
    yield "refund of a disbursement", "wrong_target", PLATFORM, refund(15)
    yield "refund of a refund", "wrong_target", PLATFORM, refund(18)
    yield "return of a donation", "wrong_target", PLATFORM, returned(13)
    yield "return of the genesis", "wrong_target", PLATFORM, returned(0)
    yield "transfer to itself", "self_transfer", PLATFORM, transfer("air", "air")
    yield "donation by another platform", "forbidden", OTHER, donation()
    yield "disbursement by another platform", "forbidden", OTHER, disbursement()
    yield "transfer by the receiving platform", "forbidden", OTHER, transfer("air", "desa")
    yield "refund by another platform", "forbidden", OTHER, refund(13, amount="1")
    yield "return by another platform", "forbidden", OTHER, returned(15, amount="1")
    replaced = party("yayasan", ref="again", supersedes=3)
    yield "party replaced by another platform", "forbidden", OTHER, replaced
    yield "donation to a closed fund", "fund_closed", PLATFORM, donation("tutup")
    yield "disbursement from a closed fund", "fund_closed", PLATFORM, disbursement("tutup")
    yield "transfer to a closed fund", "fund_closed", PLATFORM, transfer("air", "tutup")
    yield "first statement that supersedes", "stale", PLATFORM, party("new", supersedes=3)
    yield "second without superseding", "stale", PLATFORM, party("yayasan", ref="again")
    late = fund("desa", ref="desa-3", policy={"cost_cap_bp": 900}, supersedes=7)
    yield "superseding what is not current", "stale", PLATFORM, late
    yen = fund("air", ref="air-2", currency="JPY", supersedes=6)
    yield "currency of a fund", "immutable_field", PLATFORM, yen
    loose = fund("desa", ref="desa-3", policy={"cost_cap_bp": 901}, supersedes=23)
    yield "a looser cap", "cap_loosened", PLATFORM, loose
    yield "a cap taken away", "cap_loosened", PLATFORM, loose | {"policy": {}}
    yield "money out of a cap", "cap_loosened", PLATFORM, transfer("desa", "air")
    yield "donation in another currency", "currency_mismatch", PLATFORM, donation(currency="JPY")
    yield "transfer to another currency", "currency_mismatch", PLATFORM, transfer("air", "yen")
    yield "fees over the amount", "fees_exceed_amount", PLATFORM, donation(**fees("999", "2"))
    yield "refund over what is left", "exceeds_original", PLATFORM, refund(13, amount="1500.01")
    yield "refund made twice", "exceeds_original", PLATFORM, refund(12)
    given = refund(14, amount="600", **fees("500.01"))
    yield "more fees than there were", "exceeds_original", PLATFORM, given
    yield "return over what is left", "exceeds_original", PLATFORM, returned(15, amount="200.01")
    poor = "insufficient_funds"
    handed_out = goods("goods_out", "air", "gone", "1")
    yield "goods that never came in", "insufficient_stock", PLATFORM, handed_out
    yield "goods of an unknown fund", unknown, PLATFORM, handed_out | {"fund": "nowhere"}
    to_nobody = handed_out | {"recipient": {"party": "nobody"}}
    yield "goods to an unknown party", unknown, PLATFORM, to_nobody
    yield "goods by another platform", "forbidden", OTHER, goods("goods_in", "air", "g", "1")
    yield "goods for a closed fund", "fund_closed", PLATFORM, goods("goods_in", "tutup", "g", "1")
    yield "no goods at all", "invalid", PLATFORM, goods("goods_in", "air", "g", "0.0")
    valued = goods("goods_in", "air", "g", "1", currency="IDR", estimated_value="1.005")
    yield "a value of three decimals", "invalid_amount", PLATFORM, valued
    yield "a value without currency", "invalid", PLATFORM, {**valued, "currency": []}
    yield "report on an unknown fund", unknown, PLATFORM, report(fund="nowhere")
    yield "report on an unknown programme", unknown, PLATFORM, report(programme="nothing")
    yield "report by nobody", unknown, PLATFORM, report(fund="air", by="nobody")
    yield "report on everything", "invalid", PLATFORM, report(fund="air", programme="gizi")
    yield "evidence for what is not there", unknown, PLATFORM, evidence(10**9, bytes(32))
    yield "evidence for another entry", "wrong_target", PLATFORM, evidence(24, bytes(32))
    yield "more than the fund holds", poor, PLATFORM, disbursement(amount="100000")
    yield "transfer of more than there is", poor, PLATFORM, transfer("air", "desa", amount="99999")
    yield "from a fund without money", poor, OTHER, disbursement("laut", amount="1")
    yield "costs over the cap", "cost_cap_exceeded", PLATFORM, donation("desa", **fees("600"))
    office = disbursement("desa", amount="600", category="operational")
    yield "operational costs over the cap", "cost_cap_exceeded", PLATFORM, office
    vote = transfer("air", "desa", amount="1", basis="donor_vote")
    yield "a vote without evidence", "evidence_required", PLATFORM, vote
    yield (
        "two decimals of yen",
        "invalid_amount",
        PLATFORM,
        donation("yen", currency="JPY", amount="1.5"),
    )
    yield (
        "three decimals of rupiah in a refund",
        "invalid_amount",
        PLATFORM,
        refund(13, amount="1.001"),
    )
    for amount in ("0", "0.00", "-5", "+5", "05", "5.", ".5", "1e3", " 5", "5 ", "1,000", "١", 5):
        yield f"amount {amount!r}", "invalid_amount", PLATFORM, donation(amount=amount)
    yield "unknown currency", "unknown_currency", PLATFORM, donation(currency="ZZZ")
    spelling: dict[str, Document] = {
        "ref with a space": {"ref": "a b"},
        "ref with a newline": {"ref": "a\n"},
        "ref of 65": {"ref": "a" * 65},
        "ref without characters": {"ref": ""},
        "unknown field": {"colour": "blue"},
        "fund id in capitals": {"fund": "Air"},
        "30 February": {"occurred_at": "2025-02-30T10:00:00Z"},
        "a time without zone": {"occurred_at": "2025-02-03T10:00:00"},
        "unknown channel": {"channel": "pigeon"},
        "nine fees": fees("1", "1")
        | {"fees": [{"kind": "platform", "amount": f"{n}"} for n in range(1, 10)]},
        "no fees in the array": {"fees": []},
        "an organisation without a name": {"donor": {"kind": "organisation"}},
        "a person with a name": {"donor": {"kind": "individual", "party": "yayasan"}},
    }
    for what, changes in spelling.items():
        if what != "ref with a newline":  # no entry can hold one
            yield what, "invalid", PLATFORM, donation(**changes)
    yield "no amount", "invalid_amount", PLATFORM, donation(amount=[])
    yield "a space at the end", "invalid", PLATFORM, party("new", name="New ")
    yield "a party named ledger", "invalid", PLATFORM, party("ledger")
    yield "a cap of 10,001", "invalid", PLATFORM, fund("new", policy={"cost_cap_bp": 10_001})
    yield "no policy", "invalid", PLATFORM, {k: v for k, v in fund("new").items() if k != "policy"}
    files = [EVIDENCE[0] | {"bytes": n, "uri": "https://x.example/" + "x" * 180} for n in range(80)]
    yield "over 16 KiB", "invalid", PLATFORM, disbursement(evidence=files)
    yield "a ref used before", "ref_conflict", PLATFORM, donation(ref="gift-1")
    first = next(s for s in story() if s["ref"] == "gift-2")
    yield "the same statement again", "ref_conflict", PLATFORM, first


BROKEN = {what: case for what, *case in broken()}


@pytest.mark.parametrize(("code", "platform", "statement"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_found_at_its_entry(
    log: Log, honest: Log, code: str, platform: str, statement: Document
) -> None:
    log.append(platform, statement, totals=[{"made": "up"}])
    log.append(PLATFORM, donation(ref="after"), totals=[{"made": "up"}])
    mismatch = wrong(log.seal(), honest)
    assert (mismatch.index, mismatch.compared) == (25, f"rule `{code}`")
    assert "wrote past its rules" in mismatch.meaning


def test_no_audited_rule_is_left_out() -> None:
    codes = {code for code, _, _ in BROKEN.values()} | {"too_fragmented", "amount_too_large"}
    codes |= {attack.code for attack in ATTACKS.values()}
    assert codes == REFUSALS.keys() - DOOR_ONLY - READING


def test_a_second_genesis(log: Log, honest: Log) -> None:
    genesis = log.document(0)["statement"]
    cases = ((SYSTEM_PLATFORM, "genesis", "ref_conflict"), (PLATFORM, "genesis", "forbidden"))
    for platform, ref, code in (*cases, (SYSTEM_PLATFORM, "genesis-2", "forbidden")):
        mismatch = wrong(log.copy().append(platform, genesis | {"ref": ref}).seal(), honest)
        assert (mismatch.index, mismatch.compared) == (25, f"rule `{code}`")


def test_counters_reach_no_18_digits() -> None:
    log = new_log(ORIGIN).append(PLATFORM, party(PLATFORM))
    log.append(PLATFORM, fund("dinar", currency="KWD"))
    log.append(PLATFORM, donation("dinar", "brim", currency="KWD", amount=FULL))
    log.refold().append(PLATFORM, donation("dinar", "over", currency="KWD", amount="0.001"))
    mismatch = wrong(log.seal(), log)
    assert (mismatch.index, mismatch.compared) == (4, "rule `amount_too_large`")


def test_money_in_513_pieces() -> None:
    log = new_log(ORIGIN).append(PLATFORM, party(PLATFORM)).append(PLATFORM, fund("air"))
    gifts = range(3, 3 + 2 * 513)
    for index in gifts:
        log.append(PLATFORM, donation(ref=f"gift-{index}", amount="1"))
    for index in gifts[::2]:
        log.append(PLATFORM, refund(index, ref=f"refund-{index}", amount="1"))
    log.refold().append(PLATFORM, disbursement(amount="513"))
    mismatch = wrong(log.seal(), log)
    assert (mismatch.index, mismatch.compared) == (3 + 3 * 513, "rule `too_fragmented`")


def test_the_first_of_two_faults_is_told(log: Log, honest: Log) -> None:
    """A repeated ref is only found in the end; it still comes before what was wrong later."""
    log.append(PLATFORM, donation(ref="gift-1")).refold()
    log.append(PLATFORM, donation("nowhere", "later"))
    assert wrong(log.seal(), honest).index == 25
    log.edit_statement(25, ref="another").edit_statement(26, ref="gift-1").seal()
    mismatch = wrong(log, honest)  # both at once: the ref is what admission looks at first
    assert (mismatch.index, mismatch.compared) == (26, "rule `ref_conflict`")
    log.append(PLATFORM, donation(ref="gift-1"))
    mismatch = wrong(log.edit_statement(26, ref="later").seal(), honest)
    assert (mismatch.index, mismatch.compared) == (26, "rule `unknown_reference`")


def test_a_repeated_ref_is_not_told_before_what_was_wrong_earlier(large: Log) -> None:
    log = large.copy().edit_statement(620, ref="gift-1").seal()
    assert wrong(log, large).index == 620
    for hash_, index in ((1, 256), (0, 0)):  # compared in the end too, with the last tile
        assert wrong(log.flip("tile/1/000.p/2", hash_ * 256), large).index == index


# -- what this version does not understand is never sound

NOT_UNDERSTOOD: dict[str, tuple[Callable[[Log], object], int, str]] = {
    "a type of the format that is not enforced yet": (
        lambda log: log.append(PLATFORM, {"type": "key", "ref": "r"}),
        25,
        "key",
    ),
    "a type from the future": (
        lambda log: log.append(PLATFORM, {"type": "lottery", "ref": "r"}),
        25,
        "lottery",
    ),
    "no type": (lambda log: log.append(PLATFORM, {"ref": "r"}), 25, "None"),
    "a type that is no text": (lambda log: log.append(PLATFORM, {"type": 5}), 25, "5"),
    "what a donor can prove": (
        lambda log: log.edit_statement(13, donor={"kind": "pooled", "sd": ["x"]}),
        13,
        "/donor/sd",
    ),
    "a format from the future": (
        lambda log: log.edit_statement(0, format="amanah/2", vkeys=None, keyring="x"),
        0,
        "genesis",
    ),
}


@pytest.mark.parametrize(("change", "index", "what"), NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_what_is_not_understood_is_hashed_and_never_sound(
    log: Log, honest: Log, change: Callable[[Log], object], index: int, what: str
) -> None:
    change(log)
    report = judge(log.seal(), honest)
    assert not report.is_sound
    assert report.not_understood[0][0] == index
    assert what in report.not_understood[0][1]
    if index < 24:
        edited = log.copy().edit(24, recorded_at="2999-01-01T00:00:00.000Z")
        assert wrong(edited, honest).index == 24
        assert wrong(log.copy().edit(24, prev="1" * 64).publish(), honest).index == 24


def test_after_what_is_not_understood_no_rule_is_said_to_be_broken(log: Log, honest: Log) -> None:
    """It may have registered the fund, or moved the money."""
    log.append(PLATFORM, {"type": "lottery", "ref": "r"})
    log.append(PLATFORM, donation("nowhere")).append(PLATFORM, {"type": "lottery", "ref": "s"})
    assert [index for index, _ in judge(log.seal(), honest).not_understood] == [25, 27]
