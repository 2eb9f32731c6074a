"""The command line as a person meets it: exit code, stdout, stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from click.testing import CliRunner

from ledger.audit import audit
from ledger.cli import main
from ledger.entry import decode_entry
from ledger.service import Ledger
from ledger.tlog.note import VerifierKey
from ledger.tlog.policy import Policy
from tests.support import Server, Statement

ROOT = Path(__file__).parents[1]
# What the installed script `amanah` does.
SCRIPT = "import sys; sys.argv[0] = 'amanah'; from ledger.cli import main; main()"


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Amanah:
    """Runs `amanah` with a home of its own, where the ledger and the memory are."""

    def __init__(self, home: Path) -> None:
        self.database, self.state = home / "amanah.db", home / "state"
        self.settings = {
            "AMANAH_DATABASE": str(self.database),
            "AMANAH_STATE": str(self.state),
        }

    def __call__(self, *args: object, stdin: str = "", **settings: str) -> Outcome:
        """Run a command in this process, which is fast."""
        runner = CliRunner()
        # None takes a setting away: those of whoever runs the tests.
        theirs = dict.fromkeys(k for k in os.environ if k.startswith("AMANAH_"))
        environment = theirs | self.settings | settings
        arguments = ["amanah", *map(str, args)]
        with (
            runner.isolation(stdin, environment) as (out, err, _),
            mock.patch.object(sys, "argv", arguments),
        ):
            code: Any = 0
            try:
                main()
            except SystemExit as stop:
                code = stop.code or 0
            sys.stdout.flush()
            sys.stderr.flush()
            return Outcome(code, out.getvalue().decode(), err.getvalue().decode())

    def really(self, *args: object, stdin: str = "", **settings: str) -> Outcome:
        """Run a command in a process of its own."""
        run = subprocess.run(
            self.command(*args),
            input=stdin,
            env=self.environment(**settings),
            cwd=self.database.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        return Outcome(run.returncode, run.stdout, run.stderr)

    def command(self, *args: object) -> list[str]:
        return [sys.executable, "-c", SCRIPT, *map(str, args)]

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment of a process, without settings of whoever runs the tests."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith("AMANAH_")}
        return plain | {"PYTHONPATH": str(ROOT)} | self.settings | settings


class Site(NamedTuple):
    """A ledger that is served. key: an API key of `PLATFORM`."""

    amanah: Amanah
    server: Server
    key: str
    vkey: VerifierKey

    def post(self, *args: object, stdin: str = "") -> Outcome:
        arguments = ("post", "--url", self.server.url, *args)
        return self.amanah(*arguments, stdin=stdin, AMANAH_API_KEY=self.key)


def size_of(amanah: Amanah) -> int:
    ledger = Ledger.open(amanah.database)
    size = ledger.store.size()
    assert audit(ledger.store, Policy.for_key(ledger.vkeys[0])).is_sound
    ledger.close()
    return size


def statements_of(amanah: Amanah) -> list[Statement]:
    ledger = Ledger.open(amanah.database)
    entries = ledger.store.entries(0, ledger.store.size())
    ledger.close()
    return [decode_entry(entry).statement for entry in entries]


def lines(*statements: Any) -> str:
    return "".join(json.dumps(statement) + "\n" for statement in statements)


def verdict(amanah: Amanah, target: object, *options: object) -> Outcome:
    """How verifying ends, the same for people and for programs."""
    told = amanah("verify", target, *options)
    outcome = amanah("verify", target, "--json", *options)
    assert told.code == outcome.code
    assert (told.out == "") == (told.code != 0)
    return outcome


def found(amanah: Amanah, target: object, *options: object) -> tuple[int | None, str]:
    """(index, what was compared) of what is proved wrong."""
    outcome = verdict(amanah, target, *options)
    assert outcome.code == 1, outcome
    assert (outcome.json["verdict"], outcome.json["code"]) == ("wrong", "log_mismatch")
    return outcome.json["index"], outcome.json["compared"]
