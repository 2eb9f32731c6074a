"""The views over HTTP, while the log grows under them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from ledger import viewing
from ledger.service import Ledger
from ledger.views.fold import Fold
from tests.signers import acknowledgement, keyed, signed
from tests.support import (
    Api,
    disbursement,
    donation,
    fund,
    party,
    problem,
    programme,
    refund,
    transfer,
)


@pytest.fixture
def filled(client: Api) -> Api:
    """Two organisations of one programme, the first of which passes money on to the second."""
    things = [party("yayasan"), party("dinkes", kind="government"), party("pt", kind="private")]
    things += [programme("gizi", lead="dinkes")]
    of: dict[str, Any] = {"programmes": ["gizi"], "policy": {"cost_cap_bp": 1000}}
    things += [fund("air", **of | {"owner": "yayasan"}), fund("desa", **of | {"owner": "dinkes"})]
    donor = {"kind": "organisation", "party": "pt"}
    things += [donation("air", "a", amount="600", donor=donor), donation("air", "b", amount="400")]
    things += [fund("lain"), donation("lain", "c", amount="50")]
    things += [transfer("air", "desa", amount="300"), transfer("lain", "desa", "t2", amount="20")]
    things += [disbursement("desa", amount="200", recipient={"party": "pt"})]
    things += [disbursement("air", "ops", amount="5", category="operational")]
    client.post(*things)
    return client


def get(client: Api, path: str) -> Any:
    return client.get(path).get_json()


def test_money_of_a_programme_is_counted_once(filled: Api) -> None:
    answer = get(filled, "/v1/programmes/gizi")
    (figures,) = answer["figures"]
    assert figures["money"] == {
        "given": "1000.00",
        "moved_in": "20.00",
        "moved_out": "0.00",
        "moved_within": "300.00",
        "platform_fees": "0.00",
        "payment_fees": "0.00",
        "disbursed": "200.00",
        "operational": "5.00",
        "balance": "815.00",
    }
    assert figures["cost"] == {"amount": "5.00", "of": "1000.00", "share_bp": 50}
    shares = {kind["kind"]: kind["share_bp"] for kind in figures["inflow"]}
    assert shares == {"private": 5882, "unstated": 3921, "platform": 196}
    assert answer["as_of"]["size"] == filled.ledger.store.size()


def test_what_proves_the_numbers(filled: Api) -> None:
    (figures,) = get(filled, "/v1/programmes/gizi")["figures"]
    assert [proof["fund"] for proof in figures["funds"]] == ["air", "desa"]
    for proof in figures["funds"]:
        said = get(filled, f"/v1/entries/{proof['index']}")["entry"]["statement"]
        assert (said["id"], said["owner"]) == (proof["fund"], proof["owner"])
        assert proof["cost_cap_bp"] == 1000
        totals = get(filled, f"/v1/entries/{proof['totals_index']}")["entry"]["totals"]
        assert proof["fund"] in {total["fund"] for total in totals}
        alone = get(filled, f"/v1/funds/{proof['fund']}")
        assert alone["totals_index"] == proof["totals_index"]
        assert alone["totals"]["balance"] == alone["figures"]["money"]["balance"]


def test_a_party_has_the_figures_of_what_it_owns(filled: Api) -> None:
    (figures,) = get(filled, "/v1/parties/dinkes")["figures"]
    assert figures["money"]["moved_in"] == "320.00"
    assert get(filled, "/v1/parties/pt")["figures"] == []


def test_a_fund_that_changes_hands_and_programmes_is_counted_where_it_is_now(filled: Api) -> None:
    index = get(filled, "/v1/funds/air")["index"]
    filled.ledger.views.follow()
    changed = fund("air", ref="again", policy={"cost_cap_bp": 900}, supersedes=index)
    filled.post(changed)
    for _ in range(2):  # folded in memory, and then stored
        assert [f["fund"] for f in get(filled, "/v1/parties/kita")["figures"][0]["funds"]] == [
            "air",
            "lain",
        ]
        assert get(filled, "/v1/parties/yayasan")["figures"] == []
        (figures,) = get(filled, "/v1/programmes/gizi")["figures"]
        assert [f["fund"] for f in figures["funds"]] == ["desa"]
        assert figures["money"]["moved_in"] == "320.00"
        filled.ledger.views.follow()


def test_the_graph_of_a_programme(filled: Api) -> None:
    answer = get(filled, "/v1/programmes/gizi/graph")
    edges = [(e["source"], e["target"], e["how"], e["amount"]) for e in answer["edges"]]
    assert edges == [
        ("party/pt", "party/yayasan", "donation", "600.00"),
        ("donors/unstated", "party/yayasan", "donation", "400.00"),
        ("party/yayasan", "party/dinkes", "transfer", "300.00"),
        ("party/dinkes", "party/pt", "disbursement", "200.00"),
        ("party/kita", "party/dinkes", "transfer", "20.00"),
        ("party/yayasan", "party/kita", "disbursement", "5.00"),
    ]
    kinds = {node["id"]: node["kind"] for node in answer["nodes"]}
    assert (kinds["party/dinkes"], kinds["donors/unstated"]) == ("government", "donors")
    cut = get(filled, "/v1/programmes/gizi/graph?limit=1")
    assert (cut["edges"], cut["edges_total"]) == (answer["edges"][:1], 6)
    assert {node["id"] for node in cut["nodes"]} == {"party/pt", "party/yayasan"}
    problem(filled.get("/v1/programmes/nothing/graph", 404), 404, "not_found")


def test_what_a_recipient_says_is_in_the_figures(filled: Api) -> None:
    ledger = filled.ledger
    ledger.post("kita", [signed(keyed("posyandu"), "posyandu")])
    paid = disbursement("air", "paid", amount="40", recipient={"party": "posyandu"})
    [sent] = ledger.post("kita", [paid]).entries
    for ref, status, more in (("all", "received", {}), ("part", "partial", {"amount": "30"})):
        said = acknowledgement(sent.index, sent.leaf_hash, "posyandu", ref, status=status, **more)
        ledger.post("kita", [signed(said, "posyandu")])
    figures = get(filled, "/v1/funds/air")["figures"]
    assert figures["acknowledged"] == {"amount": "30.00", "of": "45.00", "share_bp": 6666}
    assert figures["hours_to_acknowledgement"] == {"median": "24", "over": "30.00"}


def test_a_fund_without_money_has_figures(filled: Api) -> None:
    filled.post(fund("kosong", currency="JPY"))
    figures = get(filled, "/v1/funds/kosong")["figures"]
    assert figures["money"]["given"] == "0"
    assert figures["cost"] == {"amount": "0", "of": "0", "share_bp": None}
    assert figures["unspent"]["age_hours"] == {"median": None, "over": "0"}
    assert figures["inflow"] == []


def test_every_answer_is_as_of_the_newest_entry(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables follow in bulks, and another process lets them follow too."""
    monkeypatch.setattr(viewing, "BULK", 4)
    database = filled.ledger.store.paths.database
    given = 1000
    with closing(Ledger.open(database)) as other:
        for number in range(30):
            gift = filled.post(donation("air", f"more-{number}", amount="10"))["entries"][0]
            given += 10
            if number % 3 == 0:
                filled.post(refund(gift["index"], f"back-{number}", amount="10"))
                given -= 10
            if number % 5 == 0:
                other.views.follow()
            answer = get(filled, "/v1/funds/air")
            assert answer["as_of"]["index"] == filled.ledger.store.size() - 1
            assert answer["figures"]["money"]["given"] == f"{given}.00"
            assert answer["totals"]["balance"] == answer["figures"]["money"]["balance"]
            assert answer["totals"]["balance"] == answer["figures"]["unspent"]["age_hours"]["over"]
    with closing(sqlite3.connect(database)) as connection:
        (reach,) = connection.execute("SELECT size FROM viewed").fetchone()
    assert 0 <= filled.ledger.store.size() - reach < 4


