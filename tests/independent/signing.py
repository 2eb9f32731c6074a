"""Signatures, approvals, acknowledgements and attestations, written from docs/format.md alone."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if __package__:
    from . import fold
else:  # beside a script
    import fold  # type: ignore[import-not-found,no-redef]

Key = tuple[bytes, bytes]  # key ID, public key


def strict_base64(word: Any, size: int) -> bytes:
    """Raises ValueError for anything but the one spelling of `size` bytes."""
    raw = base64.b64decode(word, validate=True) if isinstance(word, str) else b""
    if len(raw) != size or base64.b64encode(raw).decode() != word:
        raise ValueError(f"no base64 of {size} bytes")
    return raw


def key_of(vkey: Any) -> tuple[str, Key]:
    """Name and key of a vkey of type 0x01. Raises ValueError."""
    if not isinstance(vkey, str) or vkey.count("+") < 2:
        raise ValueError("no vkey")
    name, key_id, encoded = vkey.split("+", 2)
    raw = strict_base64(encoded, 33)
    right = sha256(name.encode() + b"\n" + raw).digest()[:4]
    if key_id != right.hex() or raw[0] != 1 or not fold.good_ed25519_key(raw[1:]):
        raise ValueError("not a good Ed25519 key under its own ID")
    return name, (right, raw[1:])


def is_fine(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except ValueError:
        return False
    return True


def _party(statement: Any) -> fold.Faults:
    faults: fold.Faults = _PARTY(statement)
    if not faults:
        keys = [key_of(vkey) for vkey in statement.get("keys", [])]
        ids = {key[0] for _, key in keys}
        wrong = len(ids) < len(keys) or any(name != statement["id"] for name, _ in keys)
        if wrong or (statement.get("signed_only") and not keys):
            faults = [("", fold.INVALID)]
    return faults


def _approvals(value: Any) -> fold.Faults:
    faults: fold.Faults = _APPROVALS(value)
    if not faults and not 1 <= value["needed"] <= min(8, len(value["approvers"])):
        faults = [("/needed", fold.INVALID)]
    return faults


def _acknowledgement(statement: Any) -> fold.Faults:
    faults: fold.Faults = _ACKNOWLEDGEMENT(statement)
    if not faults and "amount" in statement and statement["status"] != "partial":
        faults = [("/amount", fold.INVALID)]
    return faults


def _signatures(value: Any) -> fold.Faults:
    faults: fold.Faults = _SIGNATURES(value)
    if not faults:
        by = {(one["party"], base64.b64decode(one["sig"])[:4]) for one in value}
        faults = [] if len(by) == len(value) else [("", fold.INVALID)]
    return faults


fold.CHECKS |= {
    "keys": fold.array(fold._leaf(lambda value: is_fine(key_of, value)), 8),
    "signature": fold._leaf(lambda value: is_fine(strict_base64, value, 68)),
    "size": fold._leaf(lambda value: type(value) is int and 1 <= value < 2**53),
}
_APPROVALS = fold.fields("*from_amount amount, *needed index, *approvers [new_id]")
fold.CHECKS["approvals"] = _approvals
fold.CHECKS["checkpoint"] = fold.fields("*origin text:200, *size size, *root hash")
_SIGNATURES = fold.array(fold.fields("*party new_id, *sig signature"), 16)
_PARTY = fold.fields(
    "*type word, *ref ref, *id new_id, *name text:140, *kind government|private|ngo|community|"
    "platform|foundation|academic|media|auditor|multilateral, keys keys, signed_only flag, "
    "area text:40, registry text:80, url url, supersedes index"
)
_ACKNOWLEDGEMENT = fold.fields(
    "*type word, *ref ref, *target index, *target_leaf hash, *by new_id, *status received|partial|"
    "not_received|disputed, amount amount, *occurred_at instant, evidence evidence"
)
fold.CHECKS["policy"] = fold.fields(
    "cost_cap_bp bp, approvals approvals, evidence_from_amount amount"
)
fold.SCHEMAS |= {
    "party": _party,
    "fund": fold.fields(
        "*type word, *ref ref, *id new_id, *title text:140, *owner new_id, *platforms [new_id], "
        "*currency currency, *policy policy, *status open|closed, category text:40, "
        "programmes [new_id], restriction with_donor|without_donor, goal_amount amount, "
        "permit permit, supersedes index"
    ),
    "acknowledgement": _acknowledgement,
    "attestation": fold.fields(
        "*type word, *ref ref, *by new_id, *checkpoint checkpoint, *opinion unqualified|qualified|"
        "adverse|disclaimer, scope_funds [new_id], evidence evidence"
    ),
}


class SignedFold(fold.Fold):
    """The fold of a log whose parties may sign."""

    def __init__(
        self,
        currencies: dict[str, int] | None = None,
        parties: set[str] | None = None,
        origin: str = "",
    ) -> None:
        super().__init__(currencies, parties)
        self.origin = origin
        self.owners: dict[bytes, str] = {}
        self.received: dict[int, bool] = {}
        self.recipients: dict[int, str] = {}
        self.handed_out: dict[int, str] = {}  # the fund of goods that went to a party
        self.signatures: Sequence[fold.Json] = ()
        self.platform, self.posted = "", {}  # type: str, fold.Json

    def admit(
        self, platform: str, statement: fold.Json, signatures: Sequence[fold.Json] = ()
    ) -> list[fold.Json]:
        self.platform, self.posted, self.signatures = platform, statement, signatures
        size = self.size
        totals: list[fold.Json] = super().admit(platform, statement)
        recipient = statement.get("recipient", {})
        if "party" in recipient:
            self.recipients[size] = recipient["party"]
            if statement["type"] == "goods_out":
                self.handed_out[size] = statement["fund"]
        return totals

    def post(
        self, platform: str, statement: fold.Json, signatures: Sequence[fold.Json] = ()
    ) -> list[fold.Json] | str:
        try:
            return self.admit(platform, statement, signatures)
        except fold.Refused as refusal:
            return refusal.code

    # what the base asks

    def _spelling(self, statement: fold.Json) -> None:
        super()._spelling(statement)
        if self.signatures != () and _signatures(self.signatures):
            raise fold.Refused(fold.INVALID, "the form of signatures", self.signatures)

    def _signers(self, statement: fold.Json) -> None:
        for signature in self.signatures:
            if not self._is_of(signature["party"]):
                self._known("party", signature["party"])

    def _genesis(self, platform: str, statement: fold.Json) -> list[fold.Json]:
        self.origin = statement["origin"]
        return super()._genesis(platform, statement)

    def _last_steps(self, moves: list[fold.Move], unproved: bool) -> None:
        kind, target = self.posted["type"], self.posted.get("target", -1)
        if kind in ("disbursement", "transfer", "refund"):
            out = fold.length(moves[0].taken)
            if kind == "refund":
                low, high = self.money[target].span
                inside = (min(b, high) - max(a, low) for a, b in moves[0].taken)
                out -= sum(piece for piece in inside if piece > 0)
            self._sanction(moves[0].fund, out)
        super()._last_steps(moves, unproved)
        required = []
        if moves[0].counts.get("transferred_in_returned") and self.received.get(target):
            required.append(self.fund(self.money[target].funds[-1])["owner"])
        self._signed(required)

    # approvals, evidence, signatures

    def _sanction(self, fund: str, out: int) -> None:
        policy, exponent = self.fund(fund)["policy"], self.purses[fund].exponent
        if "approvals" in policy and out >= fold.minor(
            policy["approvals"]["from_amount"], exponent
        ):
            self._approved(policy)
        least = policy.get("evidence_from_amount")
        if least and out >= fold.minor(least, exponent) and "evidence" not in self.posted:
            raise fold.Refused("evidence_required", f"evidence from {least} on", "none")

    def _approved(self, policy: fold.Json) -> None:
        approvals = policy["approvals"]
        able = set(approvals["approvers"]) - {self.platform}
        found = able & {signature["party"] for signature in self.signatures}
        if len(found) < approvals["needed"]:
            raise fold.Refused("approval_required", approvals["needed"], sorted(found))

    def _is_of(self, party: str) -> bool:
        return bool(self.posted["type"] == "party" and self.posted["id"] == party)

    def _keys(self, party: str) -> list[Key]:
        named = self.named["party"].get(party)
        return [key_of(vkey)[1] for vkey in named.statement.get("keys", [])] if named else []

    def _signed(self, required: Iterable[str], named: Iterable[str] = ()) -> None:
        digest = sha256(fold.canonical(self.posted)).hexdigest()
        for signature in self.signatures:
            party, raw = signature["party"], base64.b64decode(signature["sig"])
            keys = self._keys(party)
            if self._is_of(party):
                keys += [key_of(vkey)[1] for vkey in self.posted.get("keys", [])]
            lines = ("amanah/statement/v1", self.origin, self.platform, party, digest)
            text = "".join(f"{line}\n" for line in lines).encode()
            if not any(raw[:4] == key_id and _made(key, raw[4:], text) for key_id, key in keys):
                raise fold.Refused("signature_invalid", f"one by {party}", signature["sig"])
        signers = {signature["party"] for signature in self.signatures}
        only = [p for p in (self.platform, *named) if self._signs_all(p)]
        for party in [*required, *only]:
            if party not in signers:
                raise fold.Refused("signature_required", f"a signature of {party}", sorted(signers))

    def _signs_all(self, party: str) -> bool:
        named = self.named["party"].get(party)
        return bool(named and named.statement.get("signed_only"))

    # parties and funds

    def _register(self, platform: str, statement: fold.Json) -> list[fold.Json]:
        kind, id_ = statement["type"], statement["id"]
        for other, reference in fold._references(statement):
            self._known(other, reference)
        old = self.named[kind].get(id_)
        signers = {signature["party"] for signature in self.signatures}
        may = old is None or old.platform == platform
        if old and kind == "party":
            may = may or bool(old.statement.get("keys"))
        if old and kind == "fund":
            may = may or old.statement["owner"] in signers
        if old and not may:
            raise fold.Refused("forbidden", old.platform, platform)
        current = old.index if old else None
        if statement.get("supersedes") != current:
            raise fold.Refused("stale", f"supersedes {current}", statement.get("supersedes"))
        if kind == "party":
            self._party(statement)
        elif kind == "fund" and old:
            self._fund_changes(statement)
            self._governance(old.statement, statement)
        elif kind == "fund":
            self._signed([], _parts(statement).values())
            self._fund_changes(statement)
        else:
            self._signed([])
        registrar = old.platform if old else platform
        self.named[kind][id_] = fold.Named(registrar, self.size, statement)
        return []

    def _party(self, statement: fold.Json) -> None:
        party = statement["id"]
        old, new = self._keys(party), [key_of(vkey)[1] for vkey in statement.get("keys", [])]
        added = [key for key in new if key not in old]
        for key_id, key in new:
            if self.owners.get(key, party) != party:
                raise fold.Refused("key_taken", f"a key of {party} alone", self.owners[key])
            if (key_id, key) in added and key_id in [other for other, _ in old]:
                raise fold.Refused("key_taken", "a key ID of its own", key_id.hex())
        self._signed([])
        own = [s["sig"] for s in self.signatures if s["party"] == party]
        by = {base64.b64decode(sig)[:4] for sig in own}
        if (old and not by & {key_id for key_id, _ in old}) or {k for k, _ in added} - by:
            raise fold.Refused("signature_required", "old and added keys sign", sorted(by))
        self.owners |= {key: party for _, key in added}

    def _governance(self, old: fold.Json, new: fold.Json) -> None:
        exponent = self.purses[new["id"]].exponent
        changed = _governed(old, exponent) != _governed(new, exponent)
        if changed and "approvals" in old["policy"]:
            self._approved(old["policy"])
        owner = old["owner"]
        before = set(_parts(old).items())
        named = [party for part, party in _parts(new).items() if (part, party) not in before]
        self._signed([owner] if changed and self._keys(owner) else [], named)

    # what parties say

    def _acknowledgement(self, platform: str, statement: fold.Json) -> list[fold.Json]:
        target, by = statement["target"], statement["by"]
        if target >= self.size:
            raise fold.Refused("unknown_reference", f"a target below {self.size}", target)
        self._known("party", by)
        money = self.money.get(target)
        things = target in self.handed_out
        if not things and (money is None or money.kind == "donation"):
            raise fold.Refused("wrong_target", "a disbursement, goods_out or transfer", target)
        leaf = self.leaves[target]
        if leaf != statement["target_leaf"]:
            raise fold.Refused("wrong_target", leaf, statement["target_leaf"])
        to_party = self.recipients.get(target)
        if money and money.kind == "transfer":
            to_party = self.fund(money.funds[-1])["owner"]
        if to_party is None:
            raise fold.Refused("wrong_target", "a disbursement to a party", "a group")
        part = 0
        if "amount" in statement:
            fund = money.funds[0] if money else self.handed_out[target]
            part = fold.minor(statement["amount"], self.purses[fund].exponent)
        if by != to_party:
            raise fold.Refused("forbidden", to_party, by)
        if "amount" in statement:
            self._at_most("exceeds_original", part, self.whole.get(target, 0) - 1)
        self._signed([by])
        self.received[target] = statement["status"] in ("received", "partial")
        return []

    @property
    def whole(self) -> dict[int, int]:
        """What each target moved, whatever came back of it since."""
        amounts = {}
        for (_, _), (index, statement) in self.refs.items():
            if index in self.money and "amount" in statement:
                exponent = self.purses[self.money[index].funds[0]].exponent
                amounts[index] = fold.minor(statement["amount"], exponent)
        return amounts

    def _attestation(self, platform: str, statement: fold.Json) -> list[fold.Json]:
        said = statement["checkpoint"]
        self._known("party", statement["by"])
        if said["size"] > self.size:
            raise fold.Refused("unknown_reference", f"at most {self.size}", said["size"])
        for fund in statement.get("scope_funds", []):
            self._known("fund", fund)
        root = tree_root([bytes.fromhex(leaf) for leaf in self.leaves[: said["size"]]]).hex()
        if (said["origin"], said["root"]) != (self.origin, root):
            raise fold.Refused("wrong_target", f"{self.origin} {root}", said)
        self._signed([statement["by"]])
        return []


def _made(key: bytes, signature: bytes, text: bytes) -> bool:
    # OpenSSL encodes [S]B - [h]A and compares it with R byte for byte, and refuses S >= L.
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1 over leaf hashes."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_root(hashes[:split]) + tree_root(hashes[split:])).digest()


def _parts(fund: fold.Json) -> dict[str, str]:
    """Each part that a party has in a fund, under a name of its own."""
    parts = {"owner": fund["owner"]} | {f"platform {p}": p for p in fund["platforms"]}
    approvers = fund["policy"].get("approvals", {}).get("approvers", [])
    return parts | {f"approver {p}": p for p in approvers}


def _governed(fund: fold.Json, exponent: int) -> tuple[Any, ...]:
    policy = dict(fund["policy"])
    if "evidence_from_amount" in policy:
        policy["evidence_from_amount"] = fold.minor(policy["evidence_from_amount"], exponent)
    if "approvals" in policy:
        least = fold.minor(policy["approvals"]["from_amount"], exponent)
        policy["approvals"] = policy["approvals"] | {"from_amount": least}
    return fund["owner"], set(fund["platforms"]), fund["status"], policy
