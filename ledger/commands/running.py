"""Running a ledger: init, serve, key, demo."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ledger.commands.shared import closing, json_option, opened, print_json, say
from ledger.config import Config
from ledger.demo import LAST_REF, ORIGIN, PARTNER, PLATFORM, statements
from ledger.errors import SetupError

if TYPE_CHECKING:
    from ledger.service import Ledger
    from ledger.tlog.note import VerifierKey


@click.command()
@click.option(
    "--origin",
    help="The ledger's name for ever, like ledger.example.org/donations. [AMANAH_ORIGIN]",
)
@click.option("--operator", help="Who runs it, for people. [AMANAH_OPERATOR]")
@click.option("--if-missing", is_flag=True, help="Leave a ledger that is there as it is.")
def init(origin: str | None, operator: str | None, if_missing: bool) -> None:
    """Create a ledger: its database, its keys and its first entry."""
    from ledger.store.files import alone_in

    config = Config.from_environment()
    origin = (config.origin or None) if origin is None else origin
    # Two containers that start on one volume: the second finds a whole ledger, not half of one.
    with alone_in(config.database.parent):
        if if_missing and config.database.exists():
            vkey = _found(origin)
        else:
            vkey = _created(config.database, origin, operator or config.operator)
    click.echo(str(vkey))


def _created(database: Path, origin: str | None, operator: str) -> VerifierKey:
    """The verifier key of a ledger that is created now."""
    from ledger.service import Ledger

    named = f"localhost/amanah-{secrets.token_hex(4)}" if origin is None else origin
    with closing(Ledger.create(database, named, operator or named)) as ledger:
        paths = ledger.store.paths
        if origin is None:
            say(f"No --origin given: it is called {named}, which is fine for trying things out.")
        say(f"Created {paths.database}. Back up, apart from it: {paths.log_key} (whoever has it")
        say(f"speaks for this ledger) and {paths.key_secret}.")
        return ledger.vkeys[0]


def _found(origin: str | None) -> VerifierKey:
    """The verifier key of the ledger that is there. Raises SetupError when it is another one."""
    with opened() as ledger:
        database = ledger.store.paths.database
        if origin not in (None, ledger.origin):
            raise SetupError(
                f"{database} is the ledger {ledger.origin}, not {origin}; a ledger keeps its name "
                "for ever. Give its own name, or another AMANAH_DATABASE for a new ledger"
            )
        say(f"{database} is the ledger {ledger.origin} already; nothing was changed.")
        return ledger.vkeys[0]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option("--workers", default=2, show_default=True, help="Processes.")
def serve(host: str, port: int, workers: int) -> NoReturn:
    """Serve the ledger over HTTP, with gunicorn."""
    with opened():
        pass  # a missing or broken ledger is better said here than by every worker
    # Behind a proxy that passes them on, X-Forwarded-* are whatever a client likes: gunicorn's own
    # default is to trust any proxy on this machine.
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    os.execv(sys.executable, gunicorn_command(address, workers))  # noqa: S606 - no shell is wanted


def gunicorn_command(address: str, workers: int) -> list[str]:
    """How the ledger that AMANAH_DATABASE names is served on `address`, gunicorn's --bind."""
    command = [sys.executable, "-m", "gunicorn", "ledger.asgi:create_asgi()"]
    command += ["--bind", address, "--worker-class", "ledger.worker.Worker"]
    command += ["--logger-class", "ledger.worker.GunicornLogger"]
    command += ["--workers", str(workers), "--no-control-socket"]
    command += ["--graceful-timeout", "30", "--keep-alive", "15"]
    if Path("/dev/shm").is_dir():  # noqa: S108 - heartbeat files only; a slow disk would kill workers
        command += ["--worker-tmp-dir", "/dev/shm"]  # noqa: S108 - as above
    return command


@click.group()
def key() -> None:
    """API keys of platforms."""


@key.command("create")
@click.option("--platform", required=True, help="The platform's party id; registered when new.")
@click.option("--read-only", is_flag=True, help="A key that may not post.")
@json_option
def key_create(platform: str, read_only: bool, as_json: bool) -> None:
    """Create an API key; it is shown this once."""
    from ledger.service import WRITE

    with opened() as ledger:
        new = ledger.create_key(platform, () if read_only else (WRITE,))
    if as_json:
        print_json(new._asdict())
    else:
        say(f"Key {new.key_id} of {new.platform}. It is not stored; keep it now:")
        click.echo(new.key)


@key.command("list")
@json_option
def key_list(as_json: bool) -> None:
    """List API keys (never the keys themselves)."""
    with opened() as ledger:
        keys = ledger.store.keys()
    if as_json:
        print_json([found._asdict() for found in keys])
        return
    for found in keys:
        scopes = ",".join(found.scopes) or "read-only"
        state = f"revoked {found.revoked_at}" if found.revoked_at else "active"
        click.echo(f"{found.key_id}  {found.platform}  {scopes}  {found.created_at}  {state}")


@key.command("revoke")
@click.argument("key_id")
def key_revoke(key_id: str) -> None:
    """Revoke an API key for good."""
    with opened() as ledger:
        ledger.revoke_key(key_id)
    say(f"Revoked {key_id}.")


@click.command()
@click.option("--serve", "then_serve", is_flag=True, help="Serve it afterwards.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.pass_context
def demo(context: click.Context, then_serve: bool, host: str, port: int) -> None:
    """Create a small worked example, or take up the one that is there, and show what to try."""
    with closing(_demo_ledger(Config.from_environment().database)) as ledger:
        _fill_demo(ledger)
        api_key = ledger.create_key(PLATFORM).key
        receipt_index = ledger.store.index_of_ref(PLATFORM, "gift-0012")
    base = f"http://{host}:{port}"
    statement = {
        "type": "donation",
        "ref": f"hello-{secrets.token_hex(4)}",
        "fund": "gizi-anak",
        "amount": "50000",
        "currency": "IDR",
        "occurred_at": "2025-07-01T10:00:00+07:00",
    }
    body = json.dumps({"statement": statement}, separators=(",", ":"))
    command = os.path.relpath(sys.argv[0])
    click.echo(
        f"Ledger:   {base}\n"
        f"Post:     curl -s {base}/v1/entries -H 'Authorization: Bearer {api_key}' "
        f"-H 'Content-Type: application/json' -d '{body}'\n"
        f"Receipt:  {base}/v1/entries/{receipt_index}/receipt\n"
        f"Verify:   {command} verify {base}"
    )
    if then_serve:
        sys.stdout.flush()
        context.invoke(serve, host=host, port=port, workers=2)


def _demo_ledger(database: Path) -> Ledger:
    """The demonstration at `database`, whole or not, made when there is none.

    Raises SetupError for any other ledger: what is posted to it would stay there for ever.
    """
    from ledger.service import Ledger

    if database.exists():
        ledger = Ledger.open(database)
        if not ledger.origin.startswith(f"{ORIGIN}/"):
            ledger.close()
            raise SetupError(
                f"{database} is the ledger {ledger.origin}, not a demonstration; set "
                "AMANAH_DATABASE to another path"
            )
    else:
        origin = f"{ORIGIN}/{secrets.token_hex(4)}"
        ledger = Ledger.create(database, origin, "Amanah demonstration")
    return ledger


def _fill_demo(ledger: Ledger) -> None:
    """Post the worked example, or what is missing of it since it was cut off."""
    if ledger.store.index_of_ref(PLATFORM, LAST_REF) is None:
        for platform in (PLATFORM, PARTNER):
            ledger.register_platform(platform)
        for platform, statement in statements():
            ledger.post(platform, [statement])
