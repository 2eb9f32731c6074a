"""Reading a whole log and judging it: what an audit is made of (ledger/audit.py)."""
