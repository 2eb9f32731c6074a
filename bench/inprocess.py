"""What is measured in this process, when nobody writes any more: auditing and proving."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Sequence

from bench.lines import Line
from bench.scale import SMALL_TREE
from ledger.audit import Known, audit
from ledger.service import Ledger
from ledger.tlog.merkle import prove_inclusion
from ledger.tlog.policy import Policy


def auditing(ledger: Ledger, turns: int) -> Line:
    """How fast the whole log is audited. Raises LedgerError when it is not sound."""
    store, policy = ledger.store, Policy.for_key(ledger.vkeys[0])
    size = store.size()
    entries = store.entries(0, size)
    ours, limit = [], []
    for _ in range(turns):
        limit.append(size / _hashing_seconds(entries))
        start = time.perf_counter()
        report = audit(store, policy, [Known(*head) for head in store.heads()])
        ours.append(size / (time.perf_counter() - start))
        assert report.is_sound, "this software understands what it has just written"
    return Line(
        "full audit, one core",
        "entries/s",
        statistics.median(ours),
        "entries/s hashlib alone",
        statistics.median(limit),
        ("ratio >= 0.05", "figure >= 40000"),
        "hash, chain, tree, canonical form, rules and books of every entry; hashlib alone hashes "
        "the same bytes from memory",
    )


def _hashing_seconds(entries: Sequence[bytes]) -> float:
    start = time.perf_counter()
    for data in entries:
        hashlib.sha256(b"\0" + data).digest()
    return time.perf_counter() - start


def proving(ledger: Ledger, turns: int, proofs: int) -> Line:
    """An inclusion proof out of the whole tree, against one out of a small tree."""
    size = ledger.store.size()
    small, whole = [], []
    for _ in range(turns):
        small.append(proof_us(ledger, min(SMALL_TREE, size), proofs))
        whole.append(proof_us(ledger, size, proofs))
    return Line(
        "inclusion proof p50, grown ledger",
        "us",
        statistics.median(whole),
        f"us at {SMALL_TREE:,}",
        statistics.median(small),
        ("ratio <= 3",),
        f"in process, at {size:,} entries, of entries all over the tree",
    )


def proof_us(ledger: Ledger, size: int, proofs: int) -> float:
    """How long a proof out of the tree of `size` takes, the median of them."""
    waits = []
    for i in range(proofs):
        start = time.perf_counter()
        prove_inclusion(i * 7919 % size, size, ledger.store.nodes(size).node)
        waits.append((time.perf_counter() - start) * 1e6)
    return statistics.median(waits)
