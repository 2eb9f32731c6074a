"""Every error a caller can meet. One class for each thing a caller may do differently.

`code` is the stable word: the problem type of the API, the first word of an exit message,
the log field. The message is for a person and says what was wrong, where, and what to do.
HTTP statuses live in `app.py` alone. A bug is an AssertionError, never a LedgerError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class LedgerError(Exception):
    """Base of everything this package raises on purpose."""

    code = "error"


class FormatError(LedgerError):
    """Bytes or text that are not in the one spelling their format allows."""

    code = "malformed"


class ProofError(LedgerError):
    """A Merkle proof that does not lead from what it proves to the root."""

    code = "proof_invalid"


class SignatureError(LedgerError):
    """A signature that its own key does not verify, or none by a key that is trusted."""

    code = "signature_invalid"


class PolicyError(LedgerError):
    """A checkpoint that too few witnesses of the policy have cosigned."""

    code = "policy_not_met"


class Fault(NamedTuple):
    """One thing wrong in a document: where (RFC 6901 JSON pointer) and what."""

    pointer: str
    detail: str


# code -> what it means, in the order in which admission looks (docs/format.md, "Admission").
REFUSALS: dict[str, str] = {
    "malformed": "The bytes are not strict JSON of the kind this ledger reads.",
    "invalid": "A field is missing, unknown or not spelled as its type demands.",
    "invalid_amount": "An amount is not a decimal string of its currency, above zero.",
    "not_supported": "The type or field is part of the format but not enforced here yet.",
    "unknown_currency": "The currency is not in this ledger's table.",
    "personal_data_suspected": "A public text looks like it holds personal data.",
    "duplicate_ref": "One ref stands twice in the same batch.",
    "ref_conflict": "The ref already names another statement of this platform.",
    "unknown_reference": "A party, programme, fund or entry named here is not on the ledger.",
    "wrong_target": "The target is of a kind this cannot act on, or has another leaf hash.",
    "self_transfer": "A transfer needs two different funds.",
    "forbidden": "This platform may not post this statement.",
    "fund_closed": "The fund is closed.",
    "stale": "`supersedes` does not name the current statement of this id.",
    "immutable_field": "A field changed that never changes.",
    "key_taken": "A public key belongs to another party, now or before, or its ID is not unique.",
    "currency_mismatch": "The currency is not the fund's.",
    "cap_loosened": "A cost cap would become weaker than the money was given under.",
    "fees_exceed_amount": "The fees add up to more than the amount.",
    "exceeds_original": "More would be taken back than is left of the target.",
    "insufficient_funds": "The fund, or the transfer's span in it, does not hold this much.",
    "insufficient_stock": "The fund does not hold this much of the item.",
    "cost_cap_exceeded": "Costs would exceed the fund's cap.",
    "too_fragmented": "The money would come from more than 512 separate pieces.",
    "amount_too_large": "A counter or span would reach 10^18 minor units, or a stock 10^12.",
    "approval_required": "Too few of the fund's approvers have signed.",
    "evidence_required": "This statement needs evidence.",
    "signature_invalid": "A signature is not one of a current key of its party over this post.",
    "signature_required": "Somebody must have signed this who has not.",
}


class Refusal(LedgerError):
    """A post that is not taken, for the reason `code` names; nothing was appended.

    `faults` point into the posted document; for a batch each pointer begins `/entries/i`.
    """

    def __init__(self, code: str, detail: str, faults: Sequence[Fault] = ()) -> None:
        assert code in REFUSALS, code
        super().__init__(detail)
        self.code = code
        self.faults = tuple(faults)

    def under(self, prefix: str) -> Refusal:
        """The same refusal with every pointer moved below `prefix`."""
        self.faults = tuple(Fault(prefix + f.pointer, f.detail) for f in self.faults)
        return self


class BesideStatement(Refusal):
    """A refusal for what stands beside a statement, so its pointers begin at the post."""


class RefConflict(Refusal):
    """The platform already used this ref for another statement; look at `index`."""

    def __init__(self, ref: str, index: int) -> None:
        super().__init__(
            "ref_conflict",
            f"ref {ref!r} already names entry {index}, which holds another statement; "
            "use a new ref, or send the first statement again to get its entry",
            [Fault("/ref", f"already used at index {index}")],
        )
        self.index = index


class NotAuthenticated(LedgerError):
    """No API key, or one that this ledger does not know or has revoked."""

    code = "unauthorized"


class NotPermitted(LedgerError):
    """The API key is good but lacks the scope this call needs."""

    code = "insufficient_scope"


class NotFound(LedgerError):
    """Nothing stands at this index, size, id or path."""

    code = "not_found"


class TooLarge(LedgerError):
    """The request is larger than this ledger reads."""

    code = "too_large"


class UnsupportedMedia(LedgerError):
    """The request body is not declared as application/json."""

    code = "unsupported_media_type"


class BadQuery(LedgerError):
    """A query parameter is unknown, repeated or not spelled as it must be."""

    code = "invalid_query"


class ClockError(LedgerError):
    """The wall clock cannot be trusted to date an entry; nothing was appended."""

    code = "clock"


class RolledBack(LedgerError):
    """The database does not extend what this ledger last handed out; sealing has stopped."""

    code = "rolled_back"


class Unavailable(LedgerError):
    """The outcome is unknown or the ledger is busy; send the same post again."""

    code = "unavailable"


class Overloaded(LedgerError):
    """More is asked at once than is taken in; nothing was read, send the same again in a moment."""

    code = "overloaded"


class RateLimited(LedgerError):
    """A key or an address asked for more than its share; `headers` say when there is more."""

    code = "rate_limited"

    def __init__(self, detail: str, headers: Sequence[tuple[str, str]]) -> None:
        super().__init__(detail)
        self.headers = tuple(headers)


class SetupError(LedgerError):
    """A file or setting is missing, unsafe or wrong; the message says how to mend it."""

    code = "setup"


class Unreachable(LedgerError):
    """A remote ledger did not answer, or not with what was asked for."""

    code = "unreachable"


class LogMismatch(LedgerError):
    """The log is proved wrong at `index` (None: the checkpoint itself).

    Its message has four parts: what was compared, both values, what it can mean, innocent
    and hostile, and what to do next.
    """

    code = "log_mismatch"

    def __init__(
        self,
        index: int | None,
        compared: str,
        expected: str,
        found: str,
        meaning: str = "a damaged copy or disk, or an older bug; or somebody changed, removed or "
        "inserted something after it was sealed",
        advice: str = "keep this copy; read the log again from another place and compare. If it "
        "is the same there, publish this report together with the checkpoint",
    ) -> None:
        where = "checkpoint" if index is None else f"index {index}"
        super().__init__(
            f"{where}: {compared}\n  expected: {expected}\n  found:    {found}\n"
            f"  can mean: {meaning}\n  do next:  {advice}"
        )
        self.index, self.compared = index, compared
        self.expected, self.found = expected, found
        self.meaning, self.advice = meaning, advice


class SplitView(LedgerError):
    """A log signed two checkpoints that no single history has; `notes` proves it to anybody.

    notes: (who is shown it, the signed checkpoint), the smaller one first.
    """

    code = "split_view"

    def __init__(self, *notes: tuple[str, bytes]) -> None:
        (one, _), (other, _) = notes
        super().__init__(
            f"{one} and {other} are shown two different logs: the same key signed both "
            "checkpoints, and the larger one does not extend the smaller"
        )
        self.notes = notes
