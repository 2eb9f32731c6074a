"""Where a ledger lives on disk: the embedded SQLite store and the files beside it."""
