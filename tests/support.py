"""What several tests share: where the vectors and data are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def vectors(name: str) -> Any:
    """The parsed vectors of `name`, a file of tests/vectors."""
    return json.loads((HERE / "vectors" / name).read_text("utf-8"))
