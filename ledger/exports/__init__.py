"""The log in the forms of others: as static files, and as what their programs read.

docs/exports.md says what each shows and what it does not.
"""
