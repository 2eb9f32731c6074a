"""The border: what a statement may look like, as marshmallow schemas. The one source of it."""
