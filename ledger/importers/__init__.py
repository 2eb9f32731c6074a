"""Other people's open formats, made into statements of this ledger."""
