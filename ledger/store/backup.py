"""Copies of a database: made whole while it is in use, and there all at once or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from ledger.disk import flush
from ledger.errors import SetupError, Unavailable

PAGES_PER_STEP = 2_048  # 8 MiB between two looks at the progress

Progress = Callable[[int, int], None]  # (pages done, pages in all)


def copy_database(source: Path, target: Path, progress: Progress) -> None:
    """Copy the database at `source`, as it is at one moment, to the new file `target`.

    Raises SetupError or Unavailable.
    """
    uri = f"{source.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as reader,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            # Nobody sees the copy before it is finished, flushed and checked.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            # One read transaction around all steps. Without it each step would find that others
            # wrote in between, and begin again. Writers go on; only the log they write to grows.
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM sqlite_master").fetchone()
            reader.backup(
                copy,
                pages=PAGES_PER_STEP,
                progress=lambda _, remaining, total: progress(total - remaining, total),
            )
    except sqlite3.OperationalError as error:
        raise Unavailable(f"{source} cannot be copied to {target}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SetupError(f"{source} is not a database that can be copied: {error}") from error


def set_journal(path: Path, mode: Literal["DELETE", "WAL"]) -> None:
    """DELETE for a file that is only kept: whoever reads it then makes no files beside it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")


def check_pages(path: Path) -> None:
    """Raise SetupError when SQLite finds the file damaged."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if first != "ok":
        raise SetupError(f"{path} is damaged: {first}")


@contextmanager
def appearing(target: Path, mode: int) -> Iterator[Path]:
    """A file of another name to work on, which becomes `target` when the block ends well.

    Then it is on disk, name and all. Else nothing of it is left. Raises SetupError when `target`
    exists at that moment: it is never overwritten.
    """
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode))
        yield draft
        flush(draft)
        _name(draft, target)
        flush(target.parent)
    except OSError as error:
        raise SetupError(f"{target} cannot be written: {error}") from error
    finally:
        for ending in ("", "-wal", "-shm", "-journal", ".lock"):
            draft.with_name(draft.name + ending).unlink(missing_ok=True)


def refuse_existing(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise SetupError(f"{target} exists already; it is never overwritten")


def _name(draft: Path, target: Path) -> None:
    """Give the finished file its name, unless something has taken it meanwhile."""
    try:
        target.hardlink_to(draft)
    except FileExistsError as error:
        raise SetupError(f"{target} exists already; it is never overwritten") from error
    except OSError as error:
        # A file system without links, such as that of a memory stick; there renaming must do.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        refuse_existing(target)
        draft.rename(target)
