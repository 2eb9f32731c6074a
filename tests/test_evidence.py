"""Evidence names the leaf hash of what it is for, and every reader of a log holds it to that."""

from __future__ import annotations

import pytest

from ledger.audit import audit
from ledger.entry import entry_hash
from ledger.exports.log import Log as Exported
from ledger.exports.table import export
from ledger.tlog.policy import Policy
from ledger.tlog.tile import TILE_WIDTH
from tests.command_line import Amanah
from tests.simulator import Log
from tests.support import Api, body_of, donation, evidence, fund, goods, pointers, problem


@pytest.fixture
def many(client: Api) -> Api:
    """Three bundles of entries, the last still open."""
    client.post(fund("air"))
    client.post(*(donation(ref=f"d{n}") for n in range(2 * TILE_WIDTH)))
    return client


def leaf(client: Api, index: int) -> bytes:
    return entry_hash(client.ledger.store.entry_bytes(index))


def test_evidence_for_any_earlier_entry(many: Api) -> None:
    ledger = many.ledger
    for target in (0, 1, TILE_WIDTH - 1, TILE_WIDTH, ledger.store.size() - 1):
        many.post(evidence(target, leaf(many, target), f"e{target}"))
    many.post(*(donation(ref=f"more-{n}") for n in range(TILE_WIDTH)))  # its bundle becomes full
    many.post(evidence(600, leaf(many, 600), "e600"))
    policy = Policy.for_key(ledger.vkeys[0])
    assert audit(ledger.store, policy).is_sound
    assert len(list(export(Exported(ledger.store, ledger.store.checkpoint())))) > 3 * TILE_WIDTH
    doctor = Amanah(ledger.store.paths.database.parent)("doctor", "--json")
    assert doctor.json["well"], doctor


def test_another_hash_or_none_yet(many: Api) -> None:
    size = many.ledger.store.size()
    for target, code, where in (
        (3, "wrong_target", "/statement/target_leaf"),
        (size, "unknown_reference", "/statement/target"),
    ):
        answer = problem(many.send(body_of(evidence(target, bytes(32)))), 422, code)
        assert pointers(answer) == [where]
    batch = body_of(donation(ref="new"), evidence(size, bytes(32)))
    assert pointers(problem(many.send(batch), 422, "wrong_target")) == [
        "/entries/1/statement/target_leaf"
    ]


def test_a_false_hash_that_was_sealed_is_found(many: Api) -> None:
    many.post(evidence(7, leaf(many, 7)))
    many.post(*(donation(ref=f"more-{n}") for n in range(TILE_WIDTH)))
    log = Log.of(many.ledger)
    place = 2 * TILE_WIDTH + 3
    log.edit_statement(place, target=8).seal()
    with pytest.raises(Exception, match="wrong_target") as found:
        audit(log, log.policy)
    assert getattr(found.value, "index", None) == place


def test_false_stock_that_was_sealed_is_found(many: Api) -> None:
    many.post(goods("goods_in", "air", "in", "5"), goods("goods_out", "air", "out", "2"))
    many.post(*(donation(ref=f"more-{n}") for n in range(TILE_WIDTH)))
    place = 2 * TILE_WIDTH + 4
    honest = Log.of(many.ledger)
    [stock] = honest.document(place)["goods"]
    assert stock["stock"] == "3"
    for false in (
        {"goods": [stock | {"stock": "4"}]},
        {"goods": [stock | {"stock": "3.0"}]},
        {"goods": [stock, stock]},
        {"goods": None},
        {"goods": None, "totals": [stock]},
        {"totals": [stock]},
    ):
        log = honest.copy().edit(place, **false).seal()
        with pytest.raises(Exception, match="added up again") as found:
            audit(log, log.policy)
        assert getattr(found.value, "index", None) == place, false
