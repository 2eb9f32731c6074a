"""A foreign check: a verifier, a fold and a generator that share no code with the ledger."""
