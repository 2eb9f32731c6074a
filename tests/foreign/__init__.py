"""Judged from outside: by verifiers that share no code with the ledger, two not of our making."""
