"""A ledger that lies to a platform: what it answers is proved, or an error says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import amanah
from amanah import Client, LogMismatch
from ledger.audit import prove_receipt
from ledger.proving import _proved
from ledger.tlog.proof import parse_proof
from ledger.tlog.tile import TileHashes
from tests.liar import Liar, Told
from tests.platforms.place import OTHER_KEY, Place, noting, posts, resigned
from tests.simulator import flipped, new_log
from tests.support import ORIGIN, PLATFORM, party

# -- a ledger that lies


def answering(**fields: Any) -> Callable[[Told], Told]:
    """The answer to a post with other fields in its first entry."""

    def lie(told: Told) -> Told:
        entries = told.json["entries"]
        return told.saying(told.json | {"entries": [entries[0] | fields, *entries[1:]]})

    return lie


def edited(told: Told, old: bytes = b'"1000"', new: bytes = b'"9000"') -> Told:
    """Bytes with something else in them: with another amount, if nothing is said."""
    return told._replace(body=told.body.replace(old, new))


def bit(told: Told) -> Told:
    return told._replace(body=flipped(told.body, 8 * (len(told.body) // 2)))


def other_proof(told: Told) -> Told:
    proof = ["00" * 32, *told.json["proof"][1:]]
    return told.saying(told.json | {"proof": proof})


GONE = Told(404, b"{}", {})
ENTRY, POST = "GET /v1/entries/", "POST"
LIES: dict[str, tuple[int, str, Callable[[Told], Told], str]] = {
    "signed by another": (1, POST, noting(lambda n: resigned(n, OTHER_KEY)), "signature of the"),
    "a root that nobody signed": (
        *(1, POST, noting(lambda n: n.split("\n", 3)[0] + "\n9\n" + n.split("\n", 2)[2])),
        "signature of the",
    ),
    "another leaf hash": (1, POST, answering(leaf_hash="ab" * 32), "leaf hash of the entry"),
    "the entry of somebody else": (1, POST, answering(index=1), "leaf hash of the entry"),
    "an entry that is not there yet": (1, POST, answering(index=10**6), "size of the checkpoint"),
    "an entry that is altered": (1, ENTRY, edited, "entry and its proof"),
    "an entry that is hidden": (1, ENTRY, lambda told: GONE, "entry and its proof"),
    "an entry that is none": (1, ENTRY, lambda t: t._replace(body=b"{}"), "entry and its proof"),
    "a proof of nothing": (1, "GET /v1/proofs/i", other_proof, "entry and its proof"),
    "no proof": (1, "GET /v1/proofs/i", lambda told: GONE, "entry and its proof"),
    "an altered bundle": (9, "GET /tile/entries/", edited, "entry and its proof"),
    "a bundle that ends early": (
        *(9, "GET /tile/entries/", lambda t: t._replace(body=t.body[:-9])),
        "entry and its proof",
    ),
    "no bundle": (9, "GET /tile/entries/", lambda told: GONE, "entry and its proof"),
    "an altered tile": (9, "GET /tile/0/", bit, "entry and its proof"),
    "no tile": (9, "GET /tile/0/", lambda told: GONE, "entry and its proof"),
    "no history": (1, "GET /v1/proofs/c", lambda told: GONE, "size of the log"),
    "another history": (1, "GET /v1/proofs/c", other_proof, "of size"),
}


@pytest.mark.parametrize(("count", "where", "lie", "compared"), LIES.values(), ids=LIES)
def test_a_lie_is_told_in_four_parts(
    kita: Client,
    liar: Liar,
    gift: Any,
    count: int,
    where: str,
    lie: Callable[[Told], Told],
    compared: str,
) -> None:
    kita.post(gift(-1))
    liar.on(where, lie)
    with pytest.raises(LogMismatch) as caught:
        kita.post_batch(posts([gift(number) for number in range(count)]))
    assert compared in caught.value.compared
    for part in ("expected:", "found:", "can mean:", "do next:"):
        assert f"\n  {part}" in str(caught.value)
    assert " or " in caught.value.meaning  # innocent and hostile
    liar.on("nothing", lie)
    proved = kita.post_batch(posts([gift(number) for number in range(count)]))
    assert all(p.replayed for p in proved)  # the lie over, all of it is there


def test_a_statement_is_not_taken_for_another(kita: Client, liar: Liar, gift: Any) -> None:
    """The answer names a true entry, by index and leaf hash: that of another gift."""
    first = kita.post(gift(1))
    liar.on("POST", answering(index=first.index, leaf_hash=first.leaf_hash))
    with pytest.raises(LogMismatch, match="statement of the entry") as caught:
        kita.post(gift(2))
    assert gift(2)["ref"] in caught.value.expected
    assert gift(1)["ref"] in caught.value.found


def test_a_checkpoint_from_before_is_no_answer_to_a_new_post(
    kita: Client, liar: Liar, gift: Any
) -> None:
    """It was true once, it is signed, and it covers the entry: and the log was longer since."""
    old = parse_proof(kita.post(gift(1)).receipt).checkpoint.decode()
    kita.post(gift(2))
    liar.on("POST", noting(lambda note: old))
    with pytest.raises(LogMismatch, match="what was seen before this request"):
        kita.post(gift(1))


def test_the_same_words_of_another_platform_are_another_entry(
    place: Place, liar: Liar, gift: Any
) -> None:
    mistaken = Client(liar.url, place.key, "another", vkey=place.vkey)
    with pytest.raises(LogMismatch, match="platform of the entry"):
        mistaken.post(gift())


def test_a_look_up_is_no_more_trusted_than_a_post(kita: Client, liar: Liar, gift: Any) -> None:
    kita.post_batch(posts([gift(1), gift(2)]))
    ref, other = gift(1)["ref"], gift(2)["ref"]
    liar.lie = lambda method, path, told: told
    theirs = kita._remote.get(f"v1/entries?platform={PLATFORM}&ref={other}")
    liar.on("GET /v1/entries?", lambda told: told._replace(body=theirs))
    with pytest.raises(LogMismatch, match="ref of the entry"):
        kita.entry_of(ref)
    with pytest.raises(LogMismatch, match="ref of the entry"):
        kita.reconcile([ref])
    receipt = kita._remote.receipt(0)
    liar.on("GET /v1/entries/", lambda told: told._replace(body=receipt))
    with pytest.raises(LogMismatch, match="entry and its proof"):
        kita.receipt(1)


def test_a_receipt_that_nobody_else_would_take_is_not_handed_out(kita: Client, liar: Liar) -> None:
    """The entry is proved, but the lines of the file do not say so."""
    liar.on("GET /v1/entries/1/", lambda told: edited(told, b"index 1\n", b"index 2\n"))
    with pytest.raises(LogMismatch, match="index of its receipt"):
        kita.receipt(1)
    liar.on("GET /v1/entries/1/", lambda told: told._replace(body=without_entry(told.body)))
    with pytest.raises(LogMismatch, match="carries no entry"):
        kita.receipt(1)


def without_entry(receipt: bytes) -> bytes:
    return b"".join(line for line in receipt.splitlines(True) if not line.startswith(b"extra "))


def test_an_entry_that_says_another_index_is_not_taken() -> None:
    """Though the ledger hashed and signed it so."""
    log = new_log(ORIGIN).append(PLATFORM, party(PLATFORM)).edit(1, index=7).publish()
    checkpoint = log.policy.check(log.note)
    proof = prove_receipt(log.entries[1], 1, log.note, 2, TileHashes(log.tile, 2).node)
    with pytest.raises(LogMismatch, match="index of the entry"):
        _proved(1, proof, checkpoint)


def test_what_is_no_answer_proves_nothing(kita: Client, liar: Liar, gift: Any) -> None:
    page = Told(200, b"<html>", {})
    ask: dict[str, Callable[[], object]] = {
        "POST": lambda: kita.post(gift()),
        "GET /v1/proofs": lambda: kita.post(gift()),
        "GET /v1/entries?": lambda: kita.entry_of("x"),
    }
    for where in ask:
        liar.on(where, lambda told: page)
        with pytest.raises(amanah.Unreachable):
            ask[where]()
    liar.on("POST", noting(lambda note: "hello"))
    with pytest.raises(amanah.Unreachable, match="answered no checkpoint"):
        kita.post(gift())
