"""The files beside the database: private keys, the write lock's file, the high-water mark."""

from __future__ import annotations

import base64
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from ledger.disk import flush
from ledger.errors import FormatError, SetupError, Unavailable
from ledger.logs import log
from ledger.tlog.note import SigningKey

# Locks and shared memory do not work across machines, and WAL then corrupts the database.
_NETWORK_FILESYSTEMS = frozenset(
    "nfs nfs4 cifs smb smb2 smb3 smbfs afpfs webdav 9p afs ceph fuse.sshfs fuse.glusterfs lustre "
    "vboxsf fuse.vmhgfs-fuse prl_fs virtiofs drvfs ocfs2 gfs2 beegfs fuse.s3fs fuse.rclone".split()
)


class Paths(NamedTuple):
    """Every file of one ledger, named after its database."""

    database: Path
    log_key: Path
    key_secret: Path
    high_water: Path
    lock: Path

    @classmethod
    def of(cls, database: Path) -> Paths:
        def beside(ending: str) -> Path:
            return database.with_name(f"{database.name}.{ending}")

        return cls(
            database, beside("log-key"), beside("key-secret"), beside("high-water"), beside("lock")
        )


def write_private(path: Path, text: str) -> None:
    """Create `path` with mode 0600 and flush it to disk. Raises SetupError if it exists."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SetupError(f"{path} exists already; it is never overwritten") from error
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_private(path: Path) -> str:
    """The text of a key file. Raises SetupError when others may read it, or it is missing."""
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text("ascii")
    except FileNotFoundError as error:
        raise SetupError(f"{path} is missing; restore it from where keys are kept") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise SetupError(f"{path} has mode {mode:04o}; others can read it. Run: chmod 600 {path}")
    return text


def read_signing_key(path: Path) -> SigningKey:
    """The log's private key. Raises SetupError."""
    try:
        return SigningKey.parse(read_private(path).removesuffix("\n"))
    except FormatError as error:
        raise SetupError(f"{path} does not hold a signing key: {error}") from error


def refuse_network_filesystem(directory: Path) -> None:
    """Raise SetupError when `directory` is on a file system shared between machines."""
    real = str(directory.resolve())
    best, kind = "", ""
    for partition in psutil.disk_partitions(all=True):
        mount = partition.mountpoint
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, partition.fstype.lower()
    if kind in _NETWORK_FILESYSTEMS:
        raise SetupError(
            f"{real} is on a {kind} file system, where SQLite's write-ahead log can corrupt the "
            "ledger; put the database on a local disk"
        )


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Make `directory` when there is none, and hold off all others that want to be alone in it.

    For creating a ledger, whose own lock file is not there yet. Raises SetupError.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        refuse_network_filesystem(directory)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SetupError(f"{directory} cannot be used: {error}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


# Where SQLite's connections lock a database they have open (sqlite.org/src, os.h): the shared
# range, which in WAL mode each of them holds until it closes.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510


def refuse_in_use(database: Path) -> None:
    """Raise SetupError when another process has `database` open, or it cannot be written.

    Call it before this process opens the database: closing any file of it ends SQLite's locks.
    """
    try:
        with database.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
    except BlockingIOError as error:
        raise SetupError(
            f"{database} is in use; stop the service, and whatever else has it open, then try again"
        ) from error
    except OSError as error:
        raise SetupError(f"{database} cannot be opened for writing: {error}") from error


def _mark(size: int, root: bytes) -> bytes:
    return f"{size:020d} {base64.b64encode(root).decode()}\n".encode("ascii")


class HighWater:
    """The last (size, root) handed out, outside the database, so that a restore shows.

    Written before each answer by whoever holds the write lock; flushed to disk at least once
    a second, so a power failure loses at most the last second of it (and never an entry).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._dirty = threading.Event()
        self._flusher: threading.Thread | None = None

    def read(self) -> tuple[int, bytes] | None:
        """(size, root), or None when there is no file. Raises SetupError for anything else."""
        try:
            line = self.path.read_bytes()
            size, root = int(line[:20]), base64.b64decode(line[21:-1])
            if size < 0 or len(root) != 32 or line != _mark(size, root):
                raise ValueError("not a size and a root")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SetupError(
                f"{self.path} is damaged ({error}). Compare the newest checkpoint anybody holds "
                "with `amanah verify`; when the database extends it, delete the file and restart"
            ) from error
        return size, root

    def write(self, size: int, root: bytes) -> None:
        # One write of one length: a reader or a crash finds the old line or the new one.
        line = _mark(size, root)
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(fd, line, 0)
            finally:
                os.close(fd)
        except OSError as error:
            raise Unavailable(
                f"{self.path} cannot be written ({error}); send the same post again"
            ) from error
        self._dirty.set()
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush, name="high-water", daemon=True)
            self._flusher.start()

    def _flush(self) -> None:
        while True:
            self._dirty.wait()
            self._dirty.clear()
            try:
                flush(self.path)
            except OSError as error:
                # The next post finds out by itself whether it can write; this goes on.
                log().error("not_flushed", file=str(self.path), error=str(error))
            time.sleep(1)
