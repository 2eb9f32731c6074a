"""The image, built once in each process that runs tests of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.image.engine import Engine, why_not


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """podman, with the image. In CI it must be there; elsewhere the tests are skipped without."""
    if reason := why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    engine = Engine(tmp_path_factory.mktemp("image"))
    try:
        engine.build()
        yield engine
    finally:
        engine.remove_everything()
