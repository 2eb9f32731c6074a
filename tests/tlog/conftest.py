"""Fixtures of the transparency-log tests."""

from __future__ import annotations

import pytest

from tests.tlog.trees import LARGE_SIZE, Tree, made_up


@pytest.fixture(scope="session")
def large_tree() -> Tree:
    """The 70,000 leaves of tlog-large-tree.json."""
    return made_up(LARGE_SIZE)
