"""The docs say what the code does: lists are compared, links resolve, the tour really runs."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from ledger import admission, connection
from ledger.commands.running import gunicorn_command
from ledger.config import DEFAULTS
from ledger.doctor.checks import CHECKS
from ledger.errors import REFUSALS
from ledger.metrics import Metrics, State
from ledger.money import CURRENCIES
from ledger.problems import STATUSES
from ledger.service import Ledger
from ledger.state import COUNTERS
from ledger.store.files import Paths
from schemas.fields import Unsupported
from schemas.statements import STATEMENTS, UNSUPPORTED
from tests.support import running_server

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "tests").rglob("*.md")])
FORMAT = (DOCS / "format.md").read_text("utf-8")
OPERATE = (DOCS / "operate.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
API = (DOCS / "api.md").read_text("utf-8")
CLIENT = (DOCS / "client.md").read_text("utf-8")
EXAMPLE = (DOCS / "example_platform" / "README.md").read_text("utf-8")

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(?P<marks>#{1,6}) (?P<title>.+)$", re.MULTILINE)


def without_code(page: str) -> str:
    """A page without its fenced blocks, in which a # is no heading and a bracket no link."""
    return FENCE.sub("", page)


def section(page: str, title: str) -> str:
    """What stands below a heading, as far as the next one that is not below it."""
    page = without_code(page)
    (begin,) = [match for match in HEADING.finditer(page) if match["title"].strip("`") == title]
    level = len(begin["marks"])
    ends = (m.start() for m in HEADING.finditer(page, begin.end()) if len(m["marks"]) <= level)
    return page[begin.end() : next(ends, len(page))]


def table(text: str, number: int = 0) -> list[list[str]]:
    """The cells of the rows of a text's table `number`, the head and the line below left out."""
    found = re.findall(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE)[number]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in found.splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def code(cell: str) -> str:
    """What stands in a cell between back-ticks."""
    return cell.strip("`")


# -- docs/format.md against the code


def test_the_table_of_codes_is_that_of_the_code() -> None:
    rows = [(code(row[0]), row[1], row[3]) for row in table(section(FORMAT, "Admission"))]
    assert rows == [(c, str(STATUSES.get(c, 422)), text) for c, text in REFUSALS.items()]


def test_the_steps_of_admission_never_go_back() -> None:
    """Each code is named at the last step that may give it; those steps ascend."""
    steps = [row[2].split(", ") for row in table(section(FORMAT, "Admission"))]
    assert [s for s in steps if len(s) > 1] == [["2", "5"], ["7", "9"]]  # said in the text
    ordered = [int(s[0]) if s == ["2", "5"] else int(s[-1]) for s in steps]
    assert ordered == sorted(ordered)
    assert set(range(1, 17)) == {int(step) for s in steps for step in s}


def test_the_other_codes_are_those_of_the_code() -> None:
    rows = {code(row[0]): int(row[1]) for row in table(section(FORMAT, "Problem details"))}
    ours = {c: status for c, status in STATUSES.items() if c not in REFUSALS}
    assert rows == ours


@pytest.mark.parametrize("kind", STATEMENTS)
def test_each_statement_has_the_fields_of_its_schema(kind: str) -> None:
    title = "Genesis and the currency table" if kind == "genesis" else kind
    rows = {code(row[0]): row for row in table(section(FORMAT, title))}
    fields = {n: f for n, f in STATEMENTS[kind].fields.items() if n not in ("type", "ref")}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        _, required, value = rows[name]
        assert required == ("yes" if field.required else ""), name
        assert isinstance(field, Unsupported) == value.endswith("Not enforced yet"), name


def test_the_types_that_are_not_enforced_are_named() -> None:
    rows = table(section(FORMAT, "Types"))
    assert {word for row in rows for word in re.findall(r"`(\w+)`", row[0])} == UNSUPPORTED


def test_the_currency_table_is_that_of_a_new_ledger() -> None:
    rows = table(section(FORMAT, "Genesis and the currency table"), 1)
    assert {c: int(exponent) for exponent, codes in rows for c in codes.split()} == CURRENCIES


