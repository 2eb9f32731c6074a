"""The client of platforms and an honest ledger, that may be down, busy, or die."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

import amanah
from amanah import Client
from ledger import client
from ledger.audit import verify_receipt
from ledger.batches import BATCH, BATCH_MAX, BODY_BYTES_MAX
from ledger.entry import entry_hash
from tests.liar import Liar, Told
from tests.platforms.place import Place, posts
from tests.support import ORIGIN, PLATFORM

# -- an honest ledger


def test_a_post_is_proved_and_brings_its_receipt(place: Place, kita: Client, gift: Any) -> None:
    proved = kita.post(gift())
    assert proved.entry.statement == gift()
    assert (proved.entry.platform, proved.replayed) == (PLATFORM, False)
    verified = verify_receipt(proved.receipt, kita._trust.policy)
    assert verified.entry.index == proved.index
    assert entry_hash(verified.entry_bytes).hex() == proved.leaf_hash


def test_the_same_post_again_is_the_same_entry(kita: Client, gift: Any) -> None:
    first, again = kita.post(gift()), kita.post(gift())
    assert (again.index, again.leaf_hash, again.replayed) == (first.index, first.leaf_hash, True)
    with pytest.raises(amanah.RefConflict) as caught:
        kita.post(gift(amount="2"))
    assert caught.value.index == first.index


def test_a_refusal_points_into_the_statement(kita: Client, gift: Any) -> None:
    with pytest.raises(amanah.Refusal) as alone:
        kita.post(gift(amount="0"))
    assert [fault.pointer for fault in alone.value.faults] == ["/statement/amount"]
    with pytest.raises(amanah.Refusal) as batch:
        kita.post_batch(posts([gift(1), gift(2, amount="0")]))
    assert [fault.pointer for fault in batch.value.faults] == ["/entries/1/statement/amount"]
    assert kita.entry_of(gift(1)["ref"]) is None


@pytest.mark.parametrize("member", ["signatures", "disclosures"])
def test_what_comes_with_a_statement_is_passed_on(
    kita: Client, liar: Liar, gift: Any, member: str
) -> None:
    """The ledger judges it, not the client."""
    both: Any = {member: ["nonsense"]}
    for post in (
        lambda: kita.post(gift(), **both),
        lambda: kita.post_batch([{"statement": gift()} | both]),
    ):
        with pytest.raises(amanah.Refusal) as caught:
            post()
        assert member in str(caught.value) + str(caught.value.faults)


@pytest.mark.parametrize("count", [1, 4, 5, 600])
def test_a_batch_is_proved_entry_by_entry(kita: Client, liar: Liar, gift: Any, count: int) -> None:
    statements = [gift(number) for number in range(count)]
    proved = kita.post_batch(posts(statements))
    assert [p.entry.statement for p in proved] == statements
    first = proved[0].index
    assert [p.index for p in proved] == list(range(first, first + count))
    assert len(liar.requests) < 25  # not one for each entry
    again = kita.post_batch(posts([gift(-1), *statements[::-1]]))
    assert [p.index for p in again[1:]] == [p.index for p in proved[::-1]]
    assert [p.replayed for p in again] == [False] + [True] * count


def test_what_is_too_much_for_one_batch_is_not_sent(kita: Client, liar: Liar, gift: Any) -> None:
    with pytest.raises(amanah.TooLarge, match="1001 posts are more than one batch takes"):
        kita.post_batch(posts([gift(number) for number in range(BATCH_MAX + 1)]))
    big = gift(donor={"kind": "x" * BODY_BYTES_MAX})
    with pytest.raises(amanah.TooLarge, match="more than one request takes"):
        kita.post(big)
    assert liar.requests == []


def test_any_number_is_posted_in_batches_that_are_said(kita: Client, liar: Liar, gift: Any) -> None:
    statements = [gift(number) for number in range(BATCH + 2)]
    statements[-1] |= {"fund": "nowhere"}
    done: list[int] = []
    with pytest.raises(amanah.Refusal):
        done.extend(map(len, kita.post_in_batches(posts(statements))))
    assert done == [BATCH]
    assert kita.entry_of(gift(BATCH)["ref"]) is None
    again = [p.replayed for batch in kita.post_in_batches(posts(statements[:-1])) for p in batch]
    assert again == [True] * BATCH + [False]


def test_many_threads_may_share_a_client(kita: Client, gift: Any) -> None:
    """Answers overtake each other, and that is no lie."""
    with ThreadPoolExecutor(8) as pool:
        proved = list(pool.map(kita.post, [gift(n % 20) for n in range(60)]))
    assert len({p.index for p in proved}) == 20
    assert [p.replayed for p in proved].count(False) == 20


def test_what_became_of_a_request_can_be_looked_up(kita: Client, gift: Any) -> None:
    proved = kita.post(gift())
    found = kita.entry_of(gift()["ref"])
    assert found is not None
    assert (found.index, found.entry) == (proved.index, proved.entry)
    assert kita.entry_of("strange&ref=1") is None
    assert kita.receipt(0).entry.statement["type"] == "genesis"
    with pytest.raises(amanah.NotFound):
        kita.receipt(10**9)
    assert kita.ledger()["origin"] == ORIGIN


def test_reconciling_counts_what_is_there_and_names_what_is_not(
    place: Place, kita: Client, liar: Liar, gift: Any
) -> None:
    proved = kita.post_batch(posts([gift(number) for number in range(9)]))
    refs = [gift(number)["ref"] for number in range(12)]
    result = kita.reconcile(refs)
    assert result.booked == {ref: p.index for ref, p in zip(refs, proved, strict=False)}
    assert result.missing == refs[9:]
    assert kita.reconcile([]) == amanah.Reconciliation({}, [])
    # What another platform booked under the same ref is not ours.
    other = Client(liar.url, place.key, "another", vkey=place.vkey)
    assert other.reconcile(refs[:2]).missing == refs[:2]


def test_entries_newer_than_the_published_checkpoint_are_reconciled_too(
    kita: Client, liar: Liar, gift: Any
) -> None:
    """With witnesses, what is published may be a little older."""
    old = kita._remote.checkpoint()
    proved = kita.post(gift())
    liar.on("GET /checkpoint", lambda told: told._replace(body=old))
    assert kita.reconcile([gift()["ref"]]).booked == {gift()["ref"]: proved.index}


# -- a ledger that is down, busy, or dies


def test_an_answer_that_is_lost_is_asked_for_again(kita: Client, liar: Liar, gift: Any) -> None:
    liar.once("POST", lambda told: told._replace(cut=9))
    proved = kita.post(gift())
    assert proved.replayed  # the first time it was sealed, and nobody heard of it
    assert [method for method, _ in liar.requests].count("POST") == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_ledger_is_asked_again_when_it_says_so(
    kita: Client, liar: Liar, gift: Any, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    # The library's own clock: other threads of the test runner sleep too.
    monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=waits.append))
    busy = Told(status, b"", {"Retry-After": "7"} if status in (429, 503) else {})
    liar.once("POST", lambda told: busy)
    assert kita.post(gift()).entry.statement == gift()
    (wait,) = waits
    assert wait == 7 if status in (429, 503) else 0 < wait < 1


def test_a_ledger_that_comes_up_again_is_posted_to(
    place: Place, kita: Client, liar: Liar, gift: Any
) -> None:
    liar.comes_up(place.url, after=3)
    assert kita.post(gift()).entry.statement == gift()
    assert [method for method, _ in liar.requests][:4] == ["POST"] * 4


def test_a_ledger_that_stays_down_is_given_up(kita: Client, liar: Liar, gift: Any) -> None:
    liar.upstream = None
    with pytest.raises(amanah.Unreachable):
        kita.post(gift())
    assert len(liar.requests) == 6


def test_the_waits_grow_and_differ_and_end() -> None:
    retry = client._RETRY
    waits: list[list[float]] = []
    for _ in range(5):
        retry = retry.increment("GET", "/", error=Exception())
        waits.append([retry.get_backoff_time() for _ in range(20)])
    for number, some in enumerate(waits):
        assert len(set(some)) > 1
        assert 0.2 * 2**number <= min(some) <= max(some) <= 0.4 * 2**number
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        retry.increment("GET", "/", error=Exception())
