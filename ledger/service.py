"""A ledger, opened: its store, its keys, its writer. What the API and the CLI both work on."""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ledger.chain import SealedEntry
from ledger.entry import FORMAT, SYSTEM_PLATFORM
from ledger.errors import FormatError, NotAuthenticated, NotFound, Refusal, SetupError
from ledger.money import CURRENCIES
from ledger.post import Submission, read_submission
from ledger.sequencer import Pending, Sealed, Sequencer
from ledger.store.files import Paths, read_private, read_signing_key, write_private
from ledger.store.sqlite import ApiKey, SqliteStore
from ledger.store.texts import Erasure
from ledger.target import post_of
from ledger.tlog.note import SigningKey, VerifierKey, check_key_name
from ledger.tripwire import suspect
from ledger.viewing import Views
from schemas.fields import Text

REASON_MAX = 140  # characters of the reason for an erasure
WRITE = "write"  # the scope to post entries; reading needs no key
KEY_KEPT_S = 1.0  # so long after it was revoked elsewhere, a key may still be good
KEYS_KEPT = 1_000
_KEY_PREFIX = "amanah_"
_SECRET_BYTES = 32


class NewKey(NamedTuple):
    """An API key at the only moment anybody sees it."""

    key_id: str
    key: str
    platform: str


class Ledger:
    """One ledger on this machine."""

    def __init__(self, store: SqliteStore, signer: SigningKey, secret: bytes) -> None:
        self.store = store
        self.views = Views(store)
        self.sequencer = Sequencer(store, signer)
        self._secret = secret
        self._kept_keys: dict[str, tuple[ApiKey, float]] = {}  # until when
        genesis = json.loads(store.entry_bytes(0))["statement"]
        self.origin: str = genesis["origin"]
        self.operator: str = genesis["operator"]
        self.currencies: Mapping[str, int] = genesis["currencies"]
        self.vkeys = [VerifierKey.parse(text) for text in genesis["vkeys"]]
        if signer.verifier not in self.vkeys:
            raise SetupError(
                f"{store.paths.log_key} holds the key {signer.verifier}, which is not this "
                f"ledger's ({', '.join(map(str, self.vkeys))}); put the right file back"
            )

    @classmethod
    def open(cls, database: Path) -> Ledger:
        """Open an existing ledger. Raises SetupError, saying how to mend it."""
        paths = Paths.of(database)
        store = SqliteStore(database)
        try:
            if store.size() == 0:
                raise SetupError(
                    f"{database} has no genesis: its creation was cut short. Delete "
                    f"{database}* and run `amanah init` again"
                )
            signer = read_signing_key(paths.log_key)
            return cls(store, signer, _secret(paths.key_secret))
        except BaseException:
            store.close()
            raise

    @classmethod
    def create(cls, database: Path, origin: str, operator: str) -> Ledger:
        """Create a ledger: its keys, its database and its genesis. Raises SetupError."""
        try:
            check_key_name(origin)
        except FormatError as error:
            raise SetupError(f"the origin must be a C2SP key name: {error}") from error
        signer = SigningKey.of(origin, secrets.token_bytes(32))
        genesis = {
            "type": "genesis",
            "ref": "genesis",
            "format": FORMAT,
            "origin": origin,
            "operator": operator,
            "vkeys": [str(signer.verifier)],
            "currencies": CURRENCIES,
        }
        # Before anything is on disk: what no auditor would read must not begin a log.
        try:
            submission = read_submission(_body({"statement": genesis}), CURRENCIES, _now())
            if submission.refusal is not None:
                raise submission.refusal
        except Refusal as refusal:
            raise SetupError(f"no ledger can begin like this: {refusal}") from refusal
        paths = Paths.of(database)
        with closing(SqliteStore.create(database)) as store:
            write_private(paths.log_key, f"{signer}\n")
            write_private(paths.key_secret, secrets.token_bytes(_SECRET_BYTES).hex() + "\n")
            Sequencer(store, signer).append(Pending(SYSTEM_PLATFORM, submission))
        return cls.open(database)

    def close(self) -> None:
        self.store.close()

    def now(self) -> datetime:
        """The ledger's clock, as the door asks it."""
        return _now()

    def post(self, platform: str, statements: Sequence[dict[str, Any]]) -> Sealed:
        """Seal statements as one atomic batch, through the same door as the API's.

        Each stands bare, or in a post with its signatures.
        """
        document = {"entries": [post_of(statement) for statement in statements]}
        submission = read_submission(_body(document), self.currencies, self.now())
        return self.sequencer.append(self.pending(platform, submission))

    def pending(self, platform: str, submission: Submission) -> Pending:
        """A submission on its way to the sequencer, its signatures verified as far as can be."""
        pending = Pending(platform, submission)
        self.sequencer.look_over(pending)
        return pending

    def register_platform(self, platform: str) -> bool:
        """Register `platform` as a party when it is new; whether it was.

        Raises Refusal when `platform` is not an id.
        """
        try:
            self.store.registered("party", platform)
        except NotFound:
            # A ref is one character longer than the longest id: cut, since nothing else was
            # ever posted by a platform that is not a party yet.
            party = {"type": "party", "ref": f"party.{platform}"[:64], "id": platform}
            self.post(platform, [party | {"name": platform, "kind": "platform"}])
            return True
        return False

    def at(self, platform: str) -> LocalPlatform:
        """This ledger as `platform` posts to it from the command line."""
        return LocalPlatform(self, platform)

    def erase(self, index: int, reason: str) -> Erasure:
        """Erase the text beside an entry, for good; the log stays as it is. `reason` is public.

        Again, it finds nothing to erase, and only makes sure that nothing of it is left. Raises
        NotFound, Refusal, or Unavailable when the text is erased but not out of all files yet.
        """
        if (fault := Text(REASON_MAX).fault(reason)) is not None:
            raise Refusal("invalid", f"the reason: {fault}")
        if found := suspect({"reason": reason}):
            raise Refusal("personal_data_suspected", f"the reason {found[0].detail}; it is public")
        with self.store.writing() as tx:
            if tx.entry_bytes(index) is None:
                raise NotFound(f"there is no entry {index}")
            disclosure, erasure = tx.beside(index)
            if disclosure is None and erasure is None:
                raise NotFound(f"no text is kept beside entry {index}, so there is none to erase")
            erasure = erasure or Erasure(index, self._timestamp(), reason)
            tx.erase(erasure)
            tx.commit()
            tx.forget()
        return erasure

    # -- API keys

    def create_key(self, platform: str, scopes: Sequence[str] = (WRITE,)) -> NewKey:
        """Create an API key for `platform`, registering it as a party when it is new.

        Raises Refusal when `platform` is not an id.
        """
        self.register_platform(platform)
        secret = base64.urlsafe_b64encode(os.urandom(_SECRET_BYTES)).rstrip(b"=").decode()
        key, key_id = _KEY_PREFIX + secret, secrets.token_hex(6)
        with self.store.writing() as tx:
            tx.add_key(key_id, platform, scopes, self._hash(key), self._timestamp())
            tx.commit()
        return NewKey(key_id, key, platform)

    def revoke_key(self, key_id: str) -> None:
        """Revoke an API key for good. Raises NotFound."""
        with self.store.writing() as tx:
            revoked = tx.revoke_key(key_id, self._timestamp())
            tx.commit()
        self._kept_keys.clear()
        if not revoked:
            raise NotFound(f"there is no API key {key_id!r} that could be revoked")

    def authenticate(self, key: str) -> ApiKey:
        """The API key record of `key`, at most KEY_KEPT_S old. Raises NotAuthenticated."""
        now = time.monotonic()
        kept = self._kept_keys.get(key)
        if kept is not None and kept[1] > now:
            return kept[0]
        found = self._find_key(key)
        if len(self._kept_keys) >= KEYS_KEPT:
            self._kept_keys.clear()
        self._kept_keys[key] = found, now + KEY_KEPT_S
        return found

    def _find_key(self, key: str) -> ApiKey:
        found = self.store.find_key(self._hash(key))
        if found is None:
            raise NotAuthenticated("this API key is not known here; check it, or ask for a new one")
        if found.revoked_at is not None:
            raise NotAuthenticated(f"the API key {found.key_id} was revoked at {found.revoked_at}")
        return found

    def _hash(self, key: str) -> bytes:
        # Keyed, so that a stolen database gives nobody a way to test guesses.
        return hmac.digest(self._secret, key.encode("utf-8", "surrogateescape"), "sha256")

    def _timestamp(self) -> str:
        return f"{self.now():%Y-%m-%dT%H:%M:%SZ}"


