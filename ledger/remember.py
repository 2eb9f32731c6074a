"""What a verifier remembers between runs: for each log and key, the newest checkpoint it held
to be sound. A log that later shows less, or something else, is then proved wrong.

A monitor that forgets checks nothing; one that remembers before its scan has finished skips
what it never read. So a checkpoint is saved after the audit, whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path

from ledger.audit import Known
from ledger.errors import LedgerError, SetupError
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import VerifierKey


class Memory:
    """Files in `directory`, one for each origin and key: the vkey, then the signed note."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def key_of(self, origin: str) -> VerifierKey | None:
        """The key first trusted for a log, when there was exactly one."""
        files = sorted(self._directory.glob(f"{_digest(origin)}-*.checkpoint"))
        return self._read(files[0])[0] if len(files) == 1 else None

    def recall(self, key: VerifierKey) -> Known | None:
        """The newest head held sound for the log that `key` signs; None at the first time."""
        path = self._path(key)
        if not path.exists():
            return None
        known_key, note = self._read(path)
        checkpoint = open_checkpoint(note, known_key)
        return Known(checkpoint.size, checkpoint.root, f"what was remembered in {path}")

    def save(self, key: VerifierKey, note: bytes) -> None:
        """Remember a checkpoint whose log was just audited. Raises SetupError."""
        path = self._path(key)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._directory, delete=False) as file:
                file.write(f"{key}\n".encode() + note)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError as error:
            raise SetupError(f"the checkpoint cannot be remembered in {path}: {error}") from error

    def _path(self, key: VerifierKey) -> Path:
        return self._directory / f"{_digest(key.name)}-{key.key_id.hex()}.checkpoint"

    def _read(self, path: Path) -> tuple[VerifierKey, bytes]:
        try:
            vkey, _, note = path.read_bytes().partition(b"\n")
            return VerifierKey.parse(vkey.decode("utf-8")), note
        except (OSError, UnicodeDecodeError, LedgerError) as error:
            raise SetupError(
                f"what was remembered in {path} cannot be read: {error}. Put the file back from "
                "a backup; deleting it means trusting the log anew"
            ) from error


def _digest(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()[:24]
