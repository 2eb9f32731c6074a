"""What a verifier remembers between runs: for each log and key, the newest checkpoint it held
to be sound. A log that later shows less, or something else, is then proved wrong.

A monitor that forgets checks nothing; one that remembers before its scan has finished skips
what it never read. So a checkpoint is saved after the audit, whole or not at all.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from ledger.audit import Known
from ledger.disk import replacing
from ledger.errors import FormatError, LedgerError, SetupError
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.note import VerifierKey


class Memory:
    """Files in `directory`, one for each origin and key: the vkey, then the signed note."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keys_of(self, origin: str) -> list[VerifierKey]:
        """The keys under which a log was held sound before. Raises SetupError."""
        files = sorted(self._directory.glob(f"{_digest(origin)}-*.checkpoint"))
        return [_read(path)[0] for path in files]

    def recall(self, key: VerifierKey) -> Known | None:
        """The newest head held sound for the log that `key` signs; None at the first time.

        Raises SetupError when what was remembered cannot be read.
        """
        path = self._path(key)
        if not path.exists():
            return None
        checkpoint = _read(path)[1]
        return Known(checkpoint.size, checkpoint.root, f"what was remembered in {path}")

    def save(self, key: VerifierKey, note: bytes) -> None:
        """Remember a checkpoint that `key` signed and whose log was just audited.

        Raises SetupError.
        """
        path = self._path(key)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(f"{key}\n".encode() + note)
        except OSError as error:
            raise SetupError(f"the checkpoint cannot be remembered in {path}: {error}") from error

    def _path(self, key: VerifierKey) -> Path:
        return self._directory / _file_name(key)


def _read(path: Path) -> tuple[VerifierKey, Checkpoint]:
    """The key and the checkpoint it signed. Raises SetupError for anything else."""
    try:
        vkey, _, note = path.read_bytes().partition(b"\n")
        key = VerifierKey.parse(vkey.decode("utf-8"))
        if path.name != _file_name(key):
            raise FormatError(f"it is of the key {key}, whose file has another name")
        return key, open_checkpoint(note, key)
    except (OSError, UnicodeDecodeError, LedgerError) as error:
        raise SetupError(
            f"what was remembered in {path} cannot be read: {error}. Put the file back from a "
            "backup; deleting it means trusting the log anew"
        ) from error


def _digest(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()[:24]


def _file_name(key: VerifierKey) -> str:
    return f"{_digest(key.name)}-{key.key_id.hex()}.checkpoint"
