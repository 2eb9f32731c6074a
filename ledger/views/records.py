"""What the views remember of the log, and what they must be able to look up. Pure values.

Money is in minor units. A time is a whole number of hours since 1970 (UTC), rounded down; a wait is
the difference of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn, Protocol

from ledger.errors import FormatError

HOURS_PER_DAY = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)

Pieces = list[tuple[int, int]]  # (when it was given, minor units), in the order of the line


class Lot(NamedTuple):
    """Unspent money: the piece `[start, end)` of a fund's inflow line, and when it was given."""

    end: int
    start: int
    given_at: int


class Mark(NamedTuple):
    """The piece `[start, end)` of a fund's inflow line. by: the entry it came or went by."""

    end: int
    start: int
    by: int


class Purse(NamedTuple):
    """A fund. stated_at: index of its current statement; last: of its last money entry.

    The rest is what recipients say of its disbursements, less what came back of them.
    """

    stated_at: int
    currency: str
    owner: str
    programmes: tuple[str, ...]
    last: int | None = None
    acknowledged: int = 0
    not_received: int = 0
    disputed: int = 0


class Outflow(NamedTuple):
    """A disbursement. recipient: of which kind, and who. pieces: whose money it was.

    undone: how much of it came back. status: what its current acknowledgement says, none yet
    when empty; acknowledged_at: when; partial: the amount of one that says `partial`.
    """

    fund: str
    recipient: tuple[str, str]
    amount: int
    paid_at: int
    pieces: Pieces
    undone: int = 0
    status: str = ""
    acknowledged_at: int = 0
    partial: int = 0


class Flow(NamedTuple):
    """What went between a fund and one other end. undone: what of it was refunded or returned."""

    amount: int
    undone: int

    @property
    def net(self) -> int:
        return self.amount - self.undone


# What the other end of a flow can be; the two first and `from_fund` come in.
DONOR_KIND, DONOR_PARTY, FROM_FUND = "donor_kind", "donor_party", "from_fund"
TO_FUND, RECIPIENT_PARTY, RECIPIENT_GROUP = "to_fund", "recipient_party", "recipient_group"
# Whose weights there are: of waits, and of times at which what is unspent was given.
SPENT, ACKNOWLEDGED, UNSPENT = "spent", "acknowledged", "unspent"

Flows = dict[tuple[str, str], Flow]  # (kind of the other end, its id) -> what went
Weights = dict[int, int]  # hours -> minor units


class Base(Protocol):
    """What a fold is laid over: the views of a shorter log."""

    def currencies(self) -> Mapping[str, int]: ...
    def entry(self, index: int) -> Mapping[str, Any]:
        """A sealed entry, decoded; it may be one that is not folded yet."""
        ...

    def purse(self, fund_id: str) -> Purse | None: ...
    def outflow(self, index: int) -> Outflow | None: ...
    def kind(self, party_id: str) -> str | None: ...
    def members(self, kind: str, item_id: str) -> list[str]:
        """Funds of a `programme`, or of an `owner`, in order."""
        ...

    def lots(self, fund_id: str, start: int, end: int) -> Iterable[Lot]:
        """Lots that share a position with `[start, end)`, ascending."""
        ...

    def came(self, fund_id: str, start: int, end: int) -> Iterable[Mark]:
        """Inflows that share a position with `[start, end)`, ascending; none is left out."""
        ...

    def went(self, fund_id: str, start: int, end: int) -> Iterable[Mark]:
        """Pieces of outflows that share a position with `[start, end)`, ascending."""
        ...

    def returns(self, disbursement: int) -> list[int]:
        """By which entries it came back, in order."""
        ...

    def flows(self, fund_id: str) -> Flows: ...
    def weights(self, fund_id: str, figure: str) -> Weights: ...


def misfit(what: str) -> NoReturn:
    """What is stored of the views is not what the entries led to. Raises FormatError."""
    raise FormatError(
        f"the views do not fit the log: {what}. `amanah doctor` says where, and `amanah rebuild` "
        "makes them anew"
    )


def hours(time: str) -> int:
    """A time as statements and entries spell it, in whole hours since 1970."""
    return (datetime.fromisoformat(time) - _EPOCH) // _HOUR
