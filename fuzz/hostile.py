"""Hostile requests, drawn from a seed. None of them may seal anything, whoever answers.

Posts are real ones, spoiled so that they are wrong for certain; where a spoiled byte might leave
a right post, it is signed in by a platform that has no right to post it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ledger.demo import PLATFORM, statements
from openapi.document import TARGET
from schemas.statements import UNSUPPORTED

Json = dict[str, Any]
STATEMENTS = [statement for platform, statement in statements() if platform == PLATFORM]
# What a platform without any right is refused for, whatever its values are.
MONEY = [s for s in STATEMENTS if s["type"] in ("donation", "disbursement", "transfer")]
PATHS = list(json.loads(TARGET.read_text("utf-8"))["paths"])
POST = "/v1/entries"
WRONG_TYPES: list[Any] = [
    None,
    1.5,
    -1,
    10**30,
    True,
    [],
    {},
    [[]],
    {"": {}},
    "",
    "\0",
    "x" * 70_000,
]
SPELLINGS = [
    "\ufeff",
    "\u200f",
    "\x00",
    "\x7f",
    "\ud800",
    "\uffff",
    "\U0001fffe",
    "\u202e",
    " ",
    "\n",
]
METHODS = "POST PUT PATCH DELETE TRACE CONNECT PROPFIND get X".split()
BODY_MAX = 4 * 1024 * 1024


class Hostile(NamedTuple):
    """One request. is_post: nothing but a 4xx will do; reading may also find something.

    key: which API key it is sent with: "owner", "stranger", or the text itself.
    """

    kind: str
    method: str
    target: str
    body: bytes = b""
    key: str = "owner"
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def is_post(self) -> bool:
        return self.method == "POST"


def hostile(seed: int) -> Iterator[Hostile]:
    """Requests without end, the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - to be repeatable
    makers = list(MAKERS)
    weights = [MAKERS[maker] for maker in makers]
    while True:
        (maker,) = draw.choices(makers, weights)
        yield maker(draw)


# -- real posts, spoiled


def _post(kind: str, body: bytes, **more: Any) -> Hostile:
    return Hostile(kind, "POST", POST, body, **more)


def _wrap(draw: random.Random, text: str) -> bytes:
    """A statement's JSON as a post, alone or somewhere in a batch of real ones."""
    post = f'{{"statement":{text}}}'
    if draw.random() < 0.7:
        return post.encode("utf-8", "surrogatepass")
    others = [json.dumps({"statement": s}) for s in draw.sample(STATEMENTS, draw.randint(0, 3))]
    others.insert(draw.randint(0, len(others)), post)
    return f'{{"entries":[{",".join(others)}]}}'.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) within a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in list(items):
        yield value, key
        if isinstance(below, (dict, list)):
            yield from _places(below)


def _copy(statement: Json) -> Json:
    return json.loads(json.dumps(statement))  # type: ignore[no-any-return]


def wrong_value(draw: random.Random) -> Hostile:
    """A value of a type that no field has there, or a text no field takes."""
    statement = _copy(draw.choice(STATEMENTS))
    container, key = draw.choice(list(_places(statement)))
    wrong = draw.choice(WRONG_TYPES)
    if isinstance(container[key], bool) or type(container[key]) is type(wrong) is not str:
        wrong = None  # an empty policy or a smaller target may be right
    container[key] = wrong
    return _post("wrong value", _wrap(draw, json.dumps(statement)))


def other_spelling(draw: random.Random) -> Hostile:
    """A text of the statement with a character at one end that no field takes there."""
    statement = _copy(draw.choice(STATEMENTS))
    places = [(c, k) for c, k in _places(statement) if isinstance(c[k], str)]
    container, key = draw.choice(places)
    strange = draw.choice(SPELLINGS)
    container[key] = container[key] + strange if draw.random() < 0.5 else strange + container[key]
    text = json.dumps(statement, ensure_ascii=draw.random() < 0.5)
    return _post("other spelling", _wrap(draw, text))


def missing_or_unknown(draw: random.Random) -> Hostile:
    statement = _copy(draw.choice(STATEMENTS))
    if draw.random() < 0.5:
        del statement[draw.choice(["type", "ref"])]
    else:
        objects = [c for c, _ in _places(statement) if isinstance(c, dict)]
        names = [
            "tip",
            "",
            "__proto__",
            "constructor",
            "Type",
            "keys",
            "index",
            "x" * 200,
            "\u0660",
        ]
        draw.choice(objects)[draw.choice(names)] = draw.choice(["5", 5, True])
    return _post("missing or unknown field", _wrap(draw, json.dumps(statement)))


