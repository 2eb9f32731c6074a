"""Every field of every statement type, and values it takes and refuses: data of test_schemas.py.

Written from the format's own table of statements, not from the schemas.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ledger.entry import INTEGER_MAX
from tests.signers import key
from tests.support import Statement

HASH = "0123456789abcdef" * 4


class Kind(NamedTuple):
    """A kind of value: some it takes, some it refuses, and the code it refuses them with."""

    good: list[Any]
    bad: list[Any]
    code: str = "invalid"


# Wrong whatever is asked for: JSON values are texts, integers, booleans, arrays and objects.
NOT_TEXTS: list[Any] = [0, 7, True, [], ["x"], {}, {"x": "y"}]
NOT_NUMBERS: list[Any] = ["7", "", True, False, [], [7], {}]
NOT_OBJECTS: list[Any] = ["x", 7, True, [], [{}]]


def text(longest: int) -> Kind:
    spaces = [" x", "x ", "x\u00a0", "\u00a0x", "\u3000x", "x\u2009", "x\n", "\tx", "x\u2028", " "]
    good = ["x", "é" * longest, "x" * longest, "\U0001f33e" * longest, "a b", "<Rp5.000>", "-"]
    return Kind(good, ["", "x" * (longest + 1), "\U0001f33e" * (longest + 1), *spaces, *NOT_TEXTS])


def one_of(*words: str) -> Kind:
    first = words[0]
    bad = ["", first.upper(), first.capitalize(), first + "\n", " " + first, first[:-1], "nothing"]
    return Kind(list(words), [*bad, *NOT_TEXTS, [first]])


def whole(least: int = 0, most: int = INTEGER_MAX) -> Kind:
    return Kind([least, least + 1, most], [least - 1, most + 1, 10**30, *NOT_NUMBERS])


ID = Kind(
    ["a", "0", "yayasan-gizi", "a-", "a--b", "x" * 63, "2026", "ledger-2"],
    [
        "",
        "-a",
        "A",
        "x" * 64,
        "a_b",
        "a.b",
        "a b",
        "é",
        "a\n",
        "\na",
        "ledger",
        "\u0661",
        *NOT_TEXTS,
    ],
)
REF = Kind(
    ["a", "Z", "0", "._:-", "019377e4-8d4b-7cc0-8a7c-6b3c0f6e1d2a", "x" * 64, "ledger"],
    ["", "x" * 65, "a b", "a/b", "a@b", "é", "a\n", "\u0661", *NOT_TEXTS],
)
HEX = Kind(
    [HASH, "0" * 64],
    ["", HASH[:-1], HASH + "0", HASH.upper(), "g" * 64, HASH + "\n", "\u0660" * 64, *NOT_TEXTS],
)
CURRENCY = Kind(["IDR"], ["", "ID", "IDRR", "idr", "Rp", "IDR\n", "360", "I\u0110R", *NOT_TEXTS])
AMOUNT = Kind(
    ["1", "0.01", "150000", "150000.5", "150000.00", "9" * 15, "9" * 15 + ".99"],
    ["", "0", "0.00", "-1", "+1", "01", "1.", ".1", "1,5", "1e3", " 1", "1\n", "1_000",
     "1" + "0" * 15, "1.00001", "\u0661", "Rp1", 150000, 1, 0, True, [], ["1"], {}],
    "invalid_amount",
)  # fmt: skip
CURRENCIES = Kind(
    [{"IDR": 2}, {"AAA": 0, "ZZZ": 4}],
    [{}, {"IDR": 5}, {"IDR": -1}, {"IDR": "2"}, {"IDR": True}, {"idr": 2}, {"IDRX": 2},
     {"IDR\n": 2}, {"": 2}, {"IDR": 2, "ABC": {}}, "IDR", 7, True, [], ["IDR"]],
)  # fmt: skip
DECIMAL = Kind(
    ["0", "-1", "12.5", "-0.5", "0.000001", "-0.10", "0.0", "9" * 15 + ".999999", "-10"],
    ["", "-0", "-0.0", "-0.000000", "+1", "00", "01", "-01", ".5", "5.", "1e3", "1,5", "--1", "-",
     "NaN", "1.0000001", "1" + "0" * 15, "1\n", " 1", "1_0", "\u0661", *NOT_TEXTS],
)  # fmt: skip
QUANTITY = Kind(
    ["1", "0.000001", "12.5", "12.50", "9" * 15 + ".999999"],
    ["", "0", "0.0", "0.000000", "-1", "+1", "01", "1.", ".5", "1,5", "1e3", " 1", "1\n", "1_000",
     "1.0000001", "1" + "0" * 15, "\u0661", "NaN", *NOT_TEXTS],
)  # fmt: skip
UNIT = Kind(
    ["KGM", "H87", "XBX", "C62", "5B", "EA"],
    ["", "K", "KGMX", "kgm", "K M", "KG\n", "KG-", "\u0661\u0661", *NOT_TEXTS],
)
DIGEST = Kind(
    ["A" * 43, "-_09azAZ" * 5 + "abA", "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"],
    ["", "A" * 42, "A" * 44, "A" * 43 + "=", "A" * 42 + "B", "A" * 42 + "+", "A" * 42 + "/",
     "A" * 43 + "\n", HASH, *NOT_TEXTS],
)  # fmt: skip
DATE = Kind(
    ["2026-01-05", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"],
    ["", "2026-02-30", "2026-02-29", "1900-02-29", "2026-13-01", "2026-00-01", "2026-01-00",
     "2026-04-31", "0000-01-01", "20260105", "2026-1-5", "2026-W01-1", "2026-005", "2026-01-05\n",
     "2026-01-05T00:00:00Z", "26-01-05", "12026-01-05", "\u0662\u0660\u0662\u0666-01-05",
     *NOT_TEXTS],
)  # fmt: skip
TIME = Kind(
    ["2026-01-05T09:00:00Z", "2026-01-05T09:00:00+07:00", "2026-01-05T09:00:00.123-00:30",
     "2024-02-29T23:59:59.999+14:00", "2026-01-05T00:00:00-14:00", "2026-01-05T00:00:00+00:00",
     "2026-01-05T09:00:00+05:45", "2026-01-05T09:00:00.000Z", "0001-01-01T00:00:00+14:00",
     "9999-12-31T23:59:59.999-14:00"],
    ["", "2026-01-05", "2026-01-05T09:00:00", "2026-01-05T09:00Z", "2026-01-05 09:00:00Z",
     "2026-01-05t09:00:00Z", "2026-01-05T09:00:00z", "2026-01-05T24:00:00Z", "2026-01-05T25:00:00Z",
     "2026-01-05T09:60:00Z", "2026-01-05T09:00:60Z", "2026-01-05T23:59:60Z", "2026-02-30T09:00:00Z",
     "2026-00-05T09:00:00Z", "0000-01-05T09:00:00Z", "2026-01-05T09:00:00-00:00",
     "2026-01-05T09:00:00+14:01", "2026-01-05T09:00:00-14:01", "2026-01-05T09:00:00+15:00",
     "2026-01-05T09:00:00+07:60", "2026-01-05T09:00:00+0700", "2026-01-05T09:00:00+07",
     "2026-01-05T09:00:00 +07:00", "2026-01-05T09:00:00+7:00", "2026-01-05T09:00:00\u221207:00",
     "2026-01-05T09:00:00.1Z", "2026-01-05T09:00:00.12Z", "2026-01-05T09:00:00.1234Z",
     "2026-01-05T09:00:00.Z", "2026-01-05T09:00:00,123Z", "20260105T090000Z",
     "2026-01-05T09:00:00Z\n", " 2026-01-05T09:00:00Z", "2026-W01-1T09:00:00Z",
     "2026-01-05T09:00:00WIB",
     "\u0662\u0660\u0662\u0666-01-05T09:00:00Z", "2026-01-05T0\u0669:00:00Z", *NOT_TEXTS],
)  # fmt: skip
URL = Kind(
    ["https://a", "https://example.org", "https://example.org:8443/a?b=c#d", "https://xn--e1a.id/",
     "https://example.org/" + "x" * 180, "https://example.org/a@b", "https://1.2.3.4/%20"],
    ["", "http://example.org", "HTTPS://example.org", "https:/example.org", "https://", "https:///x",
     "https://example.org/" + "x" * 181, "https://example.org/é", "https://exämple.org",
     "https://user@example.org/", "https://user:word@example.org/", "https://example.org/a b",
     "https://example.org\n", "https://example.org/\n", " https://example.org", "example.org",
     "https://[::1]/", "https://example.org:/", "https://example.org:123456/", "https://example.org\\x",
     "ftp://example.org", "javascript:alert(1)", "//example.org", *NOT_TEXTS],
)  # fmt: skip
FLAG = Kind([True, False], [0, 1, "true", "", [], {}])
LATER = Kind([], ["x", 1, True, ["x"], {"x": 1}], "not_supported")
# Only what a pattern can tell; tests/test_schemas.py has the rest.
VKEY = Kind(
    [key("yayasan", 9).vkey],
    ["", key("yayasan").vkey[:-1], key("yayasan").vkey + "\n",
     key("yayasan").vkey.replace("+", " "), "yayasan+00000000+AQ==", *NOT_TEXTS],
)  # fmt: skip
PARTY_KIND = one_of(
    *"government private ngo community platform foundation academic media auditor".split(),
    "multilateral",
)
ROLE = one_of("orchestrator", "funding", "accountable", "extending", "implementing")


class Array(NamedTuple):
    """At least one element, none twice, at most `most`. unlike(i): an element, each another."""

    most: int
    unlike: Any


class Object(NamedTuple):
    required: list[str]
    may_be_empty: bool = False


EVIDENCE = {
    "/evidence": Array(16, lambda i: {"sha256": f"{i:064x}", "media_type": "x/y", "bytes": i}),
    "/evidence/0": Object(["sha256", "media_type", "bytes"]),
    "/evidence/0/sha256": HEX,
    "/evidence/0/media_type": text(100),
    "/evidence/0/bytes": whole(),
    "/evidence/0/uri": URL,
    "/evidence/0/category": text(10),
    "/evidence/0/salted": FLAG,
}
MONEY = {"/amount": AMOUNT, "/currency": CURRENCY, "/occurred_at": TIME}
FEES = {
    "/fees": Array(8, lambda i: {"kind": "platform", "amount": f"{i + 1}"}),
    "/fees/0": Object(["kind", "amount"]),
    "/fees/0/kind": one_of("platform", "payment"),
    "/fees/0/amount": AMOUNT,
}
RECIPIENT = {"group": "mothers", "count": 40, "area": "ID-5303"}
A_FILE = {
    "sha256": HASH,
    "media_type": "application/pdf",
    "bytes": 0,
    "uri": "https://example.org/a.pdf",
    "category": "photo",
    "salted": True,
}
COMMON_MONEY = {
    "amount": "1500.50",
    "currency": "IDR",
    "occurred_at": "2026-01-05T09:00:00.123+07:00",
}


GOODS = {
    "fund": "air",
    "item": "Rice, 5 kg bags",
    "unit": "XBG",
    "quantity": "12.5",
    "occurred_at": "2026-01-05T09:00:00.123+07:00",
    "estimated_value": "1500.50",
    "currency": "IDR",
    "evidence": [A_FILE],
}
GOODS_FIELDS = {
    "/fund": ID,
    "/item": text(80),
    "/unit": UNIT,
    "/quantity": QUANTITY,
    "/occurred_at": TIME,
    "/estimated_value": AMOUNT,
    "/currency": CURRENCY,
    **EVIDENCE,
}


class Type(NamedTuple):
    """A statement type: an example with every field, its required fields, and every field."""

    example: Statement
    required: str
    fields: dict[str, Any]


TYPES = {
    "acknowledgement": Type(
        {
            "target": 9,
            "target_leaf": HASH,
            "by": "posyandu",
            "status": "partial",
            "amount": "100.50",
            "occurred_at": "2026-01-05T09:00:00Z",
            "evidence": [A_FILE],
        },
        "target target_leaf by status occurred_at",
        {
            "/target": whole(),
            "/target_leaf": HEX,
            "/by": ID,
            "/status": Kind(["partial"], ["", "Partial", "partial\n", "lost", *NOT_TEXTS]),
            "/amount": AMOUNT,
            "/occurred_at": TIME,
            **EVIDENCE,
        },
    ),
    "attestation": Type(
        {
            "by": "auditor",
            "checkpoint": {"origin": "ledger.example/2026", "size": 5, "root": HASH},
            "opinion": "qualified",
            "scope_funds": ["air"],
            "evidence": [A_FILE],
        },
        "by checkpoint opinion",
        {
            "/by": ID,
            "/checkpoint": Object(["origin", "size", "root"]),
            "/checkpoint/origin": text(200),
            "/checkpoint/size": whole(1),
            "/checkpoint/root": HEX,
            "/opinion": one_of("unqualified", "qualified", "adverse", "disclaimer"),
            "/scope_funds": Array(32, lambda i: f"f{i}"),
            "/scope_funds/0": ID,
            **EVIDENCE,
        },
    ),
    "genesis": Type(
        {
            "format": "amanah/1",
            "origin": "ledger.example/2026",
            "operator": "Amanah",
            "vkeys": ["a+00000000+AQ==", "b+00000000+AQ=="],
            "currencies": {"IDR": 2, "JPY": 0, "CLF": 4},
        },
        "format origin operator vkeys currencies",
        {
            "/format": one_of("amanah/1"),
            "/origin": text(200),
            "/operator": text(140),
            "/vkeys": Array(32, lambda i: f"v{i}"),
            "/vkeys/0": text(2000),
            "/currencies": CURRENCIES,
        },
    ),
    "party": Type(
        {
            "id": "yayasan",
            "name": "Yayasan Gizi Nusantara",
            "kind": "foundation",
            "keys": [key("yayasan").vkey],
            "signed_only": True,
            "area": "ID-NT",
            "registry": "GB-COH-07831511",
            "url": "https://example.org",
            "supersedes": 3,
        },
        "id name kind",
        {
            "/id": Kind(["yayasan"], ID.bad),  # its keys are named so
            "/name": text(140),
            "/kind": PARTY_KIND,
            "/keys": Array(8, lambda i: key("yayasan", i).vkey),
            "/keys/0": VKEY,
            "/signed_only": FLAG,
            "/area": text(40),
            "/registry": text(80),
            "/url": URL,
            "/supersedes": whole(),
        },
    ),
    "programme": Type(
        {
            "id": "bebas-stunting",
            "title": "Bebas stunting",
            "lead": "dinkes",
            "participants": [
                {"party": "yayasan", "role": "funding"},
                {"party": "posyandu", "role": "implementing"},
            ],
            "goal": {
                "indicator": "Prevalence, per cent",
                "baseline": "37.9",
                "target": "-14",
                "by": "2027-12-31",
            },
            "supersedes": 0,
        },
        "id title lead",
        {
            "/id": ID,
            "/title": text(140),
            "/lead": ID,
            "/participants": Array(200, lambda i: {"party": f"p{i}", "role": "funding"}),
            "/participants/1": Object(["party", "role"]),
            "/participants/1/party": ID,
            "/participants/1/role": ROLE,
            "/goal": Object(["indicator"]),
            "/goal/indicator": text(140),
            "/goal/baseline": DECIMAL,
            "/goal/target": DECIMAL,
            "/goal/by": DATE,
            "/supersedes": whole(),
        },
    ),
    "fund": Type(
        {
            "id": "air",
            "title": "Air bersih",
            "owner": "yayasan",
            "platforms": ["kita", "lain"],
            "currency": "IDR",
            "policy": {
                "cost_cap_bp": 1000,
                "approvals": {
                    "from_amount": "500",
                    "needed": 1,
                    "approvers": [f"p{i}" for i in range(8)],
                },
                "evidence_from_amount": "700",
            },
            "status": "open",
            "category": "water",
            "programmes": ["bebas-stunting"],
            "restriction": "with_donor",
            "goal_amount": "1000000.00",
            "permit": {
                "number": "HK.01/2026",
                "issuer": "Kemensos",
                "valid_from": "2026-01-01",
                "valid_until": "2026-03-31",
            },
            "supersedes": 7,
        },
        "id title owner platforms currency policy status",
        {
            "/id": ID,
            "/title": text(140),
            "/owner": ID,
            "/platforms": Array(32, lambda i: f"p{i}"),
            "/platforms/0": ID,
            "/currency": CURRENCY,
            "/policy": Object([], may_be_empty=True),
            "/policy/cost_cap_bp": whole(most=10_000),
            "/policy/approvals": Object(["from_amount", "needed", "approvers"]),
            "/policy/approvals/from_amount": AMOUNT,
            "/policy/approvals/needed": whole(1, 8),
            "/policy/approvals/approvers": Array(32, lambda i: f"p{i}"),
            "/policy/approvals/approvers/0": ID,
            "/policy/evidence_from_amount": AMOUNT,
            "/status": one_of("open", "closed"),
            "/category": text(40),
            "/programmes": Array(32, lambda i: f"p{i}"),
            "/programmes/0": ID,
            "/restriction": one_of("with_donor", "without_donor"),
            "/goal_amount": AMOUNT,
            "/permit": Object(["number", "issuer", "valid_from", "valid_until"]),
            "/permit/number": text(80),
            "/permit/issuer": text(140),
            "/permit/valid_from": DATE,
            "/permit/valid_until": DATE,
            "/supersedes": whole(),
        },
    ),
    "donation": Type(
        {
            "fund": "air",
            **COMMON_MONEY,
            "fees": [{"kind": "platform", "amount": "5"}, {"kind": "platform", "amount": "7"}],
            "channel": "qris",
            "donor": {"kind": "organisation", "party": "yayasan"},
        },
        "fund amount currency occurred_at",
        {
            "/fund": ID,
            **MONEY,
            **FEES,
            "/channel": one_of(*"qris va ewallet transfer card cash payroll other".split()),
            "/donor": Object(["kind", "party"]),  # the party, since this donor is one
            "/donor/kind": Kind(
                ["organisation"], ["", "Organisation", "organisation\n", *NOT_TEXTS]
            ),
            "/donor/party": ID,
            "/donor/sd": LATER,
            "/donor/holder": LATER,
        },
    ),
    "disbursement": Type(
        {
            "fund": "air",
            **COMMON_MONEY,
            "category": "programme",
            "recipient": RECIPIENT,
            "purpose": "nutrition",
            "purpose_code": "12240",
            "evidence": [A_FILE],
        },
        "fund amount currency occurred_at category recipient purpose",
        {
            "/fund": ID,
            **MONEY,
            "/category": one_of("programme", "operational"),
            "/recipient/group": text(80),
            "/recipient/count": whole(least=1),
            "/recipient/area": text(40),
            "/purpose": text(140),
            "/purpose_code": text(20),
            **EVIDENCE,
        },
    ),
    "transfer": Type(
        {
            "from_fund": "air",
            "to_fund": "desa",
            **COMMON_MONEY,
            "basis": "donor_vote",
            "purpose": "wells",
            "evidence": [A_FILE],
        },
        "from_fund to_fund amount currency occurred_at basis",
        {
            "/from_fund": ID,
            "/to_fund": ID,
            **MONEY,
            "/basis": one_of("terms", "donor_vote", "authority"),
            "/purpose": text(140),
            **EVIDENCE,
        },
    ),
    "refund": Type(
        {
            "target": 7,
            "amount": "1500.50",
            "reason": "donor_request",
            "fees": [{"kind": "platform", "amount": "5"}, {"kind": "payment", "amount": "0.5"}],
            "occurred_at": "2026-01-05T09:00:00Z",
            "evidence": [A_FILE],
        },
        "target amount reason",
        {
            "/target": whole(),
            "/amount": AMOUNT,
            "/reason": one_of("donor_request", "duplicate", "mistake", "cancelled", "fraud"),
            **FEES,
            "/occurred_at": TIME,
            **EVIDENCE,
        },
    ),
    "return": Type(
        {
            "target": 7,
            "amount": "1500.50",
            "reason": "bounced",
            "occurred_at": "2026-01-05T09:00:00Z",
            "evidence": [A_FILE],
        },
        "target amount reason",
        {
            "/target": whole(),
            "/amount": AMOUNT,
            "/reason": one_of("bounced", "cancelled", "mistake", "unused"),
            "/occurred_at": TIME,
            **EVIDENCE,
        },
    ),
    "goods_in": Type(
        GOODS,
        "fund item unit quantity occurred_at estimated_value currency",  # the last go together
        GOODS_FIELDS,
    ),
    "goods_out": Type(
        {**GOODS, "recipient": RECIPIENT},
        "fund item unit quantity occurred_at recipient estimated_value currency",
        {
            **GOODS_FIELDS,
            "/recipient/group": text(80),
            "/recipient/count": whole(least=1),
            "/recipient/area": text(40),
        },
    ),
    "report": Type(
        {
            "fund": "air",
            "title": "What the wells changed",
            "text_digest": "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0",
            "indicator": {
                "name": "Households with a well",
                "value": "120",
                "unit": "households",
                "period_from": "2026-01-01",
                "period_to": "2026-06-30",
                "area": "ID-5303",
            },
            "by": "yayasan",
            "evidence": [A_FILE],
        },
        "fund title by",  # the fund, since no programme is named
        {
            "/fund": ID,
            "/title": text(140),
            "/text_digest": DIGEST,
            "/indicator": Object(["name", "value"]),
            "/indicator/name": text(140),
            "/indicator/value": DECIMAL,
            "/indicator/unit": text(20),
            "/indicator/period_from": DATE,
            "/indicator/period_to": DATE,
            "/indicator/area": text(40),
            "/by": ID,
            **EVIDENCE,
        },
    ),
    "evidence": Type(
        {"target": 7, "target_leaf": HASH, "evidence": [A_FILE]},
        "target target_leaf evidence",
        {"/target": whole(), "/target_leaf": HEX, **EVIDENCE},
    ),
}
for _name, _type in TYPES.items():
    _type.example.update(type=_name, ref="r-1")
    _type.fields["/ref"] = REF
