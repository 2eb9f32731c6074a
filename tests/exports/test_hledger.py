"""`amanah export hledger`: hledger adds everything up again, and refuses any other amount."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from ledger.entry import decode_entry
from ledger.exports.hledger import export
from ledger.exports.log import Log
from ledger.money import CURRENCIES, parse_total
from ledger.service import Ledger
from tests.support import PLATFORM, donation, fund

AMOUNT = re.compile(r"(?<=[A-Z]{3} )-?[0-9]+(?:\.[0-9]+)?(?= =|\n)")
ASSERTED = re.compile(r"(?<== [A-Z]{3} )[0-9]+(?:\.[0-9]+)?(?=\n)")


@pytest.fixture(scope="module")
def journal(mixed: Ledger) -> str:
    return b"".join(export(Log(mixed.store, mixed.store.checkpoint()))).decode("ascii")


def hledger(path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("hledger") is None:
        assert not os.environ.get("CI"), "hledger is not installed"
        pytest.skip("hledger is not installed")
    arguments = ["hledger", "-f", str(path), *command]
    plain = os.environ | {"LC_ALL": "C"}  # whatever the locale
    return subprocess.run(arguments, env=plain, capture_output=True, text=True, check=False)


def check(journal: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "ledger.journal"
    path.write_text(journal, "ascii")
    return hledger(path, "check", "--strict", "ordereddates")


def test_hledger_accepts_the_mixed_ledger(journal: str, tmp_path: Path) -> None:
    verdict = check(journal, tmp_path)
    assert (verdict.returncode, verdict.stderr) == (0, "")


def test_every_entry_of_money_is_one_transaction(journal: str, log: Log) -> None:
    money = [sealed for sealed in log if sealed.entry.totals]
    named = re.findall(r"^    ; index:(\d+)\n    ; leaf:(\w+)\n    ; ref:(\S+)$", journal, re.M)
    assert named == [(str(s.entry.index), s.leaf, s.entry.statement["ref"]) for s in money]
    kinds = {sealed.entry.statement["type"] for sealed in money}
    assert kinds == {"donation", "disbursement", "transfer", "refund", "return"}
    held = [f"{total['currency']} {total['balance']}" for s in money for total in s.entry.totals]
    assert re.findall(r" = (.+)$", journal, re.M) == held


def test_hledger_finds_the_counters_of_the_books(
    journal: str, mixed: Ledger, tmp_path: Path
) -> None:
    """Account by account: what no assertion in the journal says."""
    path = tmp_path / "ledger.journal"
    path.write_text(journal, "ascii")
    listed = hledger(path, "balance", "--flat", "--no-total", "--empty").stdout
    found = {account: amount for amount, account in re.findall(r"(\S+)  (\S+)$", listed, re.M)}
    entries = (decode_entry(data) for data in mixed.store.entries(0, mixed.store.size()))
    last = {total["fund"]: total for entry in entries for total in entry.totals}
    wanted: dict[str, int] = defaultdict(int)
    for total in last.values():
        for account, *counters in ACCOUNTS:
            for counter in counters:
                sign, name = (-1, counter[1:]) if counter[0] == "-" else (1, counter)
                if name in total:
                    exponent = CURRENCIES[total["currency"]]
                    minor = parse_total(total[name], exponent)
                    wanted[f"{account}:{total['fund']}"] += sign * minor
    spoken = {account: int(amount.replace(".", "")) for account, amount in found.items()}
    assert {a: v for a, v in spoken.items() if v} == {a: v for a, v in wanted.items() if v}


ACCOUNTS = (
    ("assets:funds", "balance"),
    ("income:donations", "-donated"),
    ("income:refunds", "refunded"),
    ("expenses:programme", "disbursed", "-returned", "operational_returned"),
    ("expenses:operational", "operational", "-operational_returned"),
    ("expenses:fees:platform", "platform_fees", "-platform_fees_returned"),
    ("expenses:fees:payment", "payment_fees", "-payment_fees_returned"),
)


@pytest.mark.parametrize("account", [account for account, *_ in ACCOUNTS])
@pytest.mark.parametrize("step", [1, -1])
def test_one_altered_amount_is_refused(
    journal: str, tmp_path: Path, account: str, step: int
) -> None:
    """By one minor unit, anywhere: of each kind of account one line taken by chance."""
    lines = [m.start() for m in re.finditer(rf"^    {account}:", journal, re.M)]
    start = random.Random(f"{account}{step}").choice(lines)
    altered = journal[:start] + AMOUNT.sub(lambda m: moved(m[0], step), journal[start:], count=1)
    assert altered != journal
    refused = check(altered, tmp_path)
    assert refused.returncode == 1
    assert re.search("unbalanced|could not balance", refused.stderr)  # by its version


def test_one_altered_balance_is_refused(journal: str, tmp_path: Path) -> None:
    places = list(ASSERTED.finditer(journal))
    for place in random.Random(7).sample(places, 5):
        altered = journal[: place.start()] + moved(place[0], 1) + journal[place.end() :]
        refused = check(altered, tmp_path)
        assert refused.returncode == 1
        assert "balance assertion" in refused.stderr


def test_a_pair_of_amounts_that_still_balances_is_refused(journal: str, tmp_path: Path) -> None:
    """What makes one gift larger shows in what the fund should hold."""
    gift = re.search(
        r"income:donations:\S+  (IDR -\d+\.\d\d)\n    assets:funds:\S+  (IDR \d+\.\d\d) =", journal
    )
    assert gift is not None
    more = gift[0]
    for amount, step in ((gift[1], -1), (gift[2], 1)):
        code, number = amount.split(" ")
        more = more.replace(amount, f"{code} {moved(number, step)}")
    refused = check(journal.replace(gift[0], more, 1), tmp_path)
    assert refused.returncode == 1
    assert "balance assertion" in refused.stderr


def moved(number: str, step: int) -> str:
    """A decimal number, by `step` of its last digit."""
    decimals = len(number.partition(".")[2])
    minor = int(number.replace(".", "")) + step
    digits = f"{abs(minor):0{decimals + 1}}"
    sign = "-" if minor < 0 else ""
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


@pytest.mark.parametrize("ref", ["date:2020-99-99", "date:2020-01-01", "a:b:c", "-1"])
def test_a_ref_is_only_a_word(ledger: Ledger, tmp_path: Path, ref: str) -> None:
    ledger.register_platform(PLATFORM)
    ledger.post(PLATFORM, [fund("air"), donation(ref=ref)])
    journal = b"".join(export(Log(ledger.store, ledger.store.checkpoint()))).decode("ascii")
    assert check(journal, tmp_path).stderr == ""
    path = tmp_path / "ledger.journal"
    assert hledger(path, "print", f"tag:ref=^{ref}$").stdout.count(f"ref:{ref}\n") == 1
