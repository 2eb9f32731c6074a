"""The worked example: a few hundred made-up entries that show every type of statement.

The same entries every time; only the origin of the ledger they are sealed into differs, so
that a fresh demonstration never looks like a fork of the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ORIGIN = "demo.amanah.example"  # and a slash and a name of its own for each
PLATFORM = "kitabantu"
PARTNER = "gotongroyong"
LAST_REF = "fund.gempa.closed"  # of `PLATFORM`: once it is there, everything is
Statement = dict[str, Any]

_PARTIES = (
    ("yayasan-gizi", "Yayasan Gizi Nusantara", "foundation", "ID"),
    ("lsm-sehat", "LSM Sehat Bersama", "ngo", "ID-NT"),
    ("dinkes-ntt", "Dinas Kesehatan NTT", "government", "ID-NT"),
    ("pt-beras", "PT Beras Makmur", "private", "ID-JI"),
    ("posyandu-melati", "Posyandu Melati", "community", "ID-NT"),
    ("posyandu-kenanga", "Posyandu Kenanga", "community", "ID-NT"),
    ("auditor-amanat", "Auditor Amanat", "auditor", "ID-JK"),
)
_CHANNELS = ("qris", "va", "ewallet", "transfer", "card", "cash", "payroll", "other")
_AMOUNTS = ("25000", "50000", "100000", "10000", "250000", "75000.50", "1000000", "15000")
_EVIDENCE_SHA256 = "5f2c3b0c3f1d8b7d6a54e4c3b2a190807f6e5d4c3b2a19080706050403020100"


def statements() -> Iterator[tuple[str, Statement]]:
    """(platform, statement) in the order in which they are posted, after both platforms.

    Targets count from the size of the ledger they go into: genesis, then the two platforms.
    """
    log = _Log(first_index=3)
    for entry in _registrations():
        yield log.note(*entry)
    yield from _donations(log)
    yield from _spending(log)
    yield from _undoing(log)


class _Log:
    """Remembers at which index each ref will stand."""

    def __init__(self, first_index: int) -> None:
        self.next_index = first_index
        self.index_of: dict[str, int] = {}

    def note(self, platform: str, statement: Statement) -> tuple[str, Statement]:
        self.index_of[statement["ref"]] = self.next_index
        self.next_index += 1
        return platform, statement


def _registrations() -> Iterator[tuple[str, Statement]]:
    for party_id, name, kind, area in _PARTIES:
        party = {"type": "party", "ref": f"party.{party_id}", "id": party_id}
        yield PLATFORM, party | {"name": name, "kind": kind, "area": area}
    yield PLATFORM, _programme("programme.bebas-stunting")
    yield PLATFORM, _fund("fund.gizi", "gizi-anak", "Gizi untuk anak NTT", cap_bp=1000)
    yield PLATFORM, _fund("fund.gempa", "tanggap-gempa", "Tanggap gempa", cap_bp=0)
    yield PARTNER, _fund("fund.desa", "dana-desa", "Dana desa", PARTNER, "lsm-sehat", 500)
    yield PARTNER, _fund("fund.air", "air-bersih", "Air bersih", PARTNER, "lsm-sehat")


def _programme(ref: str) -> Statement:
    return {
        "type": "programme",
        "ref": ref,
        "id": "bebas-stunting",
        "title": "Bebas stunting NTT 2025",
        "lead": "dinkes-ntt",
        "participants": [
            {"party": "yayasan-gizi", "role": "funding"},
            {"party": "lsm-sehat", "role": "implementing"},
            {"party": "dinkes-ntt", "role": "accountable"},
        ],
        "goal": {
            "indicator": "Stunting prevalence, per cent",
            "baseline": "37.9",
            "target": "24",
            "by": "2027-12-31",
        },
    }


def _fund(
    ref: str,
    fund_id: str,
    title: str,
    platform: str = PLATFORM,
    owner: str = "yayasan-gizi",
    cap_bp: int | None = None,
) -> Statement:
    return {
        "type": "fund",
        "ref": ref,
        "id": fund_id,
        "title": title,
        "owner": owner,
        "platforms": [platform],
        "currency": "IDR",
        "policy": {} if cap_bp is None else {"cost_cap_bp": cap_bp},
        "status": "open",
        "programmes": ["bebas-stunting"],
        "restriction": "with_donor",
    }


def _money(kind: str, ref: str, amount: str, hour: int) -> Statement:
    """hour: counted from the first of June 2025, Jakarta time."""
    day, hour = divmod(hour, 24)
    occurred_at = f"2025-06-{1 + day:02d}T{hour:02d}:15:00+07:00"
    return {
        "type": kind,
        "ref": ref,
        "amount": amount,
        "currency": "IDR",
        "occurred_at": occurred_at,
    }


def _donations(log: _Log) -> Iterator[tuple[str, Statement]]:
    funds = (("gizi-anak", PLATFORM), ("tanggap-gempa", PLATFORM), ("air-bersih", PARTNER))
    for n in range(240):
        fund_id, platform = funds[n % 3]
        amount = _AMOUNTS[n % len(_AMOUNTS)]
        donation = _money("donation", f"gift-{n:04d}", amount, n) | {
            "fund": fund_id,
            "channel": _CHANNELS[n // 3 % len(_CHANNELS)],
        }
        if fund_id == "gizi-anak":
            donation["fees"] = [{"kind": "platform", "amount": "500"}]
        if n % 5 == 0:
            fees: list[Statement] = donation.setdefault("fees", [])
            fees.append({"kind": "payment", "amount": "700.50"})
        if n % 7 == 0:
            donation["donor"] = {"kind": "individual"}
        yield log.note(platform, donation)
    gift = _money("donation", "gift-pt-beras", "25000000", 250) | {"fund": "gizi-anak"}
    yield log.note(PLATFORM, gift | {"donor": {"kind": "organisation", "party": "pt-beras"}})
    pooled = _money("donation", "gift-pooled", "3500000", 251) | {"fund": "tanggap-gempa"}
    yield log.note(PLATFORM, pooled | {"donor": {"kind": "pooled"}, "channel": "cash"})


def _spending(log: _Log) -> Iterator[tuple[str, Statement]]:
    transfer = _money("transfer", "share-0001", "12000000", 260)
    transfer |= {"from_fund": "gizi-anak", "to_fund": "dana-desa", "basis": "terms"}
    yield log.note(PLATFORM, transfer | {"purpose": "Programme share for the villages"})
    for n in range(24):
        milk = _money("disbursement", f"milk-{n:02d}", "300000", 270 + n) | {
            "fund": "dana-desa",
            "category": "programme",
            "recipient": {"party": ("posyandu-melati", "posyandu-kenanga")[n % 2]},
            "purpose": "Eggs and milk for under-fives",
        }
        yield log.note(PARTNER, milk)
    for n in range(9):
        families = {"group": "Families in shelters", "count": 20 + n, "area": "ID-NT"}
        food = _money("disbursement", f"food-{n:02d}", "400000", 300 + n) | {
            "fund": "tanggap-gempa",
            "category": "programme",
            "recipient": families,
            "purpose": "Food parcels",
            "evidence": [
                {"sha256": _EVIDENCE_SHA256, "media_type": "application/pdf", "bytes": 48213}
            ],
        }
        yield log.note(PLATFORM, food)
    for statement in _goods_and_report():
        yield log.note(PLATFORM, statement)
    staff = _money("disbursement", "staff-01", "900000", 320) | {
        "fund": "gizi-anak",
        "category": "operational",
        "recipient": {"party": "yayasan-gizi"},
        "purpose": "Field staff, June",
    }
    yield log.note(PLATFORM, staff)


def _goods_and_report() -> Iterator[Statement]:
    rice = {"fund": "tanggap-gempa", "item": "Beras 5 kg", "unit": "XBG"}
    at = "2025-06-13T1{}:15:00+07:00"
    given = {"type": "goods_in", "ref": "rice-in", "quantity": "400", "occurred_at": at.format(0)}
    yield given | rice | {"estimated_value": "30000000", "currency": "IDR"}
    out = {"type": "goods_out", "ref": "rice-out", "quantity": "352", "occurred_at": at.format(5)}
    yield (
        out | rice | {"recipient": {"group": "Families in shelters", "count": 88, "area": "ID-NT"}}
    )
    yield {
        "type": "report",
        "ref": "report-01",
        "fund": "tanggap-gempa",
        "title": "The first two weeks after the earthquake",
        "by": "yayasan-gizi",
        "indicator": {"name": "Families who got food", "value": "304", "area": "ID-NT"},
    }


def _undoing(log: _Log) -> Iterator[tuple[str, Statement]]:
    refund = {"type": "refund", "ref": "refund-0001", "target": log.index_of["gift-0013"]}
    yield log.note(PLATFORM, refund | {"amount": "75000.50", "reason": "donor_request"})
    partly = {"type": "refund", "ref": "refund-0002", "target": log.index_of["gift-0120"]}
    partly |= {"amount": "10000", "reason": "mistake"}
    yield log.note(PLATFORM, partly | {"fees": [{"kind": "platform", "amount": "500"}]})
    bounced = {"type": "return", "ref": "return-0001", "target": log.index_of["milk-03"]}
    yield log.note(PARTNER, bounced | {"amount": "300000", "reason": "bounced"})
    unused = {"type": "return", "ref": "return-0002", "target": log.index_of["share-0001"]}
    yield log.note(PARTNER, unused | {"amount": "2000000", "reason": "unused"})
    closed = _fund(LAST_REF, "tanggap-gempa", "Tanggap gempa", cap_bp=0)
    closed |= {"status": "closed", "supersedes": log.index_of["fund.gempa"]}
    yield log.note(PLATFORM, closed)