def test_two_processes_that_fold_the_same_entries_store_them_once(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Ledger.open(filled.ledger.store.paths.database)) as other:
        writing = other.store.writing

        def overtaken() -> Any:
            """The other one comes first, after all was folded."""
            assert filled.ledger.views.follow()
            return writing()

        monkeypatch.setattr(other.store, "writing", overtaken)
        other.views.follow()
        unspent, balance = other.views.ask(balances)
    assert unspent == balance


def test_a_log_that_is_far_ahead_is_followed_one_question_after_another(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "BULK", 2)
    monkeypatch.setattr(viewing, "BULKS_MAX", 3)
    size = filled.ledger.store.size()
    # The bulks of each question, and one more that is folded in memory.
    sizes = [get(filled, "/v1/parties/kita")["as_of"]["size"] for _ in range(4)]
    assert sizes == [8, 14, size, size]


def test_a_fund_that_the_views_do_not_reach_has_no_figures_yet(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "BULK", 1)
    monkeypatch.setattr(viewing, "BULKS_MAX", 1)
    answer = get(filled, "/v1/funds/lain")
    assert (answer["figures"], answer["as_of"]["size"]) == (None, 2)
    assert answer["totals"]["balance"] == "30.00"
    newest = filled.ledger.store.size() - 1
    problem(filled.get(f"/v1/entries/{newest}/trace", 503), 503, "unavailable")


def test_questions_of_many_threads_while_somebody_posts(
    filled: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewing, "BULK", 8)
    answers: list[tuple[int, int]] = []

    def ask() -> None:
        answers.extend(filled.ledger.views.ask(balances) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(40):
        filled.ledger.post("kita", [donation("air", f"t-{number}", amount="1")])
    for thread in threads:
        thread.join()
    assert len(answers) == 80
    assert all(unspent == balance for unspent, balance in answers)


def balances(fold: Fold) -> tuple[int, int]:
    """What is unspent of a fund by its age, and by its last totals; in minor units."""
    purse = fold.purse("air")
    assert purse is not None
    assert purse.last is not None
    totals = fold.entry(purse.last)["totals"]
    balance = next(total["balance"] for total in totals if total["fund"] == "air")
    return sum(fold.weights("air", "unspent").values()), int(balance.replace(".", ""))
