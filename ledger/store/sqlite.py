"""The embedded store: one SQLite file on a local disk, written by one process at a time.

Entries stand as their exact bytes, hashes as tiles. Every write goes through `writing`, which
holds a file lock across processes and the database's own write lock inside; readers use
connections of their own that cannot write.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlite_utils import Database

from ledger.chain import Tip
from ledger.errors import NotFound, SetupError, Unavailable
from ledger.store.files import HighWater, Paths, refuse_network_filesystem
from ledger.store.migrations import migrations
from ledger.store.texts import Beside, beside
from ledger.store.transaction import LEAF_HASHES, Recall, Transaction, terms_of
from ledger.store.views import ViewTables
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.tile import (
    TILE_WIDTH,
    FullTile,
    Tile,
    TileHashes,
    cached,
    encode_bundle,
    tile_width,
)

TREES_KEPT = 16  # what is published, and sizes that somebody follows
BUNDLES_KEPT = 64  # some 120 kB each
TAIL_TERMS_CACHED = 4_096  # of entries that the terms table does not reach yet
BUSY_TIMEOUT_S = 10.0  # for tools that write past our file lock
_RUN_OF = "ifnull((SELECT max(run) FROM terms WHERE kind = ? AND id = ? AND run <= ?), 0)"


class ApiKey(NamedTuple):
    """An API key as it is stored: never the key itself, only its HMAC elsewhere."""

    key_id: str
    platform: str
    scopes: tuple[str, ...]
    created_at: str
    revoked_at: str | None


@dataclass(frozen=True, slots=True)
class FundRow:
    """Where a fund stands: its statement's index, and the last money entry (None: none yet)."""

    fund_id: str
    index: int
    last: int | None


