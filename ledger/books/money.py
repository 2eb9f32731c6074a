"""The folds of money that moves on: donations, disbursements, transfers."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.books.layer import Posted
from ledger.books.refusing import check_open, check_right, is_looser, net_of, refuse
from ledger.books.signing import Signing
from ledger.state import Fund, Movement, Position, Total

BASIS_POINTS = 10_000


class Money(Signing):
    """Money in, out, and from fund to fund (docs/format.md, "Totals and spans")."""

    def _donation(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        fund_id = statement["fund"]
        fund = self._know_fund(fund_id, "/fund")
        if "party" in statement.get("donor", {}):
            self._know_party(statement["donor"]["party"], "/donor/party")
        check_right(platform, fund, fund_id)
        check_open(fund, fund_id, "/fund")
        self._check_currency(statement, fund)
        amount, fees = self._amount_and_fees(statement, fund.currency)
        net = net_of(amount, fees)
        before = self._position(fund_id)
        changes = {
            "donated": amount,
            "platform_fees": fees["platform"],
            "payment_fees": fees["payment"],
        }
        if fees["platform"]:
            _check_cost_cap(fund, before, changes)
        span = (before.line_end, before.line_end + net)
        after = before.moved(index, changes)
        self._check_signed(post)
        self.positions[fund_id] = after
        self.movements[index] = Movement(
            "donation",
            fund_id,
            amount,
            start=span[0],
            end=span[1],
            platform_fees=fees["platform"],
            payment_fees=fees["payment"],
        )
        return [self._total(fund_id, fund, before, after, [span] if net else [])]

    def _disbursement(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        fund_id = statement["fund"]
        fund = self._know_fund(fund_id, "/fund")
        if "party" in statement["recipient"]:
            self._know_party(statement["recipient"]["party"], "/recipient/party")
        check_right(platform, fund, fund_id)
        check_open(fund, fund_id, "/fund")
        self._check_currency(statement, fund)
        amount = self._minor(statement, fund.currency)
        before = self._position(fund_id)
        self._check_funds(fund, before, amount)
        is_operational = statement["category"] == "operational"
        changes = {"operational" if is_operational else "disbursed": amount}
        if is_operational:
            _check_cost_cap(fund, before, changes)
        pieces, cursor = self._outflow(fund_id, before, amount)
        after = before.moved(index, changes, cursor)
        self._check_sanction(post, fund, amount)
        self._check_signed(post)
        self.positions[fund_id] = after
        recipient = statement["recipient"].get("party", "")
        self.movements[index] = Movement(
            "disbursement", fund_id, amount, is_operational=is_operational, recipient=recipient
        )
        return [self._total(fund_id, fund, before, after, pieces)]

    def _transfer(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        giver_id, taker_id = statement["from_fund"], statement["to_fund"]
        giver = self._know_fund(giver_id, "/from_fund")
        taker = self._know_fund(taker_id, "/to_fund")
        if giver_id == taker_id:
            refuse("self_transfer", "/to_fund", "both funds are the same")
        check_right(platform, giver, giver_id)
        check_open(giver, giver_id, "/from_fund")
        check_open(taker, taker_id, "/to_fund")
        self._check_currency(statement, giver)
        self._check_currency(statement, taker)
        if is_looser(giver.cost_cap_bp, taker.cost_cap_bp):
            detail = f"{giver_id} is capped at {giver.cost_cap_bp}; {taker_id} must be as tight"
            refuse("cap_loosened", "/to_fund", detail)
        amount = self._minor(statement, giver.currency)
        gives, takes = self._position(giver_id), self._position(taker_id)
        self._check_funds(giver, gives, amount)
        pieces, cursor = self._outflow(giver_id, gives, amount)
        gave = gives.moved(index, {"transferred_out": amount}, cursor)
        took = takes.moved(index, {"transferred_in": amount})
        self._check_sanction(post, giver, amount)
        if statement["basis"] != "terms" and "evidence" not in statement:
            detail = f"a transfer by {statement['basis']} shows its evidence"
            refuse("evidence_required", "/evidence", detail)
        self._check_signed(post)
        span = (takes.line_end, takes.line_end + amount)
        self.positions[giver_id], self.positions[taker_id] = gave, took
        self.movements[index] = Movement(
            "transfer", giver_id, amount, to_fund=taker_id, start=span[0], end=span[1]
        )
        return [
            self._total(giver_id, giver, gives, gave, pieces),
            self._total(taker_id, taker, takes, took, [span]),
        ]


def _check_cost_cap(fund: Fund, before: Position, changes: Mapping[str, int]) -> None:
    """10000 x costs <= cap x money given, this entry included; never asked of refunds."""
    if fund.cost_cap_bp is None:
        return

    def after(name: str) -> int:
        return before.count(name) + changes.get(name, 0)

    costs = after("platform_fees") - after("platform_fees_returned")
    costs += after("operational") - after("operational_returned")
    given = after("donated") - after("refunded")
    if BASIS_POINTS * costs > fund.cost_cap_bp * given:
        detail = f"costs may be {fund.cost_cap_bp} basis points of what was given and not refunded"
        refuse("cost_cap_exceeded", "/amount", detail)
