"""The only door out: a remote ledger over HTTP, to read its log and to post to it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3

from ledger.batches import Post, encode_posts
from ledger.chain import SealedEntry
from ledger.errors import (
    REFUSALS,
    Fault,
    NotAuthenticated,
    NotFound,
    RefConflict,
    Refusal,
    TooLarge,
    Unreachable,
)
from ledger.target import post_of
from ledger.tlog.tile import Tile, bundle_path

TIMEOUT_S = 30.0
RETRY_AFTER_MAX_S = 60  # a server may ask for patience, but not for a day
CONNECTIONS_KEPT = 16
ANSWER_BYTES_MAX = 32 * 1024 * 1024


class _Retry(urllib3.Retry):
    """Waits longer each time, and each client for another while: a ledger that comes up again
    would else meet all of its platforms at once."""

    def get_backoff_time(self) -> float:
        longest = min(self.backoff_max, self.backoff_factor * 2 ** len(self.history))
        return random.uniform(longest / 2, longest)  # noqa: S311 - nobody gains by guessing it


# Reads and posts may both be repeated: a ref is sealed once, however often it is sent.
_RETRY = _Retry(
    total=5,
    backoff_factor=0.2,
    backoff_max=10,
    # 502 and 504 are what a proxy says of a ledger that is just being restarted.
    status_forcelist=(429, 502, 503, 504),
    allowed_methods=None,
    redirect=0,
    raise_on_status=False,
    retry_after_max=RETRY_AFTER_MAX_S,
)


class Answer(NamedTuple):
    """Where posts stand, as the ledger says, in their order, and the signed checkpoint with it."""

    entries: list[SealedEntry]
    checkpoint: bytes


class HttpLedger:
    """A ledger at `url`. Satisfies `audit.Reader`; posts with the `api_key` of `platform`."""

    def __init__(self, url: str, api_key: str = "", platform: str = "") -> None:
        self.platform = platform
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._pool = urllib3.PoolManager(
            retries=_RETRY, timeout=TIMEOUT_S, maxsize=CONNECTIONS_KEPT
        )

    # -- reading (C2SP tlog-tiles)

    def checkpoint(self) -> bytes:
        return self.get("checkpoint")

    def tile(self, tile: Tile) -> bytes:
        return self.get(tile.path())

    def bundle(self, index: int, width: int) -> bytes:
        return self.get(bundle_path(index, width))

    def get(self, path: str, accept: str = "*/*") -> bytes:
        """The body at `path`. Raises NotFound, or Unreachable for any other trouble."""
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        status, body = self._request("GET", path, None, headers)
        if status == 404:
            raise NotFound(f"{self.url}/{path} does not exist")
        if status != 200:
            raise Unreachable(f"{self.url}/{path} answered {status}: {_detail(body)}")
        return body

    def ledger(self) -> dict[str, Any]:
        """What the ledger says of itself: origin, vkeys, size. Nothing of it is proved."""
        value = _parse(self.get("v1/ledger"))
        vkeys = value.get("vkeys") if isinstance(value, dict) else None
        if not isinstance(vkeys, list) or not vkeys or not isinstance(vkeys[0], str):
            raise Unreachable(f"{self.url}/v1/ledger is not an answer of a ledger")
        ledger: dict[str, Any] = value
        return ledger

    def registered(self, kind: str, item_id: str) -> bool:
        """Whether a party, programme or fund has been registered."""
        plural = {"party": "parties", "programme": "programmes", "fund": "funds"}[kind]
        try:
            self.get(f"v1/{plural}/{item_id}")
        except NotFound:
            return False
        return True

    # -- entries and proofs, of which nothing is checked here

    def entry_bytes(self, index: int) -> bytes:
        """The bytes of an entry. Raises as `get`."""
        return self.get(f"v1/entries/{index}", "application/octet-stream")

    def receipt(self, index: int) -> bytes:
        """The .tlog-proof of an entry. Raises as `get`."""
        return self.get(f"v1/entries/{index}/receipt", "text/plain")

    def index_of_ref(self, ref: str) -> int | None:
        """Which entry carries this ref of `platform`; None when the ledger knows of none."""
        path = "v1/entries?" + urlencode({"platform": self.platform, "ref": ref})
        try:
            found = [int(item["entry"]["index"]) for item in _parse(self.get(path))["entries"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"{self.url}/{path} is not an answer of a ledger") from error
        return found[0] if found else None

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Hashes that lead from entry `index` to the root of `size` entries. Raises as `get`."""
        return self._proof("inclusion", {"index": index, "size": size})

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Hashes that show the first `new` entries to extend the first `old`. Raises as `get`."""
        return self._proof("consistency", {"from": old, "to": new})

    def _proof(self, kind: str, query: dict[str, int]) -> list[bytes]:
        path = f"v1/proofs/{kind}?{urlencode(query)}"
        try:
            return [bytes.fromhex(hash_) for hash_ in _parse(self.get(path))["proof"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"{self.url}/{path} is not an answer of a ledger") from error

    # -- posting

    def post_document(self, body: bytes) -> dict[str, Any]:
        """Post the body of one post or of a batch; the ledger's answer.

        Raises the Refusal it answered with, NotAuthenticated, TooLarge or Unreachable.
        """
        headers = {
            "Authorization": f"Bearer {self._api_key}",
            "Content-Type": "application/json",
        }
        status, answer = self._request("POST", "v1/entries", body, headers)
        value = _parse(answer)
        if status in (200, 201) and isinstance(value, dict):
            return value
        problem = value if isinstance(value, dict) else {}
        code = str(problem.get("code"))
        detail = _printable(str(problem.get("detail", f"status {status}")))
        if code == "ref_conflict" and isinstance(problem.get("index"), int):
            raise _Answered(detail, problem["index"], _faults(problem))
        if code in REFUSALS:
            raise Refusal(code, detail, _faults(problem))
        if status in (401, 403):
            raise NotAuthenticated(detail)
        if status == 413:
            raise TooLarge(detail)
        raise Unreachable(f"{self.url}/v1/entries answered {status}: {detail}")

    def post(self, statements: Sequence[dict[str, Any]]) -> list[SealedEntry]:
        """Post statements, each bare or as a post, as one atomic batch. Raises as `post_all`."""
        return self.post_all([post_of(statement) for statement in statements]).entries

    def post_all(self, posts: Sequence[Post], is_batch: bool = True) -> Answer:
        """Post one atomic batch, or one post alone. Raises as `post_document`."""
        answer = self.post_document(encode_posts(posts, is_batch))
        try:
            sealed = [
                SealedEntry(int(e["index"]), bytes.fromhex(e["leaf_hash"]), bool(e["replayed"]))
                for e in answer["entries"]
            ]
            note = answer.get("checkpoint", "").encode()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"{self.url} answered something that is no receipt") from error
        if len(sealed) != len(posts):
            told = f"{len(sealed)} entries for {len(posts)} statements"
            raise Unreachable(f"{self.url} answered with {told}")
        return Answer(sealed, note)

    def _request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        retries: urllib3.Retry = _RETRY
        url = f"{self.url}/{path}"
        try:
            while True:
                response = self._pool.request(
                    *(method, url),
                    body=body,
                    headers=headers,
                    preload_content=False,
                    retries=retries,
                )
                try:
                    data = response.read(ANSWER_BYTES_MAX + 1, decode_content=True)
                    break
                except _CUT_SHORT as error:  # which the library repeats for nobody
                    retries = (response.retries or retries).increment(method, url, error=error)
                    retries.sleep()
                finally:
                    response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{self.url} cannot be reached: {error}") from error
        if len(data) > ANSWER_BYTES_MAX:
            raise Unreachable(f"{url} answered with more than {ANSWER_BYTES_MAX} bytes")
        return response.status, data


# An answer that broke off, as when the ledger was killed while it wrote it.
_CUT_SHORT = (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError)


class _Answered(RefConflict):
    """A ref conflict in the words of the ledger that answered it."""

    def __init__(self, detail: str, index: int, faults: Sequence[Fault]) -> None:
        super().__init__("", index)
        self.args, self.faults = (detail,), tuple(faults)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _faults(problem: dict[str, Any]) -> list[Fault]:
    errors = problem.get("errors")
    return [
        Fault(_printable(str(error.get("pointer"))), _printable(str(error.get("detail"))))
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict)
    ]


def _detail(body: bytes) -> str:
    value = _parse(body)
    if isinstance(value, dict) and "detail" in value:
        return _printable(str(value["detail"]))
    return _printable(body[:200].decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """`text` of a server, fit for a terminal: it may not speak to that by control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
