"""A deterministic stream of mixed statements for a fresh ledger whose entry 0 is the genesis.

`generate(seed, n)` yields (platform, statement); targets and `supersedes` assume that every
acceptable statement takes the next index, in order, and a refused one takes none. `expected`
tells which positions (from 0) are to be refused, and with which code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from .fold import Fold, Json, length, major

PLATFORMS = ("kitabantu", "warung-peduli", "openhand", "tsunagu")
ORGANISATIONS = ("yayasan-air", "dinas-sosial", "koperasi-tani", "north-clinic", "river-trust")
PROGRAMMES = ("clean-water", "school-meals")
CURRENCIES = {"IDR": 2, "GBP": 2, "JPY": 0, "KWD": 3}
WORDS = ("water", "meals", "books", "roofs", "seeds", "nets", "wells", "boats", "lamps", "bikes")
BAD_AMOUNTS = ("0", "0.00", "007", "-5", " 5", "1,000", "5.", ".5", "1e3", "1.001", "١", 5, "")
BAD_QUANTITIES = ("0", "0.000", "01", "-1", "1.0000001", "1e3", "1.", 5, "")
Post = tuple[str, Json]


def letters(number: int) -> str:
    """A number spelled without digits, so that no id looks like a telephone number."""
    word = chr(97 + number % 26)
    return letters(number // 26) + word if number >= 26 else word


class _Maker:
    def __init__(self, seed: int, invalid: float, extras: bool) -> None:
        self.rng, self.invalid, self.extras = random.Random(seed), invalid, extras
        self.fold = Fold(CURRENCIES, parties=set())
        self.fold.size = 1  # the genesis
        self.funds: list[str] = []
        self.gifts: list[int] = []
        self.outflows: list[int] = []
        self.start = self.opening()
        many = [*[self.donation] * 8, *[self.disbursement] * 4, *[self.refund] * 2]
        few = [*[self.transfer] * 2, *[self.give_back] * 2, *[self.goods] * 2]
        few += [self.fund_again, self.report]
        self.actions: list[Callable[[], Post]] = many + few

    def opening(self) -> Iterator[Post]:
        for i, id_ in enumerate(PLATFORMS + ORGANISATIONS):
            kind = "platform" if i < len(PLATFORMS) else self.rng.choice(("ngo", "government"))
            party: Json = {"type": "party", "id": id_, "name": id_.replace("-", " "), "kind": kind}
            yield id_ if kind == "platform" else self.rng.choice(PLATFORMS), party
        for id_ in PROGRAMMES:
            roles = [{"party": party, "role": "implementing"} for party in ORGANISATIONS[:3]]
            statement: Json = {"type": "programme", "id": id_, "title": id_.replace("-", " ")}
            statement |= {"lead": self.rng.choice(ORGANISATIONS), "participants": roles}
            yield self.rng.choice(PLATFORMS), statement
        for _ in range(12):
            yield self.new_fund()
        platform, brim = self.new_fund()  # filled to the brim of 10^18 by its first donation
        yield platform, brim | {"id": "fund-brim", "currency": "KWD", "status": "open"}

    # the pieces of a statement

    def amount(self, most: int, exponent: int) -> str:
        word = major(self.rng.randint(1, max(1, most)), exponent)
        short = "." in word and self.rng.random() < 0.3
        return word.rstrip("0").rstrip(".") if short else word

    def at(self) -> str:
        r = self.rng.randrange
        zone = self.rng.choice(("Z", "+07:00", ".250+09:00", "-00:30"))
        return f"2025-{r(1, 13):02d}-{r(1, 29):02d}T{r(24):02d}:{r(60):02d}:{r(60):02d}{zone}"

    def words(self) -> str:
        return " ".join(self.rng.choices(WORDS, k=3))

    def evidence(self) -> list[Json]:
        digest, size = self.rng.randbytes(32).hex(), self.rng.randrange(10**6)
        return [{"sha256": digest, "media_type": "application/pdf", "bytes": size}]

    def donor(self) -> Json:
        if self.rng.random() < 0.3:
            return {"kind": "organisation", "party": self.rng.choice(ORGANISATIONS)}
        return {"kind": self.rng.choice(("individual", "pooled"))}

    def payer(self, fund: str) -> str:
        platform: str = self.rng.choice(self.fold.fund(fund)["platforms"])
        return platform

    def some_fund(self, least: int = 0) -> str:
        """Mostly an open one, with money in it where `least` is 1."""
        for id_ in self.rng.choices(self.funds, k=6):
            if self.fold.fund(id_)["status"] == "open" and self.fold.purses[id_].balance >= least:
                return id_
        return self.rng.choice(self.funds)

    # statements

    def new_fund(self) -> Post:
        id_ = f"fund-{self.rng.choice(WORDS)}-{letters(len(self.funds))}"
        platforms = self.rng.sample(PLATFORMS, self.rng.randint(1, 3))
        cap = self.rng.choice((None, None, 0, 500, 1000, 1250))
        currency = self.rng.choice(("IDR", "IDR", *CURRENCIES))
        statement: Json = {"type": "fund", "id": id_, "title": self.words(), "currency": currency}
        statement |= {"owner": self.rng.choice(ORGANISATIONS), "platforms": platforms}
        statement |= {"policy": {} if cap is None else {"cost_cap_bp": cap}, "status": "open"}
        if self.extras and self.rng.random() < 0.5:
            statement |= {"programmes": [PROGRAMMES[0]], "restriction": "with_donor"}
            statement["goal_amount"] = self.amount(10**9, CURRENCIES[currency])
        return self.rng.choice(platforms), statement

    def fund_again(self) -> Post:
        if len(self.funds) < 60 and self.rng.random() < 0.3:
            return self.new_fund()
        id_ = self.rng.choice(self.funds)
        named = self.fold.named["fund"][id_]
        statement = {name: v for name, v in named.statement.items() if name != "ref"}
        cap = self.fold.cap(id_)
        change = self.rng.randrange(6)
        if change == 0:
            statement["status"] = "closed"
        elif change == 1 and cap != 0:
            statement["policy"] = {"cost_cap_bp": self.rng.randint(0, cap or 1500)}
        elif change == 2:
            statement["platforms"] = self.rng.sample(PLATFORMS, self.rng.randint(1, 4))
        else:
            statement |= {"title": self.words(), "status": "open"}
        return named.platform, statement | {"supersedes": named.index}

    def again(self) -> Post:
        kind = self.rng.choice(("party", "programme"))
        named = self.fold.named[kind][self.rng.choice(list(self.fold.named[kind]))]
        statement = {name: v for name, v in named.statement.items() if name != "ref"}
        statement["name" if kind == "party" else "title"] = self.words()
        return named.platform, statement | {"supersedes": named.index}

    def money(self, kind: str, fund: str, most: int, name: str = "fund") -> Json:
        purse = self.fold.purses[fund]
        amount = self.amount(most, purse.exponent)
        statement: Json = {"type": kind, name: fund, "amount": amount, "occurred_at": self.at()}
        return statement | {"currency": purse.currency}

    def donation(self) -> Post:
        fund = self.some_fund()
        statement = self.money("donation", fund, 10 ** self.rng.randint(2, 8))
        exponent = self.fold.purses[fund].exponent
        if fund == "fund-brim":
            statement["amount"] = "9" * 15 + ".999"
        elif self.rng.random() < 0.4:
            whole = int(statement["amount"].split(".")[0]) * 10**exponent
            rates = {"payment": 0.02, "platform": 0.03 if self.fold.cap(fund) != 0 else 0}
            fees = [(kind, self.rng.randint(0, int(whole * r))) for kind, r in rates.items()]
            fees_spelled = [{"kind": k, "amount": major(v, exponent)} for k, v in fees if v]
            statement |= {"fees": fees_spelled} if fees_spelled else {}
        if self.rng.random() < 0.3:
            statement["channel"] = self.rng.choice(("qris", "va", "card", "cash"))
        if self.extras and self.rng.random() < 0.1:
            statement["donor"] = self.donor()
        return self.payer(fund), statement

    def disbursement(self) -> Post:
        fund = self.some_fund(1)
        category = "operational" if self.rng.random() < 0.15 else "programme"
        share = 60 if category == "operational" else self.rng.choice((1, 2, 3, 10))
        statement = self.money("disbursement", fund, self.fold.purses[fund].balance // share)
        group = {"group": "families", "count": self.rng.randrange(1, 500), "area": "ID-NT"}
        party = {"party": self.rng.choice(ORGANISATIONS)}
        statement |= {"category": category, "recipient": self.rng.choice((group, party))}
        if self.extras and self.rng.random() < 0.2:
            statement["evidence"] = self.evidence()
        return self.payer(fund), statement | {"purpose": self.words()}

    def transfer(self) -> Post:
        fund = self.some_fund(1)
        currency = self.fold.purses[fund].currency
        others = [f for f in self.funds if self.fold.purses[f].currency == currency and f != fund]
        open_ = [f for f in others if self.fold.fund(f)["status"] == "open"]
        cap = self.fold.cap(fund)
        tight = [f for f in open_ if cap is None or (self.fold.cap(f) or 0) <= cap]
        statement = self.money("transfer", fund, self.fold.purses[fund].balance // 2, "from_fund")
        statement["to_fund"] = self.rng.choice(tight or open_ or others or [fund])
        statement["basis"] = "terms"
        if self.extras and self.rng.random() < 0.2:
            statement |= {"basis": "authority", "evidence": self.evidence()}
        return self.payer(fund), statement

    def refund(self) -> Post:
        if not self.gifts:
            return self.donation()
        target = self.rng.choice(self.gifts[-500:])
        gift = self.fold.money[target]
        purse = self.fold.purses[gift.funds[0]]
        fees = {k: v for k, v in gift.fees_left.items() if v and self.rng.random() < 0.5}
        part = min(gift.left, purse.balance)
        whole = self.rng.random() < 0.5 or part < 2
        amount = (part if whole else self.rng.randint(1, part)) + sum(fees.values())
        statement: Json = {"type": "refund", "target": target, "reason": "donor_request"}
        statement["amount"] = major(max(1, amount), purse.exponent)
        spelled = [{"kind": k, "amount": major(v, purse.exponent)} for k, v in fees.items()]
        return self.payer(gift.funds[0]), statement | ({"fees": spelled} if spelled else {})

    def give_back(self) -> Post:
        if not self.outflows:
            return self.donation()
        target = self.rng.choice(self.outflows[-500:])
        money = self.fold.money[target]
        purse = self.fold.purses[money.funds[-1]]
        most = money.left
        if money.kind == "transfer":
            most = min(most, length(purse.lowest(*money.span, money.left)))
        statement: Json = {"type": "return", "target": target, "reason": "unused"}
        statement |= {"amount": self.amount(most, purse.exponent), "occurred_at": self.at()}
        return self.payer(self.rng.choice(money.funds)), statement

    def goods(self) -> Post:
        fund, item = self.some_fund(), self.rng.choice(WORDS[:3])
        unit = self.rng.choice(("KGM", "XBX"))
        stock = self.fold.stocks.get((fund, item, unit))
        left = int((stock.came - stock.went) * 10**6) if stock else 0
        gives = left > 0 and self.rng.random() < 0.6
        most = left if gives else 10 ** self.rng.randint(1, 12)
        statement: Json = {"type": "goods_out" if gives else "goods_in", "fund": fund}
        statement |= {"item": item, "unit": unit, "occurred_at": self.at()}
        if gives:
            statement["recipient"] = {"party": self.rng.choice(ORGANISATIONS)}
        if self.extras and self.rng.random() < 0.2:
            statement |= {"estimated_value": self.amount(10**8, 2), "currency": "GBP"}
        return self.payer(fund), statement | {"quantity": self.amount(most, 6)}

    def report(self) -> Post:
        statement: Json = {"type": "report", "title": self.words()}
        statement["by"] = self.rng.choice(ORGANISATIONS)
        on_fund = self.rng.random() < 0.7
        statement |= {"fund": self.some_fund()} if on_fund else {"programme": PROGRAMMES[1]}
        if self.extras and self.rng.random() < 0.5:
            statement["indicator"] = {"name": self.words(), "value": self.amount(10**9, 6)}
        return self.rng.choice(PLATFORMS), statement

    def spoilt(self) -> Post:
        """A statement with one thing wrong (now and then the change is harmless)."""
        platform, statement = self.rng.choice([*self.actions, self.again])()
        wrongs: list[Json] = [{"colour": "blue"}, {"title": " spaced "}]
        wrongs += [{"occurred_at": "2025-02-30T10:00:00Z"}, {"supersedes": 10**9}]
        if "currency" in statement:
            wrongs += [{"currency": currency} for currency in ("ZZZ", "IDR", "GBP")]
        if statement["type"] in ("refund", "return"):
            wrongs += [{"target": self.rng.choice((0, 3, self.fold.size, 10**9))}]
            wrongs += [{"target": self.rng.randrange(self.fold.size)}]
        for name in ("fund", "to_fund"):
            if name in statement:
                wrongs += [{name: "fund-nowhere"}, {name: self.rng.choice(self.funds)}]
                closed = [f for f in self.funds if self.fold.fund(f)["status"] == "closed"]
                wrongs += [{name: self.rng.choice(closed or self.funds)}]
        if "amount" in statement:
            wrongs += [{"amount": "9" * 12}, {"amount": self.rng.choice(BAD_AMOUNTS)}]
        if statement["type"] in ("donation", "refund"):
            amounts = (statement["amount"], "9" * 14)
            wrongs += [{"fees": [{"kind": "platform", "amount": amount}]} for amount in amounts]
        if statement["type"] == "fund" and "supersedes" in statement:
            wrongs += [{"policy": {}}, {"currency": "JPY"}, {"supersedes": 1}]
        if statement["type"] == "transfer":
            wrongs += [{"to_fund": statement["from_fund"]}]
        if "quantity" in statement:
            wrongs += [{"quantity": "9" * 12}, {"quantity": self.rng.choice(BAD_QUANTITIES)}]
            wrongs += [{"type": "goods_out", "recipient": {"party": ORGANISATIONS[0]}}] * 2
        if statement["type"] == "report":
            wrongs += [{"by": "nobody"}, {"programme": "nothing"}, {"text_digest": "x"}]
        pick = self.rng.randrange(len(wrongs) + 2)
        if pick < len(wrongs):
            return platform, statement | wrongs[pick]
        return self.rng.choice(PLATFORMS), statement

    def run(self, seed: int, n: int) -> Iterator[tuple[str, Json, str | None]]:
        for position in range(n):
            opening = next(self.start, None)
            if opening:
                platform, statement = opening
            elif self.rng.random() < self.invalid:
                platform, statement = self.spoilt()
            else:
                maker = self.again if self.rng.random() < 0.01 else self.rng.choice(self.actions)
                platform, statement = maker()
            statement = {**statement, "ref": f"g-{letters(seed)}-{letters(position)}"}
            index = self.fold.size
            answer: Any = self.fold.post(platform, statement)
            refused = answer if isinstance(answer, str) else None
            if refused is None:
                self.remember(index, statement)
            yield platform, statement, refused

    def remember(self, index: int, statement: Json) -> None:
        if statement["type"] == "fund" and statement["id"] not in self.funds:
            self.funds.append(statement["id"])
        elif statement["type"] == "donation":
            self.gifts.append(index)
        elif statement["type"] in ("disbursement", "transfer"):
            self.outflows.append(index)


def generate(seed: int, n: int, invalid: float = 0.1, extras: bool = True) -> Iterator[Post]:
    """`n` posts: parties, programmes and funds first, then a mix, about `invalid` of it spoilt.

    Without `extras` only required fields, fees and channels are used.
    """
    for platform, statement, _ in _Maker(seed, invalid, extras).run(seed, n):
        yield platform, statement


def expected(seed: int, n: int, invalid: float = 0.1, extras: bool = True) -> dict[int, str]:
    """Position in `generate` of every statement to be refused, with the code."""
    posts = _Maker(seed, invalid, extras).run(seed, n)
    return {i: code for i, (_, _, code) in enumerate(posts) if code is not None}
