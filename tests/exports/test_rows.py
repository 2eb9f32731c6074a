"""`amanah export csv` and `jsonl`: every entry, once, in order; and safe to open."""

from __future__ import annotations

import csv
import io
import subprocess
from collections import defaultdict

import pytest

from ledger.entry import canonical, decode_entry, entry_hash
from ledger.errors import LogMismatch, NotFound, Refusal
from ledger.exports import lines, table
from ledger.exports.log import Log, understood
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
    return rows_of(Log(mixed.store))


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
        if not row["fund"]:
            assert row["amount"] == row["balance"] == ""
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
    rows = rows_of(Log(ledger.store))
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
    assert rows_of(Log(ledger.store))[-1]["name"] == text


# -- a log that is not whole, or not understood


@pytest.mark.parametrize("export", [lines.export, table.export])
def test_nothing_is_made_of_a_log_that_was_tampered_with(mixed: Ledger, export) -> None:
    honest = LyingLog.of(mixed)
    last = honest.size - 1
    edited = honest.copy().edit(700, platform="kita")
    for liar in (edited, honest.copy().swap(700, 701), honest.copy().edit(last, platform="kita")):
        with pytest.raises(LogMismatch):
            list(export(Log(liar)))
    with pytest.raises(NotFound):
        list(export(Log(honest.copy().cut(700))))


def test_a_type_that_is_not_known_is_a_row_and_a_line(ledger: Ledger) -> None:
    later = {"type": "thanks", "ref": "t-1", "amount": "=1", "name": ["x"]}
    liar = LyingLog.of(ledger).append("ledger", later).seal()
    assert b"".join(lines.export(Log(liar))).count(b"\n") == 2
    row = rows_of(Log(liar))[-1]
    assert (row["type"], row["name"], row["statement"]) == ("thanks", "", canonical(later).decode())


def test_money_that_is_not_known_is_refused_but_for_its_bytes(ledger: Ledger) -> None:
    total = {"fund": "air", "currency": "IDR", "balance": "1.00"}
    later = {"type": "zakat", "ref": "z-1"}
    liar = LyingLog.of(ledger).append("ledger", later, totals=[total]).seal()
    assert b"".join(lines.export(Log(liar))).count(b"\n") == 2
    with pytest.raises(Refusal, match=r"export entry 1: .*'zakat'.*update amanah") as caught:
        list(table.export(Log(liar)))
    assert caught.value.code == "not_supported"


@pytest.mark.parametrize(
    "fields",
    [
        {"statement": {"type": "party", "ref": "p", "id": "p"}},
        {"totals": ["all of it"]},
        {"totals": [{"fund": "air", "currency": "IDR", "balance": 5}]},
        {"totals": [{"fund": "air", "currency": "ZZZ", "balance": "5"}]},
    ],
)
def test_what_no_ledger_seals_is_a_mismatch(ledger: Ledger, fields) -> None:
    ledger.register_platform(PLATFORM)
    liar = LyingLog.of(ledger).edit(1, **fields).seal()
    with pytest.raises(LogMismatch, match="index 1: form of the entry"):
        list(understood(Log(liar)))
