"""Looking a ledger over: one check for each thing that can be wrong, and how it is mended.

`checks.py` has the list. Nothing here writes to the ledger.
"""
