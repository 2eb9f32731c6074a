"""The tables of a ledger's database, as numbered migrations that are never edited.

`entries` and `tiles` are the log. Of level 0 only full tiles stand there: until a tile is full
its hashes stand beside the entries, so that no commit writes a growing tile again. `middle` is
the row of 16 hashes half way up a full tile, so that a proof hashes little. `head` is
the log's tip and the checkpoint that covers it. The rest follows from the log and could be
rebuilt: `refs`, `terms` (what the filters look up, of the entries below `indexed`: for each run
of entries the indexes a term applies to, as a JSON array), the current `parties`, `programmes`,
`funds`, the `key_owners`, what the books remember of refunds, returns, acknowledgements and goods,
and the views of the first `viewed.size` entries, from `purses` to `weights` (what is in a row:
ledger/views/records.py). Not of the log are `keys`, those of the API, `disclosures`, the texts
whose digests are sealed, and `erasures`, which says what became of them. Money is in minor units,
goods in millionths, times of views in hours since 1970.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("amanah")

_TABLES = """
CREATE TABLE entries (
  "index" INTEGER PRIMARY KEY, bytes BLOB NOT NULL, leaf_hash BLOB NOT NULL
) STRICT;
CREATE TABLE tiles (
  level INTEGER NOT NULL, "index" INTEGER NOT NULL, hashes BLOB NOT NULL, middle BLOB,
  PRIMARY KEY (level, "index")
) STRICT, WITHOUT ROWID;
CREATE TABLE head (
  one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL,
  prev TEXT NOT NULL, recorded_at TEXT NOT NULL, frontier BLOB NOT NULL,
  checkpoint BLOB NOT NULL, indexed INTEGER NOT NULL
) STRICT;
CREATE TABLE refs (
  platform TEXT NOT NULL, ref TEXT NOT NULL, "index" INTEGER NOT NULL,
  PRIMARY KEY (platform, ref)
) STRICT, WITHOUT ROWID;
CREATE TABLE terms (
  kind TEXT NOT NULL, id TEXT NOT NULL, run INTEGER NOT NULL, indexes TEXT NOT NULL,
  PRIMARY KEY (kind, id, run)
) STRICT, WITHOUT ROWID;
CREATE TABLE parties (
  id TEXT PRIMARY KEY, platform TEXT NOT NULL, "index" INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE programmes (
  id TEXT PRIMARY KEY, platform TEXT NOT NULL, "index" INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE funds (
  id TEXT PRIMARY KEY, platform TEXT NOT NULL, "index" INTEGER NOT NULL,
  n INTEGER NOT NULL, last INTEGER, cursor_minor INTEGER NOT NULL, counters_minor TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE undone (
  target INTEGER PRIMARY KEY, amount_minor INTEGER NOT NULL,
  platform_fees_minor INTEGER NOT NULL, payment_fees_minor INTEGER NOT NULL
) STRICT;
CREATE TABLE holes (
  fund TEXT NOT NULL, to_minor INTEGER NOT NULL, from_minor INTEGER NOT NULL,
  PRIMARY KEY (fund, to_minor)
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
  key_id TEXT PRIMARY KEY, platform TEXT NOT NULL, scopes TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,
  created_at TEXT NOT NULL, revoked_at TEXT
) STRICT, WITHOUT ROWID;
"""

# Exact to the newest entry: by the terms as far as they reach, and one by one behind them.
_MONEY_VIEW = """
CREATE VIEW {name} AS SELECT
  "index",
  json_extract(CAST(bytes AS TEXT), '$.platform') AS platform,
  json_extract(CAST(bytes AS TEXT), '$.recorded_at') AS recorded_at,
  json_extract(CAST(bytes AS TEXT), '$.statement.occurred_at') AS occurred_at,
  json_extract(CAST(bytes AS TEXT), '$.statement.fund') AS fund,
  json_extract(CAST(bytes AS TEXT), '$.statement.amount') AS amount,
  json_extract(CAST(bytes AS TEXT), '$.statement.currency') AS currency,
  {columns},
  json_extract(CAST(bytes AS TEXT), '$.statement.ref') AS ref,
  json_extract(CAST(bytes AS TEXT), '$.totals[0].balance') AS balance_after
FROM entries WHERE "index" IN (
  SELECT value FROM terms, json_each(indexes) WHERE terms.kind = 'type' AND terms.id = '{type}'
  UNION ALL
  SELECT "index" FROM entries WHERE "index" >= (SELECT indexed FROM head)
  AND json_extract(CAST(bytes AS TEXT), '$.statement.type') = '{type}'
)
"""

_VIEW_TABLES = """
CREATE TABLE viewed (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL) STRICT;
CREATE TABLE purses (
  fund TEXT PRIMARY KEY, "index" INTEGER NOT NULL, currency TEXT NOT NULL, owner TEXT NOT NULL,
  programmes TEXT NOT NULL, last INTEGER, acknowledged_minor INTEGER NOT NULL,
  not_received_minor INTEGER NOT NULL, disputed_minor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE memberships (
  kind TEXT NOT NULL, id TEXT NOT NULL, fund TEXT NOT NULL, PRIMARY KEY (kind, id, fund)
) STRICT, WITHOUT ROWID;
CREATE TABLE kinds (party TEXT PRIMARY KEY, kind TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE outflows (
  "index" INTEGER PRIMARY KEY, fund TEXT NOT NULL, recipient_kind TEXT NOT NULL,
  recipient TEXT NOT NULL, amount_minor INTEGER NOT NULL, paid_at INTEGER NOT NULL,
  pieces TEXT NOT NULL, undone_minor INTEGER NOT NULL, status TEXT NOT NULL,
  acknowledged_at INTEGER NOT NULL, partial_minor INTEGER NOT NULL
) STRICT;
CREATE TABLE lots (
  fund TEXT NOT NULL, to_minor INTEGER NOT NULL, from_minor INTEGER NOT NULL,
  given_at INTEGER NOT NULL, PRIMARY KEY (fund, to_minor)
) STRICT, WITHOUT ROWID;
CREATE TABLE came (
  fund TEXT NOT NULL, to_minor INTEGER NOT NULL, from_minor INTEGER NOT NULL,
  "index" INTEGER NOT NULL, PRIMARY KEY (fund, to_minor)
) STRICT, WITHOUT ROWID;
CREATE TABLE went (
  fund TEXT NOT NULL, to_minor INTEGER NOT NULL, from_minor INTEGER NOT NULL,
  "index" INTEGER NOT NULL, PRIMARY KEY (fund, to_minor)
) STRICT, WITHOUT ROWID;
CREATE TABLE returns (
  target INTEGER NOT NULL, "index" INTEGER NOT NULL, PRIMARY KEY (target, "index")
) STRICT, WITHOUT ROWID;
CREATE TABLE flows (
  fund TEXT NOT NULL, kind TEXT NOT NULL, other TEXT NOT NULL, amount_minor INTEGER NOT NULL,
  undone_minor INTEGER NOT NULL, PRIMARY KEY (fund, kind, other)
) STRICT, WITHOUT ROWID;
CREATE TABLE weights (
  fund TEXT NOT NULL, figure TEXT NOT NULL, hours INTEGER NOT NULL, minor INTEGER NOT NULL,
  PRIMARY KEY (fund, figure, hours)
) STRICT, WITHOUT ROWID;
"""


def _columns(**paths: str) -> str:
    return ",\n  ".join(
        f"json_extract(CAST(bytes AS TEXT), '$.statement.{path}') AS {name}"
        for name, path in paths.items()
    )


@migrations()
def m0001_ledger(db: Database) -> None:
    _create(db, _TABLES)
    donation = _columns(channel="channel", donor_kind="donor.kind", donor_party="donor.party")
    disbursement = _columns(
        category="category",
        recipient_party="recipient.party",
        recipient_group="recipient.group",
        purpose="purpose",
    )
    db.execute(_MONEY_VIEW.format(name="donations", type="donation", columns=donation))
    db.execute(_MONEY_VIEW.format(name="disbursements", type="disbursement", columns=disbursement))


_GOODS_AND_TEXTS = """
CREATE TABLE stocks (
  fund TEXT NOT NULL, item TEXT NOT NULL, unit TEXT NOT NULL, n INTEGER NOT NULL,
  last INTEGER NOT NULL, in_millionths INTEGER NOT NULL, out_millionths INTEGER NOT NULL,
  PRIMARY KEY (fund, item, unit)
) STRICT, WITHOUT ROWID;
CREATE TABLE disclosures ("index" INTEGER PRIMARY KEY, disclosure TEXT NOT NULL) STRICT;
CREATE TABLE erasures (
  "index" INTEGER PRIMARY KEY, erased_at TEXT NOT NULL, reason TEXT NOT NULL
) STRICT
"""


@migrations()
def m0002_goods_and_texts(db: Database) -> None:
    _create(db, _GOODS_AND_TEXTS)


@migrations()
def m0003_signatures(db: Database) -> None:
    # Of a ledger of before, no party has keys and nothing is acknowledged.
    db.execute("ALTER TABLE parties ADD COLUMN keys TEXT NOT NULL DEFAULT '[]'")
    db.execute("ALTER TABLE parties ADD COLUMN signed_only INTEGER NOT NULL DEFAULT 0")
    db.execute(
        "CREATE TABLE key_owners (public BLOB PRIMARY KEY, party TEXT NOT NULL) "
        "STRICT, WITHOUT ROWID"
    )
    db.execute(
        'CREATE TABLE acknowledged (target INTEGER PRIMARY KEY, "index" INTEGER NOT NULL, '
        "is_received INTEGER NOT NULL) STRICT"
    )


@migrations()
def m0004_views(db: Database) -> None:
    _create(db, _VIEW_TABLES)
    db.execute("INSERT INTO viewed VALUES (1, 0)")


def _create(db: Database, tables: str) -> None:
    for statement in tables.split(";"):
        if statement.strip():
            db.execute(statement)
