"""Keys of parties: making one, showing it, signing with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, BinaryIO

import click

from ledger.commands.posting import read_statements
from ledger.commands.shared import print_json, say
from ledger.errors import SetupError
from ledger.signing import PartyKey
from ledger.target import post_of

PARTY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")  # schemas/fields.py, without loading it

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def party() -> None:
    """Keys with which a party signs: what it posts, approves, receives or attests."""


@party.command()
@click.argument("party_id")
@file_argument
def keygen(party_id: str, file: Path) -> None:
    """Make a key for the party PARTY_ID and write its secret to FILE, which must not exist.

    Prints the public key, which goes into `keys` of the party's statement. Whoever has the file
    can sign for the party; without it nobody can.
    """
    from ledger.store.files import write_private

    if not PARTY_ID.fullmatch(party_id):
        raise click.UsageError(f"{party_id!r} is not the id of a party: a-z, 0-9 and -")
    key = PartyKey.generate(party_id)
    write_private(file, f"{key}\n")
    click.echo(key.vkey)
    say(f"The secret is in {file}: keep it, and a copy elsewhere. Add the key to the party's")
    say("statement, and sign that with it: amanah party sign")


@party.command()
@file_argument
def show(file: Path) -> None:
    """Print the public key of the secret in FILE."""
    click.echo(_read_key(file).vkey)


@party.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A file that `keygen` wrote; several sign one after the other.",
)
@click.option("--origin", required=True, help="The ledger's origin, as /v1/ledger says it.")
@click.option(
    "--platform",
    required=True,
    help="Who is to post it. A party that acknowledges without an API key: itself.",
)
def sign(file: BinaryIO, keys: tuple[Path, ...], origin: str, platform: str) -> None:
    """Sign statements from FILE, as `amanah post` reads them, and print them as posts.

    One post a line. Signatures that stand there already stay, so approvers can sign in turn.
    Nothing is sent: it needs no network and no database.
    """
    signers = [_read_key(path) for path in keys]
    for statement in read_statements(file.read()):
        print_json(_signed(statement, signers, origin, platform))


def _signed(
    statement: dict[str, Any], signers: list[PartyKey], origin: str, platform: str
) -> dict[str, Any]:
    post = post_of(statement)
    signatures = list(post.get("signatures", []))
    for signer in signers:
        signature = signer.sign(post["statement"], origin, platform)
        if signature not in signatures:
            signatures.append(signature)
    return post | {"signatures": signatures}


def _read_key(path: Path) -> PartyKey:
    from ledger.store.files import read_private

    try:
        return PartyKey.parse(read_private(path).removesuffix("\n"))
    except ValueError as error:
        raise SetupError(f"{path}: {error}") from error