def test_the_counters_and_their_signs_are_those_of_the_books() -> None:
    rows = table(section(FORMAT, "Counters"))
    assert [(code(name), sign) for name, _, sign in rows] == [
        (name, {1: "+", -1: "-", 0: "0"}[sign]) for name, sign in COUNTERS.items()
    ]
    formula = re.search(r"balance = (.+?)\. It is", section(FORMAT, "Counters"), re.DOTALL)
    assert formula is not None
    terms = re.findall(r"([+-]?) ?\b(\w+)", formula[1])
    assert {name: -1 if sign == "-" else 1 for sign, name in terms} == {
        name: sign for name, sign in COUNTERS.items() if sign
    }


def test_every_section_that_code_names_exists() -> None:
    named = re.compile(r"docs/(?P<page>\w+\.md)(?:[,:]\s+\"(?P<title>[^\"]+)\")?")
    seen = set()
    for folder in ("ledger", "schemas", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            # A reference may be broken over two lines, of a docstring or of comments.
            text = re.sub(r"\n\s*#?\s*", " ", path.read_text("utf-8"))
            for match in named.finditer(text):
                page = (DOCS / match["page"]).read_text("utf-8")
                if match["title"]:
                    assert section(page, match["title"]), path
                    seen.add(match["title"])
    assert seen >= {"The entry", "Money", "Values", "Admission", "Totals and spans", "Exit codes"}


# -- docs/operate.md against the code


def test_the_settings_are_those_of_the_code() -> None:
    rows = table(section(OPERATE, "Settings"))
    assert {code(name): code(default) for name, default, _ in rows} == DEFAULTS


def test_the_metrics_are_those_of_the_code(tmp_path: Path) -> None:
    rows = {code(name): kind for name, kind, _ in table(section(OPERATE, "Metrics"))}
    registry = CollectorRegistry()
    Metrics(registry)
    told = [*registry.collect(), *State(tmp_path / "x", lambda: (1, "2026-01-01T00:00Z")).collect()]
    assert rows == {family.name: family.type for family in told}


def test_the_bounds_are_those_of_the_code() -> None:
    text = section(OPERATE, "Too much at once")
    bounds = [row[1].split()[0].replace(",", "") for row in table(text)]
    assert [int(bound) for bound in bounds] == [
        admission.POSTS_MAX,
        admission.CALLS_MAX,
        admission.BODY_BYTES_MAX >> 20,
        admission.UNSENT_BYTES_MAX >> 20,
        admission.CONNECTIONS_MAX,
    ]
    seconds = [int(row[1].split(",")[0]) for row in table(text, 1)]
    command = gunicorn_command("", 1)
    keep_alive = int(command[command.index("--keep-alive") + 1])
    assert seconds == [connection.HEAD_S, connection.BODY_S, connection.ANSWER_S, keep_alive]
    assert connection.ANSWER_BYTES_S_MIN == 16 << 10


def test_the_checks_of_the_doctor_are_those_of_the_code() -> None:
    rows = table(section(OPERATE, "Doctor"))
    assert [name for row in rows for name in re.findall(r"`([a-z_-]+)`", row[0])] == list(CHECKS)


def test_the_files_and_modes_are_those_on_disk(tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    before = os.umask(0o022)
    try:
        Ledger.create(database, "ledger.example/files", "Operator").close()
    finally:
        os.umask(before)
    rows = {
        code(name): mode for row in table(section(OPERATE, "Files")) for name, mode in [row[:2]]
    }
    shared = rows.pop("ledger.db-wal`, `ledger.db-shm")
    assert rows == {p.name: f"{p.stat().st_mode & 0o777:04o}" for p in Paths.of(database)}
    extra = [path for path in tmp_path.iterdir() if path.name not in rows]
    assert all(f"{path.stat().st_mode & 0o777:04o}" == shared for path in extra)
    assert {path.name for path in extra} <= {"ledger.db-wal", "ledger.db-shm"}


# -- what is generated


def test_the_reference_of_the_command_line_is_fresh() -> None:
    fresh = runpy.run_path(str(DOCS / "make_cli.py"))["reference"]()
    assert (DOCS / "cli.md").read_text("utf-8") == fresh, "run: python docs/make_cli.py"


def test_the_picture_shows_what_the_command_prints() -> None:
    shown = re.sub(r"<[^>]*>", "", (DOCS / "receipt.svg").read_text("utf-8"))
    fresh = re.sub(r"<[^>]*>", "", runpy.run_path(str(DOCS / "make_picture.py"))["picture"]())
    # The words alone: how rich draws them may change with its version.
    assert words(shown) == words(fresh), "run: python docs/make_picture.py"
    assert {"VERIFIED:", "gizi-anak"} <= set(words(shown))


def words(text: str) -> list[str]:
    """The words of an SVG's text, its style sheet left out."""
    return text.replace("&#160;", " ").rpartition("}")[2].split()


# -- links


def slug(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", without_code(page.read_text("utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert file.resolve().is_relative_to(ROOT), target
        if anchor:
            titles = HEADING.findall(without_code(file.read_text("utf-8")))
            assert anchor in {slug(title) for _, title in titles}, target


def test_the_pages_keep_to_a_width_that_a_diff_can_show() -> None:
    for page in (
        ROOT / "README.md",
        DOCS / "operate.md",
        DOCS / "api.md",
        DOCS / "client.md",
        DOCS / "example_platform" / "README.md",
        *sorted((DOCS / "adr").glob("*.md")),
    ):
        for line in without_code(page.read_text("utf-8")).splitlines():
            assert len(line) <= 110 or line.startswith(("|", "!")), f"{page.name}: {line}"
    assert len(README.splitlines()) <= 200


# -- the tours of README.md, docs/api.md, docs/client.md and docs/example_platform
#
# Blocks marked `sh tour` run as they are written, one after the other, in one shell, in a
# directory that looks like a checkout after `make run`; so do those of docs/operate.md that are
# marked `sh drill`. What differs from a reader's terminal:
# - the servers listen on free ports: what is written here is replaced by theirs;
# - .venv/bin/activate is a stand-in that puts this interpreter's commands on the PATH;
# - HOME and AMANAH_STATE are in the temporary directory;
# - where curl is not installed, a few lines of Python stand in for it.
# A `text` block with the same mark is how the output before it must end; "..." stands for
# anything on a line.

BASE = "http://127.0.0.1:8000"
SHOP_PORT = "5050"  # of docs/example_platform
CURL = """
import sys, urllib.error, urllib.request
options = iter(sys.argv[1:])
headers, body, output, url = {}, None, None, None
for option in options:
    if option == "-s":
        continue
    elif option == "-o":
        output = next(options)
    elif option == "-H":
        name, _, value = next(options).partition(": ")
        headers[name] = value
    elif option == "-d":
        body = next(options).encode()
    else:
        assert not option.startswith("-") and url is None, option
        url = option
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    answer = opener.open(urllib.request.Request(url, body, headers)).read()
except urllib.error.HTTPError as error:
    answer = error.read()
file = open(output, "wb") if output else sys.stdout.buffer
file.write(answer)
"""


class Step(NamedTuple):
    """Commands of the tour. code: the exit code of the last one. output: how it must end."""

    commands: str
    code: int
    output: str


def tour(page: str, mark: str = "tour") -> Iterator[Step]:
    commands, code_wanted = "", 0
    for match in FENCE.finditer(page):
        language, *marks = match["info"].split() or [""]
        if mark not in marks:
            continue
        if language == "text":
            yield Step(commands, code_wanted, match["text"])
            commands = ""
            continue
        if commands:
            yield Step(commands, code_wanted, "")
        commands, code_wanted = match["text"], int("exits-1" in marks)
    if commands:
        yield Step(commands, code_wanted, "")


def pattern(output: str) -> re.Pattern[str]:
    lines = (re.escape(line).replace(r"\.\.\.", ".*") for line in output.splitlines())
    return re.compile(r"(?:\A|\n)" + r"\n".join(lines) + r"\s*\Z")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory like a checkout after `make run`, but for a server."""
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    stand_ins = {"amanah": "from ledger.cli import main; main()"}
    stand_ins["flask"] = "from flask.cli import main; main()"
    stand_ins["sqlite-utils"] = "from sqlite_utils.cli import cli; cli()"
    if shutil.which("curl") is None:
        stand_ins["curl"] = CURL
    commands = {name: f"-c {shlex.quote(program)}" for name, program in stand_ins.items()}
    for name, arguments in (commands | {"python": ""}).items():
        script = scripts / name
        python = f"{shlex.quote(sys.executable)} {arguments}"
        script.write_text(f'#!/bin/sh\nexec {python} "$@"\n', "utf-8")
        script.chmod(0o755)
    (scripts / "activate").write_text(f"PATH={shlex.quote(str(scripts))}:$PATH\n", "utf-8")
    for folder in ("docs", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "var" / "demo").mkdir(parents=True)
    return tmp_path


def settings(checkout: Path) -> dict[str, str]:
    """The environment of a reader who has set nothing, kept inside `checkout`."""
    theirs = {k: v for k, v in os.environ.items() if not k.startswith("AMANAH_")}
    ours = {"HOME": str(checkout), "AMANAH_STATE": str(checkout / "state")}
    return theirs | ours | {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}


@pytest.mark.parametrize(
    ("page", "count"),
    [(README, 7), (API, 19), (CLIENT, 6), (EXAMPLE, 4)],
    ids=["README", "api", "client", "example_platform"],
)
def test_the_tour(checkout: Path, page: str, count: int) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "AMANAH_DATABASE ?= var/demo/amanah.db\n" in makefile
    assert "amanah demo --serve --host 127.0.0.1 --port $(PORT)\n" in makefile
    assert "PORT ?= 8000\n" in makefile
    database = checkout / "var" / "demo" / "amanah.db"
    environment = settings(checkout)
    subprocess.run(
        [checkout / ".venv/bin/amanah", "demo"],
        env=environment | {"AMANAH_DATABASE": str(database)},
        check=True,
        capture_output=True,
    )
    steps, port = list(tour(page)), free_port()
    assert len(steps) == count
    with running_server(database) as server, Shell(checkout, environment) as shell:
        try:
            for step in steps:
                commands = step.commands.replace(BASE, server.url).replace(SHOP_PORT, port)
                status, output = shell.run(commands)
                assert status == step.code, f"{step.commands}\n{output}"
                assert pattern(step.output).search(output), f"{step.commands}\n{output}"
        finally:
            shell.run('test -z "$shop" || kill -9 $shop')


def free_port() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return str(probe.getsockname()[1])


def test_the_drill_of_the_operator(checkout: Path) -> None:
    port = free_port()
    steps = list(tour(OPERATE, "drill"))
    assert len(steps) == 4
    with Shell(checkout, settings(checkout)) as shell:
        shell.run(". .venv/bin/activate")
        try:
            for step in steps:
                status, output = shell.run(step.commands.replace("8000", port))
                assert status == step.code, f"{step.commands}\n{output}"
                assert pattern(step.output).search(output), f"{step.commands}\n{output}"
        finally:
            shell.run("kill -9 $server")


class Shell:
    """One `sh` that keeps its variables from block to block."""

    MARK = "--- end of a block: "

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["sh"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)

    def run(self, commands: str) -> tuple[int, str]:
        """The exit code of the last command, and what all of them printed, stderr included."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{commands}\nprintf '\\n{self.MARK}%s\\n' $?\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(self.MARK):
                return int(line.removeprefix(self.MARK)), "".join(lines)
            lines.append(line)
        raise AssertionError("the shell ended early:\n" + "".join(lines))


def test_a_tour_with_other_output_would_fail() -> None:
    """The pattern is no rubber stamp: it holds every line to its place."""
    wanted = pattern("SOUND: all 5 entries of ... .\n")
    assert wanted.search("talk before\nSOUND: all 5 entries of x .\n\n")
    for output in ("SOUND: all 6 entries of x .\n", "SOUND: all 5 entries of x .\nmore\n", ""):
        assert not wanted.search(output)