def other_type(draw: random.Random) -> Hostile:
    kinds = [*UNSUPPORTED, "genesis", "Donation", "gift", "", "__class__"]
    statement = draw.choice(STATEMENTS) | {"type": draw.choice(kinds)}
    return _post("other type", _wrap(draw, json.dumps(statement)))


def same_ref(draw: random.Random) -> Hostile:
    """A right statement under a ref that is used."""
    first, second = draw.sample(MONEY, 2)
    return _post("same ref", _wrap(draw, json.dumps(second | {"ref": first["ref"]})))


def duplicate_key(draw: random.Random) -> Hostile:
    statement = draw.choice(STATEMENTS)
    text = json.dumps(statement)
    name = draw.choice(list(statement))
    again = json.dumps({name: statement[name]})[1:-1]
    if draw.random() < 0.3:
        again = again.replace(name[0], f"\\u{ord(name[0]):04x}", 1)
    return _post("duplicate key", _wrap(draw, f"{text[:-1]}, {again}}}"))


def spoiled_bytes(draw: random.Random) -> Hostile:
    data = bytearray(_wrap(draw, json.dumps(draw.choice(MONEY))))
    for _ in range(draw.choice([1, 1, 1, 2, 5, 30])):
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                del data[at]
            case 2:
                data.insert(at, draw.randrange(256))
            case _:
                data[at:at] = data[at : at + draw.randrange(40)]
        if not data:
            break
    return _post("spoiled bytes", bytes(data), key="stranger")


def cut_short(draw: random.Random) -> Hostile:
    data = _wrap(draw, json.dumps(draw.choice(STATEMENTS)))
    rest = draw.choice([b"", b"", b"}", b"\0", b"]", data])
    return _post("cut short", data[: draw.randrange(len(data))] + rest, key="stranger")


# -- JSON that is none, or hard to read


HORRORS: list[bytes] = [
    b"", b" ", b"null", b"0", b'""', b"[]", b"{}", b"true", b"NaN", b"-", b"\xff",
    b"\xef\xbb\xbf{}",
    b'{"statement":null}', b'{"statement":[]}', b'{"entries":[]}', b'{"entries":{}}',
    b'{"entries":[null]}', b'{"entries":[{}],"statement":{}}', b'{"statement":{},"entries":[]}',
    b'{"statement":{"type":"\\ud800"}}', b'{"statement":{"\\udfff":1}}',
    b'{"statement":{"a":1e999}}',
    b'{"statement":{"a":-0}}', b'{"statement":{"a":Infinity}}', b"'x'", b"// x\n{}", b'{"a":1,}',
    '{"statement":{}}'.encode("utf-16"), '{"statement":{}}'.encode("utf-32"), b"\0" * 100,
]  # fmt: skip


def horror(draw: random.Random) -> Hostile:
    return _post("no post", draw.choice(HORRORS))


def deep(draw: random.Random) -> Hostile:
    depth = draw.choice([15, 16, 17, 100, 1_000, 100_000])
    opening, closing = draw.choice([("[", "]"), ('{"a":', "}"), ('[{"":', "}]")])
    end = closing * depth if draw.random() < 0.7 else ""
    return _post("deep nesting", f'{{"statement":{opening * depth}1{end}}}'.encode())


def huge_number(draw: random.Random) -> Hostile:
    digits = draw.choice([16, 17, 20, 400, 5_000, 100_000])
    number = draw.choice(["", "-"]) + "9" * digits + draw.choice(["", ".5", "e5", "e-99999"])
    statement = '{"type":"refund","ref":"r","amount":"1","reason":"mistake","target":'
    return _post("huge number", _wrap(draw, f"{statement}{number}}}"))


def many_keys(draw: random.Random) -> Hostile:
    count = draw.choice([100, 10_000])
    keys = ",".join(f'"{i if draw.random() < 0.9 else 0}":{i}' for i in range(count))
    return _post("many keys", f'{{"statement":{{{keys}}}}}'.encode())


def too_many_posts(draw: random.Random) -> Hostile:
    post = json.dumps({"statement": draw.choice(STATEMENTS)})
    return _post("too many posts", f'{{"entries":[{",".join([post] * 1001)}]}}'.encode())


def too_large(draw: random.Random) -> Hostile:
    size = draw.choice([BODY_MAX + 1, BODY_MAX + 1, 10 * 1024 * 1024])
    return _post("too large", draw.choice([b" ", b"[", b"\xff"]) * size)


# -- headers, paths and queries