class LocalPlatform:
    """A platform posting to a ledger on this machine, past HTTP but through the same door."""

    def __init__(self, ledger: Ledger, platform: str) -> None:
        self._ledger, self.platform = ledger, platform

    def registered(self, kind: str, item_id: str) -> bool:
        """Whether a party, programme or fund has been registered."""
        store = self._ledger.store
        try:
            store.fund(item_id) if kind == "fund" else store.registered(kind, item_id)
        except NotFound:
            return False
        return True

    def post(self, statements: Sequence[dict[str, Any]]) -> list[SealedEntry]:
        return self._ledger.post(self.platform, statements).entries


def _now() -> datetime:
    return datetime.now(UTC)


def _body(document: Any) -> bytes:
    """A document as a request would bring it, so that strict reading sees it.

    In ASCII, which a lone surrogate gets through too, to be refused with its place.
    """
    return json.dumps(document).encode()


def _secret(path: Path) -> bytes:
    text = read_private(path).removesuffix("\n")
    try:
        secret = bytes.fromhex(text)
    except ValueError as error:
        raise SetupError(f"{path} does not hold a secret in hex: {error}") from error
    if len(secret) != _SECRET_BYTES or secret.hex() != text:  # fromhex passes over spaces
        raise SetupError(f"{path} does not hold {_SECRET_BYTES} bytes in lower-case hex alone")
    return secret
