"""The image, built once in each process that runs tests of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.engine import Engine, why_not


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """podman, with the image. In CI it must be there; elsewhere the tests are skipped without."""
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    # Not pytest's directory: podman takes no path of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="amanah-", dir="/var/tmp") as store:
        engine = Engine(Path(store))
        try:
            engine.build()
            yield engine
        finally:
            engine.remove_everything()
