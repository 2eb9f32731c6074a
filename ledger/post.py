"""The door: from the bytes of a request to posts that are ready to be sealed.

Everything that needs no lock happens here: strict reading, schema and spelling, the clock and
the personal-data tripwire, the canonical form. docs/format.md, "Admission".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from ledger.batches import BATCH_MAX
from ledger.disclosure import TEXT_MAX, asked_for, decode_text, digest
from ledger.entry import canonical, plain_json, pointer_token, read_json
from ledger.errors import Fault, FormatError, Refusal
from ledger.signatures import Signature
from ledger.tripwire import may_hold, suspect
from schemas.check import check_signatures, check_statement
from schemas.fields import Text

FUTURE_MAX = timedelta(minutes=5)
KEYLESS_BYTES_MAX = 65_536  # a statement and its signatures, written with escapes and spaces
_TEXT = Text(TEXT_MAX)
_POST_FIELDS = frozenset({"statement", "signatures", "disclosures"})


class Post(NamedTuple):
    """A statement that passed the door, and its canonical bytes, which are what is sealed.

    signatures: what was posted with it, of the right form; whether they are good is for the books.
    disclosures: what is kept beside the log, as posted.
    """

    statement: dict[str, Any]
    canonical: bytes
    signatures: Sequence[Signature] = ()
    disclosures: tuple[str, ...] = ()


class Submission(NamedTuple):
    """What one request posts: all of it is sealed, or none.

    refusal: the first fault the door found, at the post after `posts`. It only decides when
    none of those before it is refused under the lock, since the first refused post decides.
    """

    posts: list[Post]
    refusal: Refusal | None
    is_batch: bool

    def refs(self) -> list[str]:
        return [post.statement["ref"] for post in self.posts]

    def located(self, refusal: Refusal, number: int) -> Refusal:
        """`refusal`, of post `number`, with pointers from the top of the request."""
        return refusal.under(f"/entries/{number}" if self.is_batch else "")


def read_submission(body: bytes, currencies: Mapping[str, int], now: datetime) -> Submission:
    """Read a request body: one post, or `{"entries": [post, ...]}`.

    currencies: this ledger's table. now: the ledger's clock, with zone. Raises Refusal when
    the body as a whole is not readable; a fault within one post becomes `refusal`.
    """
    value = plain_json(body)
    if value is None:
        value = read_json(body, with_texts=False)
    is_batch = isinstance(value, dict) and "entries" in value
    try:
        documents = _batch(value) if is_batch else [value]
        posts, refusal = _posts(documents, currencies, now)
    except (Refusal, RecursionError):
        read_json(body, with_texts=False)
        raise
    submission = Submission(posts, refusal, is_batch)
    if refusal is not None:
        # What is unreadable anywhere comes before any fault of one post. When every post is
        # right, its schema has seen that no value is of a kind that would be unreadable.
        read_json(body, with_texts=False)
        submission.located(refusal, len(posts))
    return submission


def may_be_keyless(body: bytes) -> bool:
    """Whether a body is worth reading that came without an API key."""
    return len(body) <= KEYLESS_BYTES_MAX and b'"acknowledgement"' in body


def keyless_platform(submission: Submission) -> str | None:
    """The party that posts for itself, which needs no API key: its signature says who it is.

    That is one acknowledgement alone, signed by the party it is by; None for anything else.
    """
    if submission.is_batch or len(submission.posts) != 1:
        return None
    post = submission.posts[0]
    by: str | None = post.statement.get("by")
    is_acknowledgement = post.statement["type"] == "acknowledgement"
    signers = {signature["party"] for signature in post.signatures}
    return by if is_acknowledgement and by in signers else None


def _posts(
    documents: list[Any], currencies: Mapping[str, int], now: datetime
) -> tuple[list[Post], Refusal | None]:
    """The posts as far as they are right, and what is wrong with the one after them."""
    posts: list[Post] = []
    for document in documents:
        try:
            posts.append(_post(document, currencies, now))
        except Refusal as refusal:
            return posts, refusal
    return posts, None


def _batch(value: dict[str, Any]) -> list[Any]:
    if extra := value.keys() - {"entries"}:
        raise Refusal("invalid", "a batch has `entries` only", _unknown(extra))
    entries = value["entries"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= BATCH_MAX:
        detail = f"expected an array of 1 to {BATCH_MAX} posts"
        raise Refusal("invalid", f"/entries: {detail}", [Fault("/entries", detail)])
    return entries


def _post(document: Any, currencies: Mapping[str, int], now: datetime) -> Post:
    if not isinstance(document, dict) or "statement" not in document:
        detail = 'a post is an object with a `statement`: {"statement": {"type": ...}}'
        raise Refusal("invalid", detail, [Fault("", detail)])
    if extra := document.keys() - _POST_FIELDS:
        faults = _unknown(extra)
        raise Refusal("invalid", f"{faults[0].pointer}: {faults[0].detail}", faults)
    statement = document["statement"]
    try:
        data = canonical(statement)
        check_statement(statement, len(data), currencies)
        _check_clock(statement, now)
    except Refusal as refusal:
        raise refusal.under("/statement") from None
    signatures = document.get("signatures", ())
    if "signatures" in document:
        check_signatures(signatures)
    texts = _disclosed(statement, document["disclosures"]) if "disclosures" in document else {}
    _check_personal_data(statement, data, texts.values())
    return Post(statement, data, signatures, tuple(texts))


def _disclosed(statement: Mapping[str, Any], disclosures: Any) -> dict[str, str]:
    """Disclosure -> the text in it. Raises Refusal unless each is one the statement asks for."""
    if not (isinstance(disclosures, list) and disclosures):
        _refuse_disclosure("", "expected an array of at least one disclosure")
    asked = asked_for(statement)
    texts = {}
    for i, disclosure in enumerate(disclosures):
        pointer = f"/{i}"
        if not isinstance(disclosure, str):
            _refuse_disclosure(pointer, "a disclosure is a text in base64url")
        try:
            text = decode_text(disclosure)
        except FormatError as error:
            _refuse_disclosure(pointer, str(error))
        if (fault := _TEXT.fault(text)) is not None:
            _refuse_disclosure(pointer, f"in it: {fault}")
        if (its := digest(disclosure)) not in asked:
            detail = f"its digest {its} is not in the statement, or an earlier one has it"
            _refuse_disclosure(pointer, detail)
        asked.remove(its)
        texts[disclosure] = text
    return texts


def _refuse_disclosure(pointer: str, detail: str) -> NoReturn:
    pointer = f"/disclosures{pointer}"
    raise Refusal("invalid", f"{pointer}: {detail}", [Fault(pointer, detail)])


def _check_personal_data(
    statement: Mapping[str, Any], data: bytes, disclosed: Iterable[str]
) -> None:
    faults = []
    if may_hold(data):
        faults = [Fault(f"/statement{f.pointer}", f.detail) for f in suspect(statement)]
    for i, text in enumerate(disclosed):
        faults += [Fault(f"/disclosures/{i}", f.detail) for f in suspect({"text": text})]
    if faults:
        detail = (
            f"{faults[0].pointer} {faults[0].detail}; everything posted here is public for ever"
        )
        raise Refusal("personal_data_suspected", detail, faults)


def _unknown(names: Iterable[str]) -> list[Fault]:
    return [Fault(f"/{pointer_token(name)}", "unknown") for name in sorted(names)]


def _check_clock(statement: Mapping[str, Any], now: datetime) -> None:
    if "occurred_at" in statement:
        occurred = datetime.fromisoformat(statement["occurred_at"])
        latest = now + FUTURE_MAX
        if occurred > latest:
            detail = f"lies in the future; the ledger's clock says {now.astimezone(UTC):%FT%TZ}"
            raise Refusal("invalid", f"/occurred_at: {detail}", [Fault("/occurred_at", detail)])
