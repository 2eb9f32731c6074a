"""The tables of the views: how far they reach, what stands there, and what a fold adds.

They follow the log in bulk, outside the transaction that seals, and are made anew like
everything else that follows from it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ledger.views.fold import Fold, memberships
from ledger.views.records import Flow, Flows, Lot, Mark, Outflow, Purse, Weights, misfit

# In the order in which a rebuild compares them.
VIEW_TABLES = tuple(
    "viewed purses memberships kinds outflows lots came went returns flows weights".split()
)
_PURSE = '"index", currency, owner, programmes, last, acknowledged_minor, not_received_minor'
_PURSE += ", disputed_minor"
_OUTFLOW = "fund, recipient_kind, recipient, amount_minor, paid_at, pieces, undone_minor, status"
_OUTFLOW += ", acknowledged_at, partial_minor"


class ViewTables:
    """The views as they are stored, read and written on `connection`. Satisfies `Base`.

    currencies: ISO code -> exponent; asked for once there is a genesis.
    """

    def __init__(
        self, connection: sqlite3.Connection, currencies: Callable[[], Mapping[str, int]]
    ) -> None:
        self._connection = connection
        self.currencies = currencies

    def _rows(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)

    def reach(self) -> int:
        """How many entries of the log the tables hold."""
        row = self._rows("SELECT size FROM viewed").fetchone()
        return int(row[0]) if row else 0

    def size(self) -> int:
        """How many entries the log has."""
        row = self._rows("SELECT size FROM head").fetchone()
        return int(row[0]) if row else 0

    def entries(self, start: int, end: int) -> Iterator[Any]:
        """The entries `[start, end)`, decoded, as far as they are there."""
        sql = 'SELECT bytes FROM entries WHERE "index" >= ? AND "index" < ? ORDER BY "index"'
        return (msgspec.json.decode(row[0]) for row in self._rows(sql, start, end))

    # -- Base

    def entry(self, index: int) -> Mapping[str, Any]:
        entry: Mapping[str, Any]
        (entry,) = self.entries(index, index + 1)
        return entry

    def purse(self, fund_id: str) -> Purse | None:
        sql = f"SELECT {_PURSE} FROM purses WHERE fund = ?"  # noqa: S608 - fixed words
        row = self._rows(sql, fund_id).fetchone()
        if row is None:
            return None
        index, currency, owner, programmes, *rest = row
        return Purse(index, currency, owner, tuple(msgspec.json.decode(programmes)), *rest)

    def outflow(self, index: int) -> Outflow | None:
        sql = f'SELECT {_OUTFLOW} FROM outflows WHERE "index" = ?'  # noqa: S608 - fixed words
        row = self._rows(sql, index).fetchone()
        if row is None:
            return None
        fund, recipient_kind, recipient, amount, paid_at, pieces, *rest = row
        whose = msgspec.json.decode(pieces, type=list[tuple[int, int]])
        return Outflow(fund, (recipient_kind, recipient), amount, paid_at, whose, *rest)

    def kind(self, party_id: str) -> str | None:
        row = self._rows("SELECT kind FROM kinds WHERE party = ?", party_id).fetchone()
        return str(row[0]) if row else None

    def members(self, kind: str, item_id: str) -> list[str]:
        sql = "SELECT fund FROM memberships WHERE kind = ? AND id = ? ORDER BY fund"
        return [row[0] for row in self._rows(sql, kind, item_id)]

    def lots(self, fund_id: str, start: int, end: int) -> Iterator[Lot]:
        sql = (
            "SELECT to_minor, from_minor, given_at FROM lots WHERE fund = ? AND to_minor > ? "
            "ORDER BY to_minor"
        )
        for row in self._rows(sql, fund_id, start):
            lot = Lot(*row)
            if lot.start >= end:
                break
            yield lot

    def came(self, fund_id: str, start: int, end: int) -> Iterator[Mark]:
        return self._marks("came", fund_id, start, end)

    def went(self, fund_id: str, start: int, end: int) -> Iterator[Mark]:
        return self._marks("went", fund_id, start, end)

    def _marks(self, table: str, fund_id: str, start: int, end: int) -> Iterator[Mark]:
        sql = (
            f'SELECT to_minor, from_minor, "index" FROM {table} WHERE fund = ? '  # noqa: S608 - a fixed word
            "AND to_minor > ? ORDER BY to_minor"
        )
        for row in self._rows(sql, fund_id, start):
            mark = Mark(*row)
            if mark.start >= end:
                break
            yield mark

    def returns(self, disbursement: int) -> list[int]:
        sql = 'SELECT "index" FROM returns WHERE target = ? ORDER BY "index"'
        return [row[0] for row in self._rows(sql, disbursement)]

    def flows(self, fund_id: str) -> Flows:
        sql = "SELECT kind, other, amount_minor, undone_minor FROM flows WHERE fund = ?"
        return {(row[0], row[1]): Flow(row[2], row[3]) for row in self._rows(sql, fund_id)}

    def weights(self, fund_id: str, figure: str) -> Weights:
        sql = "SELECT hours, minor FROM weights WHERE fund = ? AND figure = ?"
        return dict(self._rows(sql, fund_id, figure).fetchall())

    # -- following

    def fold(self, end: int) -> Fold:
        """The views of the first `end` entries, or of all that are there, over these."""
        fold = Fold(self, self.reach())
        for entry in self.entries(fold.start, end):
            fold.add(entry)
        return fold

    def save(self, fold: Fold) -> None:
        """Store what `fold`, which lies on these tables as they are, has changed."""
        self._save_purses(fold)
        self._many("INSERT OR REPLACE INTO kinds VALUES (?, ?)", fold.kinds.items())
        outflows = (_outflow_row(index, outflow) for index, outflow in fold.outflows.items())
        self._many(
            "INSERT OR REPLACE INTO outflows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", outflows
        )
        self._save_lots(fold)
        self._save_marks(fold)
        self._save_flows(fold)
        self._save_weights(fold)
        self._connection.execute("INSERT OR REPLACE INTO viewed VALUES (1, ?)", (fold.size,))

    def _save_purses(self, fold: Fold) -> None:
        gone, new, rows = [], [], []
        for fund_id in {*fold.purses, *fold.last}:
            purse = fold.purse(fund_id) or misfit(f"there is no fund {fund_id!r}")
            if (old := self.purse(fund_id)) is not None and old.stated_at != purse.stated_at:
                gone += _memberships(fund_id, old)
            if old is None or old.stated_at != purse.stated_at:
                new += _memberships(fund_id, purse)
            index, currency, owner, programmes, *rest = purse
            rows.append((fund_id, index, currency, owner, _json(programmes), *rest))
        sql = "DELETE FROM memberships WHERE kind = ? AND id = ? AND fund = ?"
        self._many(sql, gone)
        self._many("INSERT INTO memberships VALUES (?, ?, ?)", new)
        self._many("INSERT OR REPLACE INTO purses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _save_lots(self, fold: Fold) -> None:
        gone, new = [], []
        for fund_id, line in fold.lines.items():
            for end, lot in line.changed.items():
                if lot is None:
                    gone.append((fund_id, end))
                else:
                    new.append((fund_id, end, lot.start, lot.given_at))
        self._many("DELETE FROM lots WHERE fund = ? AND to_minor = ?", gone)
        self._many("INSERT OR REPLACE INTO lots VALUES (?, ?, ?, ?)", new)

    def _save_marks(self, fold: Fold) -> None:
        for table, marks in (("came", fold.more_came), ("went", fold.more_went)):
            rows = ((fund, *mark) for fund, of_fund in marks.items() for mark in of_fund)
            self._many(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)  # noqa: S608 - a fixed word
        returns = ((target, i) for target, found in fold.more_returns.items() for i in found)
        self._many("INSERT INTO returns VALUES (?, ?)", returns)

    def _save_flows(self, fold: Fold) -> None:
        rows = [
            (fund_id, *other, *flow)
            for fund_id, flows in fold.more_flows.items()
            for other, flow in flows.items()
        ]
        self._many(
            "INSERT INTO flows VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "amount_minor = amount_minor + excluded.amount_minor, "
            "undone_minor = undone_minor + excluded.undone_minor",
            rows,
        )

    def _save_weights(self, fold: Fold) -> None:
        rows = [
            (*key, at, minor)
            for key, weights in fold.more_weights.items()
            for at, minor in weights.items()
            if minor
        ]
        self._many(
            "INSERT INTO weights VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "minor = minor + excluded.minor",
            rows,
        )
        # Else it would tell in what bulks the log was followed.
        less = [row[:3] for row in rows if row[3] < 0]
        sql = "DELETE FROM weights WHERE fund = ? AND figure = ? AND hours = ? AND minor = 0"
        self._many(sql, less)

    def _many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        # In the order of their keys, so that neighbours find the page still at hand.
        ordered: list[tuple[Any, ...]] = sorted(rows, key=lambda row: row[:3])
        self._connection.executemany(sql, ordered)


def _outflow_row(index: int, outflow: Outflow) -> tuple[Any, ...]:
    fund, recipient, amount, paid_at, pieces, *rest = outflow
    return (index, fund, *recipient, amount, paid_at, _json(pieces), *rest)


def _memberships(fund_id: str, purse: Purse) -> list[tuple[str, str, str]]:
    return [(kind, i, fund_id) for kind, ids in memberships(purse).items() for i in ids]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
