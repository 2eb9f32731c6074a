"""The client of an Amanah ledger, for platforms: `amanah.Client`. docs/client.md is the guide."""

from ledger.errors import (
    LedgerError,
    LogMismatch,
    NotAuthenticated,
    NotFound,
    RefConflict,
    Refusal,
    SetupError,
    TooLarge,
    Unreachable,
)
from ledger.proving import Client, Proved, Reconciliation

__all__ = [
    "Client",
    "LedgerError",
    "LogMismatch",
    "NotAuthenticated",
    "NotFound",
    "Proved",
    "Reconciliation",
    "RefConflict",
    "Refusal",
    "SetupError",
    "TooLarge",
    "Unreachable",
]
