"""`python -m openapi` writes the document to where it is served from."""

from __future__ import annotations

from openapi.document import TARGET, text

if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
