"""The log in the forms of others: as static files, and as what their programs read."""
