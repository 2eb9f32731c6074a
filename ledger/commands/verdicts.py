"""What verifying found, in a sentence for people and a document for programs."""

from __future__ import annotations

from typing import Any, NamedTuple

from ledger.audit import Report
from ledger.commands.shared import NOT_WITNESSED, UNREACHABLE, USAGE, exit_code, print_json
from ledger.errors import (
    FormatError,
    LedgerError,
    LogMismatch,
    PolicyError,
    ProofError,
    Refusal,
    SignatureError,
    SplitView,
)


class _Hint(NamedTuple):
    """What a failure can mean, innocent and hostile, and what to do next."""

    meaning: str
    advice: str


_UNREADABLE = _Hint(
    "a damaged copy, or something else under this name; or somebody altered it",
    "get it again, from another place too, and compare",
)
# Beside what was compared and both values, which an error's own message says. A LogMismatch
# says all four.
_HINTS: dict[type[LedgerError], _Hint] = {
    SignatureError: _Hint(
        "the key is not this log's, or it was mistyped; or somebody else answers in the log's "
        "place, or changed what it signed",
        "ask whoever you trust for the log's key again, by another way; if it is the right one, "
        "keep what you were given and publish it",
    ),
    PolicyError: _Hint(
        "the witnesses have not seen this checkpoint yet; or it is kept from them, because they "
        "hold another one",
        "ask again in a minute; if it stays, compare with the newest checkpoint they cosigned",
    ),
    ProofError: _Hint(
        "the receipt of another entry or checkpoint; or somebody altered or made up the entry",
        "get the receipt again, from the ledger itself; if it still fails, keep both: whoever "
        "issued them has to explain",
    ),
    SplitView: _Hint(
        "an operator restored an old backup and went on from there, or ran two servers with one "
        "key; or somebody with the log's key shows different people different histories",
        "keep both checkpoints and publish them together: they prove it, and nobody has to take "
        "your word",
    ),
    FormatError: _UNREADABLE,
    Refusal: _UNREADABLE,
}


def explain(error: LedgerError, as_json: bool) -> None:
    """Print the verdict for programs, and add to `error` what a person wants to know besides."""
    if as_json and exit_code(error) != USAGE:
        print_json(verdict_of(error))
    if hint := _HINTS.get(type(error)):
        error.add_note(f"can mean: {hint.meaning}")
        error.add_note(f"do next:  {hint.advice}")


def verdict_of(outcome: Report | LedgerError) -> dict[str, Any]:
    """The document of an audit that ended, one way or another."""
    if isinstance(outcome, LedgerError):
        return _failure(outcome)
    checkpoint = outcome.checkpoint
    return {
        "verdict": "sound" if outcome.is_sound else "not_understood",
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "witnesses": outcome.witnesses,
        "not_understood": [list(item) for item in outcome.not_understood],
    }


def _failure(error: LedgerError) -> dict[str, Any]:
    verdicts = {UNREACHABLE: "unreachable", NOT_WITNESSED: "not_witnessed"}
    verdict = verdicts.get(exit_code(error), "wrong")
    document: dict[str, Any] = {"verdict": verdict, "code": error.code, "detail": str(error)}
    if hint := _HINTS.get(type(error)):
        document |= hint._asdict()
    if isinstance(error, LogMismatch):
        names = ("index", "compared", "expected", "found", "meaning", "advice")
        document |= {name: getattr(error, name) for name in names}
    if isinstance(error, SplitView):
        document["checkpoints"] = [
            {"source": name, "checkpoint": note.decode()} for name, note in error.notes
        ]
    return document


def sentence(report: Report) -> str:
    """What an audit that came to its end found."""
    checkpoint = report.checkpoint
    witnesses = ", ".join(report.witnesses)
    cosigned = f" Cosigned by {witnesses}." if witnesses else " No witness cosigned it."
    if report.is_sound:
        return (
            f"SOUND: all {checkpoint.size} entries of {checkpoint.origin} are intact, in order, "
            f"and add up, under the signed root {checkpoint.root.hex()}.{cosigned}"
            f"{_earlier(report)}"
        )
    index, what = report.not_understood[0]
    return (
        f"NOT UNDERSTOOD: the hashes of all {checkpoint.size} entries of {checkpoint.origin} "
        f"fit, but from entry {index} on ({what}) this version cannot check what they say. "
        f"Update amanah.{_earlier(report)}"
    )


def _earlier(report: Report) -> str:
    if not report.read_from:
        return ""
    return (
        f" The first {report.read_from} entries were read by an audit that was interrupted; this "
        "one went on from there."
    )
