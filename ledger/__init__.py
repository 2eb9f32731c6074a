"""Amanah: a transparency ledger for donations whose receipts, balances and paths can be proved."""
