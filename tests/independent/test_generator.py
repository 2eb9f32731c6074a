"""The generator gives the same stream for the same seed, mixed, and says what is refused."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from .fold import SCHEMAS, Fold
from .generator import CURRENCIES, expected, generate

SPELLING = {"invalid", "invalid_amount", "unknown_currency"}
NAMING = {"unknown_reference", "wrong_target", "self_transfer", "forbidden"}
STATE = {"fund_closed", "stale", "immutable_field", "currency_mismatch", "cap_loosened"}
BOOKS = {"fees_exceed_amount", "exceeds_original", "insufficient_funds", "cost_cap_exceeded"}
BOOKS |= {"insufficient_stock"}
CODES = SPELLING | NAMING | STATE | BOOKS | {"amount_too_large"}


def test_one_seed_is_one_stream_and_a_shorter_one_is_its_beginning() -> None:
    posts = list(generate(5, 600))
    assert posts == list(generate(5, 600))
    assert posts[:200] == list(generate(5, 200))
    assert posts != list(generate(6, 600))


def test_twenty_thousand_statements_are_mixed_and_fast() -> None:
    start = time.perf_counter()
    posts = list(generate(1, 20_000))
    assert time.perf_counter() - start < 10
    refused = expected(1, 20_000)
    assert set(refused.values()) == CODES
    assert 0.05 < len(refused) / 20_000 < 0.25
    types = Counter(s["type"] for i, (_, s) in enumerate(posts) if i not in refused)
    # Evidence and acknowledgements name a leaf hash, which nothing here can know.
    assert set(types) == set(SCHEMAS) - {"genesis", "evidence", "acknowledgement", "attestation"}
    assert len({statement["ref"] for _, statement in posts}) == 20_000


@pytest.mark.parametrize("extras", [True, False])
def test_a_fresh_fold_agrees(extras: bool) -> None:
    fold = Fold(CURRENCIES, parties=set())
    fold.size = 1
    refused = expected(2, 2_000, extras=extras)
    for i, (platform, statement) in enumerate(generate(2, 2_000, extras=extras)):
        answer = fold.post(platform, statement)
        assert (answer if isinstance(answer, str) else None) == refused.get(i)