class SqliteStore:
    """A ledger's database. Thread-safe; open one per process, after any fork."""

    def __init__(self, path: Path) -> None:
        """Open an existing database and bring its tables up to date. Raises SetupError."""
        if path.is_dir():
            raise SetupError(f"{path} is a directory; a ledger is a SQLite file")
        if not path.exists():
            raise SetupError(f"there is no ledger at {path}; create one with `amanah init`")
        self.paths = Paths.of(path)
        refuse_network_filesystem(path.parent)
        self._readers = threading.local()
        self._all_readers: list[sqlite3.Connection] = []
        self._write_mutex = threading.Lock()
        self._lock_file: int | None = None  # whoever only reads needs no right to write
        self._writer: sqlite3.Connection | None = None
        self._recall = Recall()
        # These never change: a full tile, the tree of one size, and a bundle that is full.
        self._full_tile = cached(self._read_full_tile)
        self.nodes = lru_cache(maxsize=TREES_KEPT)(self._nodes)
        self._full_bundle = lru_cache(maxsize=BUNDLES_KEPT)(self._read_bundle)
        self._terms = lru_cache(maxsize=TAIL_TERMS_CACHED)(self._terms_at)
        if self._has_pending_migrations():
            with self._locked():
                migrations.apply(Database(self._open_writer(), execute_plugins=False))

    @classmethod
    def create(cls, path: Path) -> SqliteStore:
        """Create an empty database. Raises SetupError when the file exists."""
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_network_filesystem(path.parent)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644))
        except FileExistsError as error:
            raise SetupError(f"{path} exists already; a ledger is never overwritten") from error
        except OSError as error:
            raise SetupError(
                f"{path} cannot be created ({error.strerror}): user {os.geteuid()}, who runs this, "
                f"must be able to write to {path.parent}"
            ) from error
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            make_durable(connection)
            migrations.apply(Database(connection, execute_plugins=False))
        finally:
            connection.close()
        return cls(path)

    def close(self) -> None:
        """Close every connection. A writer that closes last checkpoints, hence under the lock."""
        for connection in self._all_readers:
            connection.close()
        if self._writer is not None:
            with self._locked():
                self._drop_writer()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    # -- writing

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """The only way to write. What the block does not `commit` is undone when it ends.

        The lock is held to the end of the block, past the commit. Raises Unavailable when the
        outcome is not known or the disk refuses.
        """
        with self._locked():
            connection = self._open_writer()
            try:
                # IMMEDIATE: a deferred BEGIN that reads and then writes fails instead of waiting.
                connection.execute("BEGIN IMMEDIATE")
                yield Transaction(connection, self._recall)
            except sqlite3.Error as error:
                self._drop_writer()
                raise Unavailable(
                    f"the database refused to write ({error}); nothing is known to be lost, "
                    "send the same post again"
                ) from error
            finally:
                if self._writer is not None and connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, in all threads and processes.

        SQLite's own lock would do for correctness, but waiting for it is a lottery of sleeps;
        and before SQLite 3.51.3 several connections that checkpoint at once can corrupt a
        database (sqlite.org/wal.html, "the WAL-reset bug"): only the holder ever does.
        """
        with self._write_mutex:
            fd = self._lock_file = self._lock_file or self._open_lock()
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)

    def is_busy(self) -> bool:
        """Whether somebody is writing at this moment, for whom `writing` would wait."""
        # Held while looking: the file's lock is one for all threads of this process, and to let
        # go of it would let go of that of a thread which began to write just now.
        if not self._write_mutex.acquire(blocking=False):
            return True
        try:
            fd = self._lock_file = self._lock_file or self._open_lock()
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(fd, fcntl.LOCK_UN)
        except BlockingIOError:
            return True
        finally:
            self._write_mutex.release()
        return False

    def _open_lock(self) -> int:
        try:
            return os.open(self.paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SetupError(
                f"{self.paths.lock} cannot be opened ({error}); write as the user that serves "
                "the ledger"
            ) from error

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            connection = sqlite3.connect(
                self.paths.database,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            make_durable(connection)
            self._writer = connection
        return self._writer

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # -- reading

    def _has_pending_migrations(self) -> bool:
        """Raises SetupError for any database but a ledger's, which is then left as it is."""
        connection = sqlite3.connect(f"file:{self.paths.database}?mode=ro", uri=True)
        try:
            database = Database(connection, execute_plugins=False)
            if not migrations.applied(database):
                raise SetupError(f"{self.paths.database} is not a ledger: it has no tables of one")
            return bool(migrations.pending(database))
        except sqlite3.OperationalError as error:
            raise SetupError(
                f"{self.paths.database} cannot be read: {error}. SQLite needs to write beside a "
                "database that is in use: copy it with .backup, or read it as its own user"
            ) from error
        except sqlite3.DatabaseError as error:
            raise SetupError(f"{self.paths.database} is not a ledger: {error}") from error
        finally:
            connection.close()

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            uri = f"file:{self.paths.database}?mode=ro"
            connection = sqlite3.connect(
                uri, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False
            )
            self._readers.connection = connection
            self._all_readers.append(connection)
        return connection

    def _rows(self, sql: str, *parameters: Any) -> list[Any]:
        return list(self._cursor(sql, *parameters))

    def _cursor(self, sql: str, *parameters: Any) -> Iterator[Any]:
        """Rows one by one, for whoever may stop before the last."""
        try:
            yield from self._reader().execute(sql, parameters)
        except sqlite3.Error as error:
            raise Unavailable(f"the database could not be read: {error}") from error

    def _row(self, sql: str, *parameters: Any) -> Any:
        rows = self._rows(sql, *parameters)
        return rows[0] if rows else None

    def size(self) -> int:
        """How many entries are committed."""
        row = self._row("SELECT size FROM head")
        return int(row[0]) if row else 0

    def tip(self) -> Tip:
        """The committed tip. A writer asks its transaction instead, under the lock."""
        return self.state().head().tip

    def state(self) -> Transaction:
        """What the books may ask, as of now; for whoever only looks."""
        return Transaction(self._reader(), self._recall)

    def entry_bytes(self, index: int) -> bytes:
        """The exact bytes of an entry. Raises NotFound."""
        row = self._row('SELECT bytes FROM entries WHERE "index" = ?', index)
        if row is None:
            raise NotFound(f"there is no entry {index}; the ledger holds {self.size()}")
        return bytes(row[0])

    def entries(self, start: int, end: int) -> list[bytes]:
        """The bytes of the entries [start, end), as far as they are there."""
        sql = 'SELECT bytes FROM entries WHERE "index" >= ? AND "index" < ? ORDER BY "index"'
        return [row[0] for row in self._rows(sql, start, end)]

    def find(
        self, terms: Sequence[tuple[str, str]], after: int | None, limit: int, newest_first: bool
    ) -> list[tuple[int, bytes]]:
        """(index, bytes) of entries to which all `terms` apply, `after` an exclusive index."""
        if not terms:
            return self._slice(after, limit, newest_first)
        # One read transaction, so that what is indexed and what is not are of one moment.
        with self._reading():
            indexed, size = self._row("SELECT indexed, size FROM head")
            tail = [i for i in range(indexed, size) if self._terms(i).issuperset(terms)]
            old = list(islice(self._indexed_matches(terms, after, newest_first), limit))
        fresh = [i for i in tail if after is None or (i < after if newest_first else i > after)]
        indexes = [*reversed(fresh), *old] if newest_first else [*old, *fresh]
        return [(index, self.entry_bytes(index)) for index in indexes[:limit]]

    def _slice(self, after: int | None, limit: int, newest_first: bool) -> list[tuple[int, bytes]]:
        """`find` without terms: the entries themselves, in order."""
        if newest_first:
            end = self.size() if after is None else min(after, self.size())
            start = max(end - limit, 0)
        else:
            start = 0 if after is None else after + 1
            end = start + limit
        found = list(enumerate(self.entries(start, end), start))
        return found[::-1] if newest_first else found

    def _indexed_matches(
        self, terms: Sequence[tuple[str, str]], after: int | None, newest_first: bool
    ) -> Iterator[int]:
        """Indexes below `indexed`, in order: of the runs where all terms occur, what they share."""
        tables = ", ".join(f"terms AS t{i}" for i in range(len(terms)))
        conditions = [f"t{i}.kind = ? AND t{i}.id = ?" for i in range(len(terms))]
        conditions += [f"t{i}.run = t0.run" for i in range(1, len(terms))]
        parameters: list[Any] = [part for term in terms for part in term]
        if after is not None:
            # A run is named by its first index, and may go on beyond `after`.
            conditions.append("t0.run < ?" if newest_first else f"t0.run >= {_RUN_OF}")
            parameters += [after] if newest_first else [*terms[0], after]
        columns = ", ".join(f"t{i}.indexes" for i in range(len(terms)))
        order = "DESC" if newest_first else "ASC"
        where = " AND ".join(conditions)
        sql = f"SELECT {columns} FROM {tables} WHERE {where} ORDER BY t0.run {order}"  # noqa: S608 - only fixed words and placeholders
        for row in self._cursor(sql, *parameters):
            runs = [msgspec.json.decode(indexes, type=list[int]) for indexes in row]
            shared = set(runs[0]).intersection(*runs[1:])
            for index in sorted(shared, reverse=newest_first):
                if after is None or (index < after if newest_first else index > after):
                    yield index

    def _terms_at(self, index: int) -> frozenset[tuple[str, str]]:
        return frozenset(terms_of(self.entry_bytes(index)))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What this thread reads within is of one moment."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            self._rows("COMMIT")

    @contextmanager
    def viewing(self) -> Iterator[ViewTables]:
        """The tables of the views; what this thread reads within is of one moment."""
        with self._reading():
            try:
                yield Transaction(self._reader(), self._recall).views()
            except sqlite3.Error as error:
                raise Unavailable(f"the database could not be read: {error}") from error

    def index_of_ref(self, platform: str, ref: str) -> int | None:
        row = self._row('SELECT "index" FROM refs WHERE platform = ? AND ref = ?', platform, ref)
        return row[0] if row else None

    def tile(self, tile: Tile) -> bytes:
        """The tile's hashes in the width asked for. Raises NotFound beyond what is committed."""
        sql = 'SELECT hashes FROM tiles WHERE level = ? AND "index" = ?'
        row = self._row(sql, tile.level, tile.index)
        if row is not None:
            hashes = row[0]
        else:
            hashes = self._newest_hashes(tile) if tile.level == 0 else b""
        if len(hashes) < tile.width * HASH_SIZE:
            raise NotFound(f"{tile.path()} does not exist at size {self.size()}")
        return bytes(hashes[: tile.width * HASH_SIZE])

    def _read_full_tile(self, tile: Tile) -> FullTile:
        sql = 'SELECT hashes, middle FROM tiles WHERE level = ? AND "index" = ?'
        row = self._row(sql, tile.level, tile.index)
        if row is None or row[1] is None:
            raise NotFound(f"{tile.path()} does not exist at size {self.size()}")
        return FullTile(*row)

    def _newest_hashes(self, tile: Tile) -> bytes:
        """Leaf hashes of the tile that is not full yet."""
        start = tile.index * TILE_WIDTH
        return b"".join(row[0] for row in self._rows(LEAF_HASHES, start, start + tile.width))

    def bundle(self, index: int, width: int) -> bytes:
        """The entry bundle in the width asked for. Raises NotFound beyond what is committed."""
        read = self._full_bundle if width == TILE_WIDTH else self._read_bundle
        return read(index, width)

    def _read_bundle(self, index: int, width: int) -> bytes:
        entries = self.entries(index * TILE_WIDTH, index * TILE_WIDTH + width)
        if len(entries) < width:
            have = tile_width(0, index, self.size())
            raise NotFound(f"entry bundle {index} is {have} entries wide, not {width}")
        return encode_bundle(entries)

    def _nodes(self, size: int) -> TileHashes:
        """The nodes of the tree of the first `size` entries."""
        return TileHashes(self.tile, size, self._full_tile)

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint. Raises NotFound on an empty ledger."""
        row = self._row("SELECT checkpoint FROM head")
        if row is None or not row[0]:
            raise NotFound("nothing has been sealed yet, so there is no checkpoint")
        return bytes(row[0])

    def heads(self) -> list[tuple[int, bytes, str]]:
        """(size, root, who says so) of every tree head kept beside the log itself."""
        row = self._row("SELECT size, root FROM head")
        heads = [(int(row[0]), bytes(row[1]), "the head stored in the database")] if row else []
        if (mark := HighWater(self.paths.high_water).read()) is not None:
            heads.append((*mark, f"what was last handed out, by {self.paths.high_water}"))
        return heads

    def registered(self, kind: str, item_id: str) -> int:
        """The index of the current statement of a party or programme. Raises NotFound."""
        table = {"party": "parties", "programme": "programmes"}[kind]
        row = self._row(f'SELECT "index" FROM {table} WHERE id = ?', item_id)  # noqa: S608 - a fixed word
        if row is None:
            raise NotFound(f"no {kind} {item_id!r} is registered")
        return int(row[0])

    def all_registered(self, kind: str, after: str, limit: int) -> list[tuple[str, int]]:
        """(id, index) of current parties or programmes in order of id, from beyond `after`."""
        table = {"party": "parties", "programme": "programmes"}[kind]
        sql = f'SELECT id, "index" FROM {table} WHERE id > ? ORDER BY id LIMIT ?'  # noqa: S608 - a fixed word
        return [(row[0], row[1]) for row in self._rows(sql, after, limit)]

    def fund(self, fund_id: str) -> FundRow:
        """Where a fund stands. Raises NotFound."""
        row = self._row('SELECT id, "index", last FROM funds WHERE id = ?', fund_id)
        if row is None:
            raise NotFound(f"no fund {fund_id!r} is registered")
        return FundRow(*row)

    def funds(self, after: str, limit: int) -> list[FundRow]:
        sql = 'SELECT id, "index", last FROM funds WHERE id > ? ORDER BY id LIMIT ?'
        return [FundRow(*row) for row in self._rows(sql, after, limit)]

    def beside(self, index: int) -> Beside:
        """What is kept beside an entry."""
        return beside(self._row, index)

    def find_key(self, key_hash: bytes) -> ApiKey | None:
        """The API key whose HMAC this is, revoked or not."""
        sql = "SELECT key_id, platform, scopes, created_at, revoked_at FROM keys WHERE hash = ?"
        row = self._row(sql, key_hash)
        return _api_key(row) if row else None

    def keys(self) -> list[ApiKey]:
        sql = (
            "SELECT key_id, platform, scopes, created_at, revoked_at FROM keys ORDER BY created_at"
        )
        return [_api_key(row) for row in self._rows(sql)]


def make_durable(connection: sqlite3.Connection) -> None:
    """What is committed is on disk, readers do not wait for writers, and what is deleted is
    overwritten."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


def _api_key(row: Any) -> ApiKey:
    return ApiKey(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])
