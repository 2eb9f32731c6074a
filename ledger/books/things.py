"""The fold of goods, which are counted apart from all money."""

from __future__ import annotations

from ledger import goods
from ledger.books.layer import Posted
from ledger.books.refusing import check_open, check_right
from ledger.books.signing import Signing
from ledger.goods import Stock
from ledger.state import Movement, Total


class Goods(Signing):
    """Things in and things out (docs/format.md, "Goods")."""

    def _goods(self, post: Posted) -> list[Total]:
        index, platform, statement, _ = post
        fund_id = statement["fund"]
        fund = self._know_fund(fund_id, "/fund")
        recipient = statement.get("recipient", {})
        if "party" in recipient:
            self._know_party(recipient["party"], "/recipient/party")
        check_right(platform, fund, fund_id)
        check_open(fund, fund_id, "/fund")
        key = goods.key_of(statement)
        before = self.stock(key) or Stock()
        after = goods.moved(before, index, statement)
        self._check_signed(post)
        self.stocks[key] = after
        if "party" in recipient:  # who alone can acknowledge it
            self.movements[index] = Movement("goods_out", fund_id, 0, recipient=recipient["party"])
        return [goods.print_stock(key, before.last, after)]
