"""The books, folded again from nothing: schema, rules, totals and spans of amanah/1.

This file knows the published format only and imports nothing of the ledger, so that an error
in one of the two does not hide itself in the other. Amounts inside are minor units.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any

Json = dict[str, Any]
Piece = tuple[int, int]  # half open, in minor units on the fund's inflow line
Faults = list[tuple[str, str]]  # JSON pointer, refusal code
Check = Callable[[Any], Faults]

INVALID, INVALID_AMOUNT = "invalid", "invalid_amount"
LIMIT_MINOR = 10**18
PIECES_MAX = 512
STOCK_LIMIT = 10**12
GOODS = ("goods_in", "goods_out")
_BACK = ["transferred_out_returned", "platform_fees_returned", "payment_fees_returned"]
COUNTERS_IN = ["donated", "transferred_in", "returned", *_BACK]
_COSTS = ["disbursed", "operational", "platform_fees", "payment_fees"]
COUNTERS_OUT = [*_COSTS, "transferred_out", "transferred_in_returned", "refunded"]
# operational_returned is a part of `returned`: it counts for the cost cap, never for the balance.
COUNTERS = [*COUNTERS_IN, *COUNTERS_OUT, "operational_returned"]

_NONCHARACTERS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
    f"\ufdd0-\ufdef{_NONCHARACTERS}]"
)


def canonical(value: object) -> bytes:
    """RFC 8785 for values without floats and with ASCII keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


class Refused(Exception):
    """A rule is broken: its code, what the rule wanted and what was found."""

    def __init__(self, code: str, wanted: object, found: object) -> None:
        super().__init__(f"{code}: wanted {wanted}, found {found}")
        self.code, self.wanted, self.found = code, str(wanted), str(found)


# --- schema: every check gives the faults it found, none when the value is fine


def _leaf(good: Callable[[Any], object], code: str = INVALID) -> Check:
    return lambda value: [] if good(value) else [("", code)]


def pattern(regex: str, code: str = INVALID) -> Check:
    match = re.compile(regex, re.ASCII).fullmatch
    return _leaf(lambda value: isinstance(value, str) and match(value), code)


def text(longest: int) -> Check:
    def good(value: Any) -> bool:
        fits = isinstance(value, str) and 1 <= len(value) <= longest
        return fits and " " not in (value[0], value[-1]) and not FORBIDDEN.search(value)

    return _leaf(good)


def integer(most: int = 2**53 - 1) -> Check:
    return _leaf(lambda value: type(value) is int and 0 <= value <= most)


def one_of(words: list[str]) -> Check:
    return _leaf(lambda value: isinstance(value, str) and value in words)


def array(item: Check, most: int = 32) -> Check:
    def check(value: Any) -> Faults:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            return [("", INVALID)]
        faults = [(f"/{i}{p}", code) for i, v in enumerate(value) for p, code in item(v)]
        if len({json.dumps(v, sort_keys=True) for v in value}) < len(value):
            faults.append(("", INVALID))
        return faults

    return check


def record(fields: dict[str, Check]) -> Check:
    """An object of exactly these fields; a star before the name says required."""
    checks = {name.lstrip("*"): check for name, check in fields.items()}
    required = [name[1:] for name in fields if name[0] == "*"]

    def check(value: Any) -> Faults:
        if not isinstance(value, dict):
            return [("", INVALID)]
        faults = [(f"/{name}", INVALID) for name in required if name not in value]
        for name, inner in value.items():
            found = checks[name](inner) if name in checks else [("", INVALID)]
            faults += [(f"/{name}{pointer}", code) for pointer, code in found]
        return faults

    return check


def _real_date(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return False
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


_CLOCK = re.compile(
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{3})?(Z|(?!-00:00)[+-]([0-9]{2}):([0-5][0-9]))"
)


def real_instant(value: Any) -> bool:
    clock = _CLOCK.fullmatch(value[10:]) if isinstance(value, str) else None
    if clock is None or not _real_date(value[:10]):
        return False
    return clock[4] is None or int(clock[4]) * 60 + int(clock[5]) <= 14 * 60


_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)


