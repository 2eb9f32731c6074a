"""The ledger's own log beside what others built: the same leaves, appended and proved in turns.

pymerkle and aics-tlog are installed into an environment of their own, var/bench-peers, by the
interpreter that runs the bench. What cannot be installed here is skipped, and said.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.lines import Line, Skipped
from bench.load import donation
from bench.making import PLATFORM, create_ledger
from bench.scale import BATCH, Scale
from bench.servers import ROOT
from ledger.post import read_submission
from ledger.sequencer import Pending
from ledger.service import Ledger
from ledger.tlog.merkle import prove_inclusion

REQUIREMENTS = ROOT / "bench" / "requirements-peers.txt"
INSTALL_TIMEOUT_S = 300


class Peer(NamedTuple):
    """targets: of appending, by the size of the batch."""

    name: str
    python: tuple[int, int]
    target: str
    includes: str


PEERS = (
    Peer(
        "pymerkle",
        (3, 11),
        "ratio >= 2.5",
        "SqliteTree as it comes: the entry and its leaf hash, one flushed SQLite transaction; "
        "no chain, no stored tree, no root, no signature",
    ),
    Peer(
        "aics-tlog",
        (3, 12),
        "ratio >= 5",
        "DirectoryTileStore as it comes: tiles and entry bundles as flushed files, and a signed "
        "checkpoint; no chain",
    ),
)
OURS = (
    "ours: the sequencer, with references, books, chain, tiles, refs, and a signed checkpoint in "
    "one flushed SQLite transaction, of statements that were read before"
)
PROOF_NOTE = "in process, at {size:,} entries, of entries all over the tree"


class Turn(NamedTuple):
    """Entries or proofs a second of everybody, by name. Ours is "ledger"."""

    singles: dict[str, float]
    hundreds: dict[str, float]
    proofs: dict[str, float]


# -- installing


def peers_python(folder: Path) -> Path:
    """The interpreter of the peers' environment, set up when it is not there yet.

    Raises RuntimeError when it cannot be, which is so without a network.
    """
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = f"{sys.version}\n{REQUIREMENTS.read_text('utf-8')}"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    install = ["install", "--only-binary=:all:", "--require-hashes", "-r", str(REQUIREMENTS)]
    for step in ([sys.executable, "-m", "venv", "--clear", str(folder)], [*pip, *install]):
        try:
            subprocess.run(
                step, capture_output=True, text=True, check=True, timeout=INSTALL_TIMEOUT_S
            )
        except subprocess.SubprocessError as error:
            output = str(getattr(error, "stderr", None) or error).strip()
            raise RuntimeError(f"could not be installed: {output.splitlines()[-1]}") from error
    stamp.write_text(wanted, "utf-8")
    return python


class _Process:
    """A peer that takes orders (peer.py)."""

    def __init__(self, python: Path, peer: Peer, folder: Path) -> None:
        command = [str(python), str(ROOT / "bench" / "peer.py"), peer.name, str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def order(self, *words: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        self._process.communicate()


# -- measuring


class Race:
    """Our ledger and the peers, with the same entries in each."""

    def __init__(self, folder: Path, python: Path, peers: Sequence[Peer], scale: Scale) -> None:
        self.scale = scale
        self.ledger = create_ledger(folder / "race.db")
        self._file = folder / "entries.json"
        self._peers = {peer.name: _Process(python, peer, folder) for peer in peers}
        self._hand_over(0, BATCH)
        for _ in range(0, scale.peers_tree, BATCH):
            self._append(BATCH, min(BATCH, scale.peers_tree))

    def close(self) -> None:
        for process in self._peers.values():
            process.close()
        self.ledger.close()

    def run(self) -> list[Turn]:
        turns = []
        for _ in range(self.scale.turns):
            singles = self._append(1, self.scale.peers_singles)
            hundreds = self._append(100, 100 * self.scale.peers_hundreds)
            turns.append(Turn(singles, hundreds, self._prove(self.scale.peers_proofs)))
        root = self.ledger.store.tip().root.hex()
        for name, process in self._peers.items():
            assert process.order("root") == root, f"{name} holds other leaves"
        return turns

    def _append(self, batch: int, count: int) -> dict[str, float]:
        """Append `count` entries by everybody; entries a second, by name."""
        first = self.ledger.store.size()
        rates = {"ledger": count / _append_seconds(self.ledger, batch, count)}
        return rates | {n: count / s for n, s in self._hand_over(first, batch).items()}

    def _hand_over(self, first: int, batch: int) -> dict[str, float]:
        """Let the peers append what the ledger has sealed from `first` on; seconds, by name."""
        entries = self.ledger.store.entries(first, self.ledger.store.size())
        self._file.write_text(json.dumps([data.decode() for data in entries]), "utf-8")
        return {n: p.order("append", batch, self._file) for n, p in self._peers.items()}

    def _prove(self, count: int) -> dict[str, float]:
        rates = {"ledger": count / _prove_seconds(self.ledger, count)}
        return rates | {n: count / p.order("prove", count) for n, p in self._peers.items()}


def _append_seconds(ledger: Ledger, batch: int, count: int) -> float:
    pending = []
    for first in range(0, count, batch):
        posts = [{"statement": donation(i)} for i in range(first, min(first + batch, count))]
        body = json.dumps({"entries": posts}).encode()
        submission = read_submission(body, ledger.currencies, datetime.now(UTC))
        pending.append(Pending(PLATFORM, submission))
    start = time.perf_counter()
    for one in pending:
        ledger.sequencer.append(one)
    return time.perf_counter() - start


def _prove_seconds(ledger: Ledger, count: int) -> float:
    size = ledger.store.size()
    start = time.perf_counter()
    for i in range(count):
        prove_inclusion(i * 7919 % size, size, ledger.store.nodes(size).node)
    return time.perf_counter() - start


# -- lines


def racing(
    peers: Sequence[Peer], folder: Path, var: Path, scale: Scale
) -> Iterator[Line | Skipped]:
    """The lines against those of `peers` that this interpreter can run."""
    able = [peer for peer in peers if sys.version_info >= peer.python]
    for peer in peers:
        if peer not in able:
            wanted = ".".join(map(str, peer.python))
            yield Skipped(f"against {peer.name}", f"it needs Python {wanted} or newer")
    if not able:
        return
    try:
        python = peers_python(var / "bench-peers")
    except RuntimeError as error:
        yield from (Skipped(f"against {peer.name}", str(error)) for peer in able)
        return
    with closing(Race(folder, python, able, scale)) as race:
        turns, size = race.run(), race.ledger.store.size()
    for peer in able:
        yield from _lines_against(peer, turns, size)


def _lines_against(peer: Peer, turns: Sequence[Turn], size: int) -> Iterator[Line]:
    for what, rates in (
        ("append 1 at a time", [turn.singles for turn in turns]),
        ("append 100 at a time", [turn.hundreds for turn in turns]),
    ):
        ours, theirs = _medians(rates, peer)
        note = f"{OURS}; {peer.name}: {peer.includes}"
        name, unit = f"{what}, {peer.name}", "entries/s"
        yield Line(name, unit, ours, f"{unit} {peer.name}", theirs, (peer.target,), note)
    ours, theirs = _medians([turn.proofs for turn in turns], peer)
    note = PROOF_NOTE.format(size=size)
    limit_is = f"proofs/s {peer.name}"
    name = f"inclusion proofs, {peer.name}"
    yield Line(name, "proofs/s", ours, limit_is, theirs, ("ratio >= 5",), note)


def _medians(rates: Sequence[dict[str, float]], peer: Peer) -> tuple[float, float]:
    ours, theirs = (statistics.median(r[name] for r in rates) for name in ("ledger", peer.name))
    return ours, theirs
