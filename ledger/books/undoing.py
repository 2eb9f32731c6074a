"""The folds of what takes money back: refunds and returns."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import merge

from ledger.books.layer import Posted
from ledger.books.refusing import check_pieces, check_right, net_of, refuse
from ledger.books.signing import Signing
from ledger.spans import PIECES_MAX, Span, free, joined, lowest
from ledger.state import Movement, Position, Total


class Undoing(Signing):
    """Money back to a donor, or back to a fund (docs/format.md, "Totals and spans")."""

    def _refund(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        target = statement["target"]
        donation = self._know_target(index, target, ("donation",))
        fund_id = donation.fund
        fund = self._known_fund(fund_id)
        amount, fees = self._amount_and_fees(statement, fund.currency)
        check_right(platform, fund, fund_id)
        line_part = net_of(amount, fees)
        self._check_original(donation, line_part, fees, fund.currency)
        before = self._position(fund_id)
        self._check_funds(fund, before, line_part)
        own, rest, cursor = self._refund_pieces(donation, before, line_part)
        changes = {
            "refunded": amount,
            "platform_fees_returned": fees["platform"],
            "payment_fees_returned": fees["payment"],
        }
        after = before.moved(index, changes, cursor)
        # What the donor gave and nobody spent goes back without asking; the rest is others' money.
        self._check_sanction(post, fund, sum(end - start for start, end in rest))
        self._check_signed(post)
        self.positions[fund_id] = after
        for hole in own:
            self._add_hole(fund_id, hole)
        self.movements[target] = donation._replace(
            undone=donation.undone + amount,
            platform_fees_undone=donation.platform_fees_undone + fees["platform"],
            payment_fees_undone=donation.payment_fees_undone + fees["payment"],
        )
        return [self._total(fund_id, fund, before, after, joined(own + rest))]

    def _check_original(
        self, donation: Movement, line_part: int, fees: Mapping[str, int], currency: str
    ) -> None:
        given_back = donation.platform_fees_undone + donation.payment_fees_undone
        left = donation.end - donation.start - (donation.undone - given_back)
        left_fees = {
            "platform": donation.platform_fees - donation.platform_fees_undone,
            "payment": donation.payment_fees - donation.payment_fees_undone,
        }
        if line_part > left:
            detail = f"of the donation {self._print(left, currency)} is left beside its fees"
            refuse("exceeds_original", "/amount", detail)
        for kind, minor in fees.items():
            if minor > left_fees[kind]:
                detail = f"of the {kind} fees {self._print(left_fees[kind], currency)} is left"
                refuse("exceeds_original", "/fees", detail)

    def _refund_pieces(
        self, donation: Movement, before: Position, line_part: int
    ) -> tuple[list[Span], list[Span], int]:
        """Own span first, lowest positions first; the rest like an outflow around it."""
        start = max(donation.start, before.cursor)
        holes = self.holes(donation.fund, start)
        own, missing = lowest(free(start, donation.end, holes), line_part)
        rest: list[Span] = []
        if missing:
            # More is asked than the own span still holds, so all of it counts as taken.
            own_span = (donation.start, donation.end)
            around = merge(self.holes(donation.fund, before.cursor), [own_span])
            rest, _ = lowest(free(before.cursor, before.line_end, around), missing)
        check_pieces(joined(own + rest))
        return own, rest, rest[-1][1] if rest else before.cursor

    def _return(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        moved = self._know_target(index, statement["target"], ("disbursement", "transfer"))
        giver_id, taker_id = moved.fund, moved.to_fund
        giver = self._known_fund(giver_id)
        amount = self._minor(statement, giver.currency)
        if not (taker_id and platform in self._known_fund(taker_id).platforms):
            check_right(platform, giver, giver_id)
        left = moved.amount - moved.undone
        if amount > left:
            detail = f"of the target {self._print(left, giver.currency)} is left"
            refuse("exceeds_original", "/amount", detail)
        if taker_id:
            totals = self._return_transfer(post, moved, amount)
        else:
            totals = self._return_disbursement(post, moved, amount)
        self.movements[statement["target"]] = moved._replace(undone=moved.undone + amount)
        return totals

    def _return_disbursement(self, post: Posted, moved: Movement, amount: int) -> list[Total]:
        before = self._position(moved.fund)
        changes = {
            "returned": amount,
            "operational_returned": amount if moved.is_operational else 0,
        }
        after = before.moved(post.index, changes)
        self._check_signed(post)
        self.positions[moved.fund] = after
        span = (before.line_end, before.line_end + amount)
        return [self._total(moved.fund, self._known_fund(moved.fund), before, after, [span])]

    def _return_transfer(self, post: Posted, moved: Movement, amount: int) -> list[Total]:
        giver, taker = self._known_fund(moved.fund), self._known_fund(moved.to_fund)
        gives, takes = self._position(moved.fund), self._position(moved.to_fund)
        start = max(moved.start, takes.cursor)
        unspent = free(start, moved.end, self.holes(moved.to_fund, start))
        pieces, missing = lowest(unspent, amount)
        if missing and len(pieces) <= PIECES_MAX:
            held = self._print(amount - missing, giver.currency)
            detail = f"of this transfer the fund {moved.to_fund!r} still holds {held}"
            refuse("insufficient_funds", "/amount", detail)
        check_pieces(pieces)
        took = takes.moved(post.index, {"transferred_in_returned": amount})
        gave = gives.moved(post.index, {"transferred_out_returned": amount})
        # Whoever said that it came must agree that it goes back.
        self._check_signed(post, *([taker.owner] if moved.is_received else []))
        self.positions[moved.to_fund], self.positions[moved.fund] = took, gave
        for hole in pieces:
            self._add_hole(moved.to_fund, hole)
        span = (gives.line_end, gives.line_end + amount)
        return [
            self._total(moved.to_fund, taker, takes, took, pieces),
            self._total(moved.fund, giver, gives, gave, [span]),
        ]