def good_ed25519_key(key: bytes) -> bool:
    """32 bytes, canonical, on the curve, not of small order."""
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    if len(key) != 32 or y >= _P or y in (0, 1, _P - 1, _Y8, _P - _Y8):
        return False
    # x^2 = u / v has a root exactly when u * v is a square.
    return pow((y * y - 1) * (_D * y * y + 1), (_P - 1) // 2, _P) == 1


def _base64url32(value: Any) -> bytes | None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{43}", value):
        return None
    raw = base64.urlsafe_b64decode(value + "=")
    return raw if base64.urlsafe_b64encode(raw).decode() == value + "=" else None


def _donor(value: Any) -> Faults:
    faults = _DONOR(value)
    if not faults:
        sd = value.get("sd")
        organisation = value["kind"] == "organisation"
        if organisation != ("party" in value) or (sd is None) != ("holder" not in value):
            faults = [("", INVALID)]
        elif sd is not None and (len(sd) != 4 or sd != sorted(sd)):
            faults = [("/sd", INVALID)]
    return faults


def _recipient(value: Any) -> Faults:
    return [] if not _TO_PARTY(value) else _TO_GROUP(value)


def _goods(needs_recipient: bool) -> Check:
    def check(value: Any) -> Faults:
        faults = _GOODS(value)
        if faults:
            return faults
        if ("estimated_value" in value) != ("currency" in value):
            return [("", INVALID)]
        return [] if ("recipient" in value) == needs_recipient else [("/recipient", INVALID)]

    return check


def _report(value: Any) -> Faults:
    faults = _REPORT(value)
    if not faults and ("fund" in value) == ("programme" in value):
        return [("", INVALID)]
    return faults


def _currency_table(value: Any) -> Faults:
    if not isinstance(value, dict) or not value:
        return [("", INVALID)]
    faults = [CHECKS["currency"](code) + integer(4)(e) for code, e in value.items()]
    return [fault for some in faults for fault in some]


# The exponent of the currency narrows the decimals of an amount later, see `minor`.
_AMOUNT = r"(?=[0.]*[1-9])(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?"
CHECKS: dict[str, Check] = {
    "word": _leaf(lambda value: isinstance(value, str)),
    "id": pattern(r"[a-z0-9][a-z0-9-]{0,62}"),
    "new_id": pattern(r"(?!ledger\Z)[a-z0-9][a-z0-9-]{0,62}"),
    "ref": pattern(r"[A-Za-z0-9._:-]{1,64}"),
    "hash": pattern(r"[0-9a-f]{64}"),
    "currency": pattern(r"[A-Z]{3}"),
    "amount": pattern(_AMOUNT, INVALID_AMOUNT),
    "decimal": pattern(r"(?!-0(\.0+)?\Z)-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?"),
    "url": pattern(r"(?=.{1,200}\Z)https://[!-~]+"),
    "index": integer(),
    "bp": integer(10000),
    "date": _leaf(_real_date),
    "instant": _leaf(real_instant),
    "flag": _leaf(lambda value: isinstance(value, bool)),
    "digest": _leaf(_base64url32),
    "quantity": pattern(r"(?=[0.]*[1-9])(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?"),
    "unit": pattern(r"[A-Z0-9]{2,3}"),
    "holder": _leaf(lambda value: good_ed25519_key(_base64url32(value) or b"")),
    "currencies": _currency_table,
}


def fields(spec: str) -> Check:
    """A record written down as the design writes it: `*name check, name [check]`.

    A check is a name of CHECKS, `text:n`, or words joined by `|`; brackets make an array.
    """

    def one(word: str) -> Check:
        if word[0] == "[":
            return array(one(word[1:-1]))
        if word.startswith("text:"):
            return text(int(word[5:]))
        return one_of(word.split("|")) if "|" in word else CHECKS[word]

    pairs = [part.split() for part in spec.split(",")]
    return record({name: one(word) for name, word in pairs})


_DONOR = fields("*kind individual|organisation|pooled, party id, sd [digest], holder holder")
_TO_PARTY = fields("*party id")
_TO_GROUP = fields("*group text:80, *count index, *area text:40")
_FILE = "*sha256 hash, *media_type text:100, *bytes index, uri url, category text:10, salted flag"
_PARTICIPANT = "*party id, *role orchestrator|funding|accountable|extending|implementing"
CHECKS |= {
    "evidence": array(fields(_FILE), 16),
    "fees": array(fields("*kind platform|payment, *amount amount"), 8),
    "keys": array(text(4000), 8),
    "participants": array(fields(_PARTICIPANT), 200),
    "goal": fields("*indicator text:140, baseline decimal, target decimal, by date"),
    "approvals": fields("*from_amount amount, *needed index, *approvers [id]"),
    "permit": fields("*number text:80, *issuer text:140, *valid_from date, *valid_until date"),
    "donor": _donor,
    "recipient": _recipient,
}
CHECKS["policy"] = fields("cost_cap_bp bp, approvals approvals, evidence_from_amount amount")
CHECKS["indicator"] = fields(
    "*name text:140, *value decimal, unit text:20, period_from date, period_to date, area text:40"
)
_GOODS = fields(
    "*type word, *ref ref, *fund id, *item text:80, *unit unit, *quantity quantity, "
    "*occurred_at instant, estimated_value amount, currency currency, recipient recipient, "
    "evidence evidence"
)
_REPORT = fields(
    "*type word, *ref ref, fund id, programme id, *title text:140, text_digest digest, "
    "indicator indicator, *by id, evidence evidence"
)
SCHEMAS: dict[str, Check] = {
    kind: fields("*type word, *ref ref, " + " ".join(spec.split()))
    for kind, spec in {
        "genesis": """*format text:40, *origin text:140, *operator text:140, *vkeys [text:4000],
            *currencies currencies""",
        "party": """*id new_id, *name text:140, *kind government|private|ngo|community|platform|\
foundation|academic|media|auditor|multilateral, keys keys, signed_only flag, area text:40,
            registry text:80, url url, supersedes index""",
        "programme": """*id new_id, *title text:140, *lead id, participants participants,
            goal goal, supersedes index""",
        "fund": """*id new_id, *title text:140, *owner id, *platforms [id], *currency currency,
            *policy policy, *status open|closed, category text:40, programmes [id],
            restriction with_donor|without_donor, goal_amount amount, permit permit,
            supersedes index""",
        "donation": """*fund id, *amount amount, *currency currency, *occurred_at instant,
            fees fees, donor donor,
            channel qris|va|ewallet|transfer|card|cash|payroll|other""",
        "disbursement": """*fund id, *amount amount, *currency currency, *occurred_at instant,
            *category programme|operational, *recipient recipient, *purpose text:140,
            purpose_code text:20, evidence evidence""",
        "transfer": """*from_fund id, *to_fund id, *amount amount, *currency currency,
            *occurred_at instant, *basis terms|donor_vote|authority, purpose text:140,
            evidence evidence""",
        "refund": """*target index, *amount amount, occurred_at instant, fees fees,
            *reason donor_request|duplicate|mistake|cancelled|fraud, evidence evidence""",
        "return": """*target index, *amount amount, occurred_at instant,
            *reason bounced|cancelled|mistake|unused, evidence evidence""",
        "evidence": "*target index, *target_leaf hash, *evidence evidence",
    }.items()
}
SCHEMAS |= {"goods_in": _goods(False), "goods_out": _goods(True), "report": _report}


# --- money and the inflow line


def minor(amount: str, exponent: int) -> int:
    """Minor units of a decimal string that already has the shape AMOUNT."""
    whole, _, fraction = amount.partition(".")
    if len(fraction) > exponent:
        raise Refused(INVALID_AMOUNT, f"at most {exponent} decimals", amount)
    return int(whole + fraction.ljust(exponent, "0"))


def major(amount_minor: int, exponent: int) -> str:
    whole, fraction = divmod(amount_minor, 10**exponent)
    return f"{whole}.{fraction:0{exponent}d}" if exponent else str(whole)


def shortest(quantity: Fraction) -> str:
    """A quantity as `goods` prints it: no zero at the end of its decimals."""
    millionths = quantity * 10**6
    assert millionths.denominator == 1
    text = major(int(millionths), 6)
    while text[-1] == "0":
        text = text[:-1]
    return text[:-1] if text[-1] == "." else text


def looser(cap: int | None, new_cap: int | None) -> bool:
    return cap is not None and (new_cap is None or new_cap > cap)


def merged(pieces: list[Piece]) -> list[Piece]:
    """Ascending, neighbours made one."""
    line: list[Piece] = []
    for start, end in sorted(pieces):
        if line and line[-1][1] == start:
            start = line.pop()[0]
        line.append((start, end))
    return line


def length(pieces: list[Piece]) -> int:
    return sum(end - start for start, end in pieces)


@dataclass
class Purse:
    """The money of one fund; `unspent` holds what is left of the line, ascending, merged."""

    currency: str
    exponent: int
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    n: int = 0
    last: int | None = None
    end: int = 0
    unspent: list[Piece] = field(default_factory=list)

    @property
    def balance(self) -> int:
        count = self.counters
        return sum(count[c] for c in COUNTERS_IN) - sum(count[c] for c in COUNTERS_OUT)

    def lowest(self, start: int, end: int, amount: int) -> list[Piece]:
        """The lowest unspent positions of [start, end), at most `amount` of them."""
        pieces: list[Piece] = []
        i = bisect_right(self.unspent, start, key=lambda piece: piece[1])
        while amount and i < len(self.unspent) and self.unspent[i][0] < end:
            low = max(self.unspent[i][0], start)
            high = min(self.unspent[i][1], end, low + amount)
            pieces.append((low, high))
            amount -= high - low
            i += 1
        return pieces

    def spend(self, pieces: list[Piece]) -> None:
        for start, end in pieces:
            i = bisect_right(self.unspent, start, key=lambda piece: piece[1])
            low, high = self.unspent[i]
            left = [p for p in ((low, start), (end, high)) if p[0] < p[1]]
            self.unspent[i : i + 1] = left

    def grow(self, amount: int) -> None:
        if amount:
            self.unspent[-1:] = merged([*self.unspent[-1:], (self.end, self.end + amount)])
        self.end += amount


@dataclass
class Named:
    """A party, programme or fund: who registered it first, its current statement and index."""

    platform: str
    index: int
    statement: Json


@dataclass
class Money:
    """What a later refund or return needs of a sealed donation, disbursement or transfer."""

    kind: str
    funds: tuple[str, ...]
    span: Piece  # of the donation, or of the transfer in the receiving fund
    left: int  # donation: of its net; else: not yet returned
    fees_left: dict[str, int]
    operational: bool = False


@dataclass
class Stock:
    """What one fund holds of one item in one unit."""

    came: Fraction = Fraction(0)
    went: Fraction = Fraction(0)
    n: int = 0
    last: int | None = None


@dataclass
class Move:
    """The effect of one entry on one fund."""

    fund: str
    counts: dict[str, int]
    taken: list[Piece] = field(default_factory=list)
    inflow: int = 0


class Fold:
    """Statements in; totals, or the refusal's code, out. A refusal changes nothing.

    With `parties` None every party counts as registered (a log's own fold starts with an empty
    set). Currencies come from the genesis statement, or are given. `size` is the next index.
    """

    def __init__(
        self, currencies: dict[str, int] | None = None, parties: set[str] | None = None
    ) -> None:
        self.currencies = dict(currencies or {})
        self.all_parties_known = parties is None
        self.size = 0
        self.refs: dict[tuple[str, str], tuple[int, Json]] = {}
        self.named: dict[str, dict[str, Named]] = {"party": {}, "programme": {}, "fund": {}}
        for party in parties or ():
            self.named["party"][party] = Named(party, -1, {})
        self.purses: dict[str, Purse] = {}
        self.money: dict[int, Money] = {}
        self.stocks: dict[tuple[str, str, str], Stock] = {}
        self.leaves: list[str] = []  # in hex, from whoever has the entries

    def post(self, platform: str, statement: Json) -> list[Json] | str:
        """The totals (goods of goods, none for what moves neither), or the refusal's code."""
        try:
            return self.admit(platform, statement)
        except Refused as refusal:
            return refusal.code

    def admit(self, platform: str, statement: Json) -> list[Json]:
        """As `post`, but raises Refused."""
        kind = statement.get("type")
        if not isinstance(kind, str) or kind not in SCHEMAS:
            raise Refused("not_supported", f"one of {', '.join(SCHEMAS)}", kind)
        self._spelling(statement)
        self._new_ref(platform, statement)
        if kind == "genesis":
            self._signers(statement)
            return self._genesis(platform, statement)
        if not (kind == "party" and statement["id"] == platform):
            self._known("party", platform)
        self._signers(statement)
        name = "goods" if kind in GOODS else kind
        step = getattr(self, "_register" if kind in self.named else f"_{name}")
        totals: list[Json] = step(platform, statement)
        self._seal(platform, statement)
        return totals

    def _signers(self, statement: Json) -> None:
        """Hook: who signed is known (signing.py)."""

    def _signed(self, required: Iterable[str], named: Iterable[str] = ()) -> None:
        """Hook: each signature is good and none is missing (signing.py)."""

    def _last_steps(self, moves: list[Move], unproved: bool) -> None:
        """Evidence; and the hook of what else comes last (signing.py)."""
        if unproved:
            raise Refused("evidence_required", "evidence, as the basis is not terms", "none")

    def pass_over(self, platform: str, statement: Json) -> None:
        """Count an entry whose statement is not understood; ref and platform are still checked."""
        self._new_ref(platform, statement)
        if platform != "ledger":
            self._known("party", platform)
        self._seal(platform, statement)

    def _seal(self, platform: str, statement: Json) -> None:
        self.refs[platform, statement["ref"]] = (self.size, statement)
        self.size += 1

    # the steps of admission, in their order

    def _spelling(self, statement: Json) -> None:
        faults = SCHEMAS[statement["type"]](statement)
        if faults:
            code = INVALID_AMOUNT if INVALID_AMOUNT in dict(faults).values() else INVALID
            raise Refused(code, "the fields of the format", f"faults at {sorted(dict(faults))}")
        currency = statement.get("currency")
        if currency is not None:
            if currency not in self.currencies:
                raise Refused("unknown_currency", "a currency of the table", currency)
            for amount in _amounts(statement):
                minor(amount, self.currencies[currency])

    def _new_ref(self, platform: str, statement: Json) -> None:
        index, old = self.refs.get((platform, statement["ref"]), (None, {}))
        if index is not None:
            code = "replayed" if canonical(old) == canonical(statement) else "ref_conflict"
            wanted = f"a ref that {platform} used for no other entry"
            raise Refused(code, wanted, f"{statement['ref']}, used by entry {index}")

    def _known(self, kind: str, id_: str) -> None:
        if id_ not in self.named[kind] and not (kind == "party" and self.all_parties_known):
            raise Refused("unknown_reference", f"a {kind} registered earlier", id_)

    def _target(self, statement: Json, kinds: tuple[str, ...]) -> Money:
        target = statement["target"]
        if target >= self.size:
            raise Refused("unknown_reference", f"a target below {self.size}", target)
        if target not in self.money or self.money[target].kind not in kinds:
            raise Refused("wrong_target", f"a target that is a {' or '.join(kinds)}", target)
        exponent = self.purses[self.money[target].funds[0]].exponent
        for amount in _amounts(statement):
            minor(amount, exponent)
        return self.money[target]

    def fund(self, id_: str) -> Json:
        """The current statement of a registered fund."""
        return self.named["fund"][id_].statement

    def cap(self, id_: str) -> int | None:
        cap: int | None = self.fund(id_)["policy"].get("cost_cap_bp")
        return cap

    def _may_post(self, platform: str, *funds: str) -> None:
        platforms = [p for id_ in funds for p in self.fund(id_)["platforms"]]
        if platform not in platforms:
            raise Refused("forbidden", f"one of the platforms {platforms}", platform)

    def _open(self, statement: Json, *funds: str) -> None:
        """State, then currency: both of all the funds an amount with a currency touches."""
        for id_ in funds:
            if self.fund(id_)["status"] != "open":
                raise Refused("fund_closed", "an open fund", id_)
        for id_ in funds:
            if statement["currency"] != self.purses[id_].currency:
                raise Refused("currency_mismatch", self.purses[id_].currency, statement["currency"])

    def _at_most(self, code: str, found: int, most: int) -> None:
        if found > most:
            raise Refused(code, f"at most {most} minor units", found)

    # statements that name things

    def _genesis(self, platform: str, statement: Json) -> list[Json]:
        if statement["format"] != "amanah/1":
            raise Refused("not_supported", "format amanah/1", statement["format"])
        if self.size or platform != "ledger" or statement["ref"] != "genesis":
            raise Refused(INVALID, "one genesis, by ledger, at index 0", f"{platform} {self.size}")
        self.currencies = dict(statement["currencies"])
        self._seal(platform, statement)
        return []

    def _register(self, platform: str, statement: Json) -> list[Json]:
        kind, id_ = statement["type"], statement["id"]
        for other, reference in _references(statement):
            self._known(other, reference)
        old = self.named[kind].get(id_)
        if old and old.platform != platform:
            raise Refused("forbidden", f"the platform that registered it, {old.platform}", platform)
        current = old.index if old else None
        if statement.get("supersedes") != current:
            raise Refused("stale", f"supersedes {current}", statement.get("supersedes"))
        if kind == "fund":
            self._fund_changes(statement)
        self.named[kind][id_] = Named(platform, self.size, statement)
        return []

    def _fund_changes(self, statement: Json) -> None:
        id_, currency = statement["id"], statement["currency"]
        if id_ not in self.purses:
            self.purses[id_] = Purse(currency, self.currencies[currency])
            return
        purse, cap = self.purses[id_], statement["policy"].get("cost_cap_bp")
        if currency != purse.currency:
            raise Refused("immutable_field", purse.currency, currency)
        if purse.n and looser(self.cap(id_), cap):
            raise Refused("cap_loosened", f"a cap of at most {self.cap(id_)}", cap)

    # statements that move no money

    def _goods(self, platform: str, statement: Json) -> list[Json]:
        id_ = statement["fund"]
        self._known("fund", id_)
        if "party" in statement.get("recipient", {}):
            self._known("party", statement["recipient"]["party"])
        self._may_post(platform, id_)
        if self.fund(id_)["status"] != "open":
            raise Refused("fund_closed", "an open fund", id_)
        stock = self.stocks.setdefault((id_, statement["item"], statement["unit"]), Stock())
        quantity = Fraction(statement["quantity"])
        if statement["type"] == "goods_in":
            if stock.came + quantity >= STOCK_LIMIT:
                raise Refused("amount_too_large", f"less than {STOCK_LIMIT}", quantity)
        elif stock.came - stock.went < quantity:
            raise Refused("insufficient_stock", stock.came - stock.went, quantity)
        self._signed([])
        if statement["type"] == "goods_in":
            stock.came += quantity
        else:
            stock.went += quantity
        stock.n += 1
        line: Json = {name: statement[name] for name in ("fund", "item", "unit")} | {"n": stock.n}
        if stock.last is not None:
            line["prev"] = stock.last
        stock.last = self.size
        line |= {"in": shortest(stock.came), "out": shortest(stock.went)}
        return [line | {"stock": shortest(stock.came - stock.went)}]

    def _report(self, platform: str, statement: Json) -> list[Json]:
        for kind in ("fund", "programme"):
            if kind in statement:
                self._known(kind, statement[kind])
        self._known("party", statement["by"])
        self._signed([], [statement["by"]])
        return []

    def _evidence(self, platform: str, statement: Json) -> list[Json]:
        target = statement["target"]
        if target >= self.size:
            raise Refused("unknown_reference", f"a target below {self.size}", target)
        leaf = self.leaves[target] if target < len(self.leaves) else None
        if statement["target_leaf"] != leaf:
            raise Refused("wrong_target", leaf, statement["target_leaf"])
        self._signed([])
        return []

    # statements that move money

    def _donation(self, platform: str, statement: Json) -> list[Json]:
        id_ = statement["fund"]
        self._known("fund", id_)
        if "party" in statement.get("donor", {}):
            self._known("party", statement["donor"]["party"])
        self._may_post(platform, id_)
        self._open(statement, id_)
        purse = self.purses[id_]
        amount, fees = minor(statement["amount"], purse.exponent), _fees(statement, purse.exponent)
        net = amount - sum(fees.values())
        self._at_most("fees_exceed_amount", amount - net, amount)
        counts = {"donated": amount} | {f"{kind}_fees": fee for kind, fee in fees.items()}
        span = (purse.end, purse.end + net)
        totals = self._settle([Move(id_, counts, inflow=net)], capped=fees["platform"] > 0)
        self.money[self.size] = Money("donation", (id_,), span, net, fees)
        return totals

    def _disbursement(self, platform: str, statement: Json) -> list[Json]:
        id_ = statement["fund"]
        self._known("fund", id_)
        if "party" in statement["recipient"]:
            self._known("party", statement["recipient"]["party"])
        self._may_post(platform, id_)
        self._open(statement, id_)
        purse = self.purses[id_]
        amount = minor(statement["amount"], purse.exponent)
        self._at_most("insufficient_funds", amount, purse.balance)
        operational = statement["category"] == "operational"
        counts = {"operational" if operational else "disbursed": amount}
        move = Move(id_, counts, purse.lowest(0, purse.end, amount))
        totals = self._settle([move], capped=operational)
        self.money[self.size] = Money("disbursement", (id_,), (0, 0), amount, {}, operational)
        return totals

    def _transfer(self, platform: str, statement: Json) -> list[Json]:
        giver, taker = statement["from_fund"], statement["to_fund"]
        self._known("fund", giver)
        self._known("fund", taker)
        if giver == taker:
            raise Refused("self_transfer", "two funds", giver)
        self._may_post(platform, giver)
        self._open(statement, giver, taker)
        if looser(self.cap(giver), self.cap(taker)):
            raise Refused("cap_loosened", f"a cap of at most {self.cap(giver)}", self.cap(taker))
        purse, receiving = self.purses[giver], self.purses[taker]
        amount = minor(statement["amount"], purse.exponent)
        self._at_most("insufficient_funds", amount, purse.balance)
        unproved = statement["basis"] != "terms" and "evidence" not in statement
        span = (receiving.end, receiving.end + amount)
        out = Move(giver, {"transferred_out": amount}, purse.lowest(0, purse.end, amount))
        into = Move(taker, {"transferred_in": amount}, inflow=amount)
        totals = self._settle([out, into], unproved=unproved)
        self.money[self.size] = Money("transfer", (giver, taker), span, amount, {})
        return totals

    def _refund(self, platform: str, statement: Json) -> list[Json]:
        gift = self._target(statement, ("donation",))
        (id_,) = gift.funds
        self._may_post(platform, id_)
        purse = self.purses[id_]
        amount, fees = minor(statement["amount"], purse.exponent), _fees(statement, purse.exponent)
        part = amount - sum(fees.values())  # what leaves the inflow line
        self._at_most("fees_exceed_amount", amount - part, amount)
        for kind, fee in fees.items():
            self._at_most("exceeds_original", fee, gift.fees_left[kind])
        self._at_most("exceeds_original", part, gift.left)
        self._at_most("insufficient_funds", part, purse.balance)
        start, end = gift.span
        taken = purse.lowest(start, end, part)
        if length(taken) < part:  # its own span is used up: the rest like an outflow, around it
            taken += purse.lowest(0, start, part - length(taken))
            taken += purse.lowest(end, purse.end, part - length(taken))
        counts = {"refunded": amount} | {f"{kind}_fees_returned": fee for kind, fee in fees.items()}
        totals = self._settle([Move(id_, counts, taken)])
        gift.left -= part
        gift.fees_left = {kind: left - fees[kind] for kind, left in gift.fees_left.items()}
        return totals

    def _return(self, platform: str, statement: Json) -> list[Json]:
        original = self._target(statement, ("disbursement", "transfer"))
        self._may_post(platform, *original.funds)
        giver, taker = original.funds[0], original.funds[-1]
        amount = minor(statement["amount"], self.purses[giver].exponent)
        self._at_most("exceeds_original", amount, original.left)
        if original.kind == "disbursement":
            counts = {"returned": amount, "operational_returned": amount * original.operational}
            moves = [Move(giver, counts, inflow=amount)]
        else:
            taken = self.purses[taker].lowest(*original.span, amount)
            self._at_most("insufficient_funds", amount, length(taken))
            moves = [
                Move(taker, {"transferred_in_returned": amount}, taken),
                Move(giver, {"transferred_out_returned": amount}, inflow=amount),
            ]
        totals = self._settle(moves)
        original.left -= amount
        return totals

    def _settle(
        self, moves: list[Move], capped: bool = False, unproved: bool = False
    ) -> list[Json]:
        """The last steps of admission, then the change itself."""
        after = []
        for move in moves:
            counters = dict(self.purses[move.fund].counters)
            for name, count in move.counts.items():
                counters[name] += count
            after.append(counters)
            move.taken = merged(move.taken)
        cap = self.cap(moves[0].fund)
        if capped and cap is not None:
            now = after[0]
            cost = now["platform_fees"] - now["platform_fees_returned"]
            cost += now["operational"] - now["operational_returned"]
            most = cap * (now["donated"] - now["refunded"])
            if 10000 * cost > most:
                raise Refused("cost_cap_exceeded", f"10000 x cost <= {most}", 10000 * cost)
        for move in moves:
            if len(move.taken) > PIECES_MAX:
                raise Refused("too_fragmented", f"at most {PIECES_MAX} pieces", len(move.taken))
        for move, counters in zip(moves, after, strict=True):
            largest = max(*counters.values(), self.purses[move.fund].end + move.inflow)
            self._at_most("amount_too_large", largest, LIMIT_MINOR - 1)
        self._last_steps(moves, unproved)
        return [self._apply(move, now) for move, now in zip(moves, after, strict=True)]

    def _apply(self, move: Move, counters: dict[str, int]) -> Json:
        purse = self.purses[move.fund]
        span = [(purse.end, purse.end + move.inflow)] if move.inflow else []
        left = purse.balance - length(move.taken) + move.inflow
        purse.counters = counters
        purse.spend(move.taken)
        purse.grow(move.inflow)
        # The counters and the line are two ways to the same balance.
        assert purse.balance == left >= 0
        purse.n += 1
        totals: Json = {"fund": move.fund, "currency": purse.currency, "n": purse.n}
        if purse.last is not None:
            totals["prev"] = purse.last
        purse.last = self.size
        e = purse.exponent
        totals |= {name: major(count, e) for name, count in counters.items() if count}
        totals["balance"] = major(left, e)
        totals["spans"] = [[major(a, e), major(b, e)] for a, b in move.taken or span]
        return totals


def _references(statement: Json) -> Iterator[tuple[str, str]]:
    """Every party and programme that a party, programme or fund statement names."""
    for name in ("lead", "owner"):
        if name in statement:
            yield "party", statement[name]
    approvals = statement.get("policy", {}).get("approvals", {})
    for party in [*statement.get("platforms", []), *approvals.get("approvers", [])]:
        yield "party", party
    for participant in statement.get("participants", []):
        yield "party", participant["party"]
    for programme in statement.get("programmes", []):
        yield "programme", programme


def _amounts(statement: Json) -> Iterator[str]:
    policy = statement.get("policy", {})
    fees = [fee["amount"] for fee in statement.get("fees", [])]
    for holder, name in (
        (statement, "amount"),
        (statement, "goal_amount"),
        (statement, "estimated_value"),
        (policy, "evidence_from_amount"),
        (policy.get("approvals", {}), "from_amount"),
    ):
        if name in holder:
            yield holder[name]
    yield from fees


def _fees(statement: Json, exponent: int) -> dict[str, int]:
    fees = {"platform": 0, "payment": 0}
    for fee in statement.get("fees", []):
        fees[fee["kind"]] += minor(fee["amount"], exponent)
    return fees