def media_type(draw: random.Random) -> Hostile:
    kinds = ["text/plain", "", "application/jsonx", "multipart/form-data; boundary=x", "*/*",
             "application/x-www-form-urlencoded", "application/json, text/plain", "json", "\xe9",
             "text/html;application/json", "x" * 4_000]  # fmt: skip
    body = json.dumps({"statement": draw.choice(MONEY)}).encode()
    return _post("other media type", body, media_type=draw.choice(kinds), key="stranger")


def bad_key(draw: random.Random) -> Hostile:
    keys = ["", "amanah_", "x", "\xe9" * 20, "amanah_" + "A" * 43, " ", "x" * 5_000, "a b", "'--"]
    body = json.dumps({"statement": draw.choice(MONEY)}).encode()
    return _post("bad key", body, key=draw.choice(keys))


def strange_header(draw: random.Random) -> Hostile:
    name, value = draw.choice([
        ("X-Request-Id", "<script>"), ("X-Request-Id", "a" * 10_000), ("Accept", ",;q=;,*/"),
        ("Accept", "a/b;q=99999"), ("Accept-Encoding", "gzip;q=x"), ("If-None-Match", '"\xff'),
        ("Range", "bytes=0-,5-1"), ("Cookie", "x" * 9_000), ("X-HTTP-Method-Override", "DELETE"),
        ("X-Forwarded-For", "'; drop"), ("Transfer-Encoding", "gzip"), ("Expect", "417"),
        ("Host", "evil.example"), ("Accept-Language", "\xe9" * 50), ("Forwarded", "host=x"),
        ("If-Modified-Since", "x"), ("Upgrade", "h2c"), ("Connection", "upgrade"),
    ])  # fmt: skip
    target = draw.choice([POST, "/v1/entries/3", "/v1/entries/3/receipt", "/problems/stale"])
    return Hostile("strange header", "GET", target, headers=((name, value),))


TRICKS = """
.. %2e%2e %2f %00 %ff %0a . ; : @ * ' " < > | \\ ~ %c0%af x001 000 -1 01 1.0 9007199254740992
99999999999999999999 .p .p/0 .p/256 p entries ledger genesis %25%32%65 %F0%9F%8C%BE null
""".split()


def strange_path(draw: random.Random) -> Hostile:
    path = draw.choice(PATHS)
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + draw.choice(TRICKS) + rest.partition("}")[2]
    for _ in range(draw.randint(0, 2)):
        path += draw.choice(["/", "//", "", "?", "/."]) + draw.choice(TRICKS)
    return Hostile("strange path", "GET", "/" + path.lstrip("/") if draw.random() < 0.9 else path)


def tile_path(draw: random.Random) -> Hostile:
    level = draw.choice(["0", "1", "2", "63", "64", "00", "-1", "entries", "", "x"])
    index = draw.choice(["000", "001", "x000/000", "x001/234", "0", "0000", "999", "x999/999", ""])
    width = draw.choice(["", ".p/1", ".p/0", ".p/255", ".p/256", ".p/01", ".p/", "/1", ".p/1/"])
    return Hostile("tile path", "GET", f"/tile/{level}/{index}{width}")


NAMES = "order after limit fund type party programme platform ref index size from to x a[] %00"
VALUES = (
    "0 1 -1 01 1e3 x %00 %ff %F0%9F%8C%BE 9007199254740992 99999999999999999999 ' asc desc a%26b"
)


def strange_query(draw: random.Random) -> Hostile:
    paths = ["/v1/entries", "/v1/funds", "/v1/parties", "/v1/proofs/inclusion"]
    pairs = [
        draw.choice(NAMES.split()) + draw.choice(["=", "=", "==", ""]) + draw.choice(VALUES.split())
        for _ in range(draw.randint(1, 4))
    ]
    joined = draw.choice(["&", "&", ";", "&&"]).join(pairs)
    return Hostile("strange query", "GET", f"{draw.choice(paths)}?{joined}")


def other_method(draw: random.Random) -> Hostile:
    path = draw.choice([p for p in PATHS if "{" not in p and p != POST])
    return Hostile("other method", draw.choice(METHODS), path)


# How often each is drawn, in proportion. What is large is rare, or it would be all there is.
MAKERS: dict[Callable[[random.Random], Hostile], float] = {
    wrong_value: 12,
    other_spelling: 12,
    missing_or_unknown: 8,
    other_type: 4,
    same_ref: 3,
    duplicate_key: 6,
    spoiled_bytes: 16,
    cut_short: 6,
    horror: 4,
    deep: 2,
    huge_number: 3,
    many_keys: 0.3,
    too_many_posts: 0.2,
    too_large: 0.2,
    media_type: 3,
    bad_key: 4,
    strange_header: 5,
    strange_path: 8,
    tile_path: 4,
    strange_query: 8,
    other_method: 4,
}
