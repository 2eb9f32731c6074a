"""How much is measured: what the default run, the full run and the test of the bench differ in."""

from __future__ import annotations

from typing import NamedTuple

BATCH = 1_000  # entries in a large post
CROWD = 64  # clients of the line that counts; with 1, always among those of the curve
SMALL_TREE = 1_000  # entries; what a proof out of a large tree is held against


class Scale(NamedTuple):
    """seconds: how long each turn over HTTP lasts; turns: of each side, in alternation.

    entries: how far the ledger grows; small: the size that large sizes are held against;
    batch: entries in each post that fills it. proofs: made in each turn. peers_tree: entries
    beside which the peers are measured. starts: how often each service is started.
    """

    seconds: float = 1.5
    turns: int = 3
    connections: tuple[int, ...] = (1, 4, 16, CROWD, 256)
    batch: int = BATCH
    entries: int = 300_000
    small: int = 100_000
    proofs: int = 2_000
    starts: int = 5
    peers_tree: int = 50_000
    peers_singles: int = 200
    peers_hundreds: int = 50
    peers_proofs: int = 200

    @property
    def rungs(self) -> list[int]:
        """The sizes at which the growing ledger is looked at: 1, 2, 5 and so on, and the end."""
        steps = (digit * 10**power for power in range(3, 8) for digit in (1, 2, 5))
        between = (size for size in steps if 10 * self.batch <= size < self.entries)
        return sorted({*between, self.small, self.entries})


SMOKE = Scale(
    seconds=0.1,
    turns=1,
    connections=(1, CROWD),
    batch=50,
    entries=1_500,
    small=500,
    proofs=20,
    starts=1,
    peers_tree=300,
    peers_singles=5,
    peers_hundreds=2,
    peers_proofs=5,
)
