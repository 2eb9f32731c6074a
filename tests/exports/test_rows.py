"""`amanah export csv` and `jsonl`: every entry, once, in order; and safe to open."""

from __future__ import annotations

import csv
import io
import subprocess
from collections import defaultdict

import pytest

from ledger.entry import canonical, decode_entry, entry_hash
from ledger.errors import LogMismatch, NotFound, Refusal
from ledger.exports import grants, hledger, iati, lines, table
from ledger.exports.log import Log
from ledger.money import CURRENCIES, parse_amount, parse_total
from ledger.service import Ledger
from tests.simulator import Log as LyingLog
from tests.support import PLATFORM, disbursement, donation, fund, party

Rows = list[dict[str, str]]


def rows_of(log: Log) -> Rows:
    text = b"".join(table.export(log)).decode()
    assert text.count("\n") == log.checkpoint.size + 1  # each row is one line, for `wc -l`
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def rows(mixed: Ledger) -> Rows:
    return rows_of(Log(mixed.store, mixed.store.checkpoint()))


# -- jsonl


def test_each_line_is_the_bytes_of_its_entry(mixed: Ledger, log: Log) -> None:
    text = b"".join(lines.export(log))
    size = mixed.store.size()
    assert size > 2_000
    assert text.endswith(b"}\n")
    assert text[:-1].split(b"\n") == mixed.store.entries(0, size)


def test_a_line_is_hashed_with_two_words_of_shell(log: Log) -> None:
    text = b"".join(lines.export(log))
    seventh = "{ printf '\\0'; sed -n 8p | tr -d '\\n'; } | sha256sum"
    run = subprocess.run(["sh", "-c", seventh], input=text, capture_output=True, check=True)
    eighth = decode_entry(text.split(b"\n")[8])
    assert run.stdout.split()[0].decode() == eighth.prev


# -- csv


def test_there_is_a_row_for_each_entry(rows: Rows, mixed: Ledger) -> None:
    entries = mixed.store.entries(0, mixed.store.size())
    assert [row["index"] for row in rows] == [str(i) for i in range(len(entries))]
    assert [row["leaf_hash"] for row in rows] == [entry_hash(data).hex() for data in entries]
    statements = [canonical(decode_entry(data).statement).decode() for data in entries]
    assert [row["statement"] for row in rows] == statements


def test_the_rows_add_up_to_their_balances(rows: Rows) -> None:
    """From the cells alone, as a reader with a spreadsheet would."""
    balance: dict[str, int] = defaultdict(int)
    for row in rows:
        if not row["amount"]:
            assert row["balance"] == ""
            assert bool(row["fund"]) == bool(row["stock"])  # goods are of a fund, and no money
            continue
        exponent = CURRENCIES[row["currency"]]
        fees = [row[name] for name in ("platform_fees", "payment_fees") if row[name]]
        net = parse_amount(row["amount"], exponent) - sum(parse_amount(f, exponent) for f in fees)
        comes_in = row["type"] == "donation" or (row["type"] == "return" and not row["to_fund"])
        balance[row["fund"]] += net if comes_in else -net
        assert balance[row["fund"]] == parse_total(row["balance"], exponent), row
        if row["to_fund"]:
            balance[row["to_fund"]] += net
            assert balance[row["to_fund"]] == parse_total(row["to_balance"], exponent), row
    assert {row["type"] for row in rows if row["to_fund"]} == {"transfer", "return"}


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1dx", "\uff0bx", "\uff0dx", "\uff20x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(ledger: Ledger, text: str) -> None:
    ledger.register_platform(PLATFORM)
    group = {"group": text, "count": 1, "area": text}
    ledger.post(PLATFORM, [party("p", name=text), fund("air", title=text), donation()])
    ledger.post(PLATFORM, [disbursement(purpose=text, purpose_code=text, recipient=group)])
    rows = rows_of(Log(ledger.store, ledger.store.checkpoint()))
    guarded = "'" + text
    assert (rows[-4]["name"], rows[-3]["name"]) == (guarded, guarded)
    names = ("purpose", "purpose_code", "recipient_group", "recipient_area")
    assert [rows[-1][name] for name in names] == [guarded] * 4


def test_no_cell_of_the_mixed_ledger_is_a_formula(rows: Rows) -> None:
    assert not [row for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r")]


@pytest.mark.parametrize("text", ['say "hi", twice', "a;b", "'=x", "a\u2028b"])
def test_other_cells_stand_as_they_are(ledger: Ledger, text: str) -> None:
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [party("p", name=text)])
    assert rows_of(Log(ledger.store, ledger.store.checkpoint()))[-1]["name"] == text


# -- a log that is not whole, or not understood


@pytest.mark.parametrize("export", [lines.export, table.export])
def test_nothing_is_made_of_a_log_that_was_tampered_with(mixed: Ledger, export) -> None:
    honest = LyingLog.of(mixed)
    last = honest.size - 1
    edited = honest.copy().edit(700, platform="kita")
    for liar in (edited, honest.copy().swap(700, 701), honest.copy().edit(last, platform="kita")):
        with pytest.raises(LogMismatch):
            list(export(Log(liar, liar.checkpoint())))
    with pytest.raises(NotFound):
        list(export(Log(cut := honest.copy().cut(700), cut.checkpoint())))


INTERPRETING = [grants.export, hledger.export, iati.export, table.export]


@pytest.mark.parametrize("export", INTERPRETING)
def test_what_is_not_understood_is_a_line_and_nothing_else(ledger: Ledger, export) -> None:
    """A type of tomorrow might close a fund or move its money: guessing would be wrong."""
    tomorrow = {"type": "thanks", "ref": "t-1"}
    honest = LyingLog.of(ledger)
    for liar in (
        honest.copy().append("ledger", tomorrow),
        honest.copy().append("kita", {"type": "key", "ref": "k-1"}),
    ):
        liar.seal()
        assert b"".join(lines.export(Log(liar, liar.checkpoint()))).count(b"\n") == 2
        with pytest.raises(Refusal, match=r"not understand entry 1 .*update amanah") as caught:
            list(export(Log(liar, liar.checkpoint())))
        assert caught.value.code == "not_supported"


@pytest.mark.parametrize("export", INTERPRETING)
@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"platform": "nobody"}, "rule `unknown_reference`"),
        ({"statement": donation("nowhere")}, "rule `unknown_reference`"),
        ({"statement": donation() | {"amount": 5}}, "rule `invalid_amount`"),
        ({"totals": None}, "totals, added up again"),
        ({"totals": ["all of it"]}, "totals, added up again"),
    ],
)
def test_a_log_that_breaks_a_rule_is_not_exported(ledger: Ledger, export, fields, rule) -> None:
    """Signed by its operator as it is: the operator is not whom an export believes."""
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air"), donation()])
    liar = LyingLog.of(ledger).edit(3, **fields).seal()
    with pytest.raises(LogMismatch, match=f"index 3: {rule}"):
        list(export(Log(liar, liar.checkpoint())))
