"""Makes ledger/static/openapi.json: `python -m openapi`. Nothing here is needed to serve it."""
