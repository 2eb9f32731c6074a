"""Amounts: decimal strings of major units outside, `int` minor units inside.

Never a JSON number and never a float: integer minor units invite the hundredfold mistake,
floats lose cents. docs/format.md, "Money".
"""

from __future__ import annotations

import re
from functools import lru_cache

from ledger.errors import LedgerError

LIMIT_MINOR = 10**18  # every counter and span end stays below; fits SQLite's 64-bit integers
EXPONENT_MAX = 4
AMOUNTS_KEPT = 16_384

# ISO 4217, every active code that has a minor unit (list of 2026-01-01). The table goes into
# the genesis entry; a code's exponent never changes afterwards.
_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
        "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
        "GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK "
        "LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO "
        "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
        "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST "
        "XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCIES: dict[str, int] = {
    code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()
}

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,14})(?:\.([0-9]{1,4}))?", re.ASCII)
# Eighteen digits in all are below LIMIT_MINOR, in a currency of no decimals too.
_TOTAL = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,4}))?", re.ASCII)


class AmountError(LedgerError):
    """Text that is not an amount of its currency."""

    code = "invalid_amount"


def parse_amount(text: object, exponent: int) -> int:
    """The minor units that `text`, a decimal string of major units, stands for.

    `exponent`: decimals the currency allows. One spelling only: no sign, no grouping, no
    leading zero, no space, ASCII digits, above zero. Raises AmountError.
    """
    if not isinstance(text, str):
        raise AmountError('an amount is a decimal string of major units, such as "150000.00"')
    return _parse_amount(text, exponent)


# The same amount is read at several steps, and people give round sums.
@lru_cache(maxsize=AMOUNTS_KEPT)
def _parse_amount(text: str, exponent: int) -> int:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise AmountError(f"{text[:40]!r} is not an amount; write it like 150000 or 150000.50")
    units, decimals = match[1], match[2] or ""
    if len(decimals) > exponent:
        raise AmountError(f"{text!r} has {len(decimals)} decimals; its currency has {exponent}")
    minor = int(units + decimals.ljust(exponent, "0"))
    if minor == 0:
        raise AmountError(f"{text!r} is not above zero")
    return minor


def format_amount(minor: int, exponent: int) -> str:
    """`minor` units as a decimal string with exactly `exponent` decimals."""
    if exponent == 0:
        return str(minor)
    digits = str(minor)
    if len(digits) <= exponent:
        digits = digits.zfill(exponent + 1)
    return f"{digits[:-exponent]}.{digits[-exponent:]}"


def parse_total(text: object, exponent: int) -> int:
    """The minor units of a printed total: exactly `exponent` decimals, zero allowed."""
    if not isinstance(text, str):
        raise AmountError("a total is a decimal string")
    match = _TOTAL.fullmatch(text)
    if match is None or len(match[2] or "") != exponent:
        raise AmountError(f"{text[:40]!r} is not a total with {exponent} decimals")
    return int(match[1] + (match[2] or ""))
