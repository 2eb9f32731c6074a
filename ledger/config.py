"""Settings, all of them: AMANAH_* variables, each also as AMANAH_*_FILE naming a file.

docs/operate.md lists them for operators; a test compares that list with this one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_state_path

from ledger.errors import SetupError

DEFAULTS: dict[str, str] = {
    "AMANAH_DATABASE": "amanah.db",
    "AMANAH_API_KEY": "",
    "AMANAH_STATE": "",
    "AMANAH_ORIGIN": "",
    "AMANAH_OPERATOR": "",
}


class Config(NamedTuple):
    """What the environment asks for.

    database: the ledger's SQLite file. api_key: for posting to a remote ledger. state: where
    `verify` remembers the checkpoints it has seen. origin, operator: what `init` calls a new
    ledger and who runs it, empty when not said.
    """

    database: Path
    api_key: str
    state: Path
    origin: str
    operator: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Config:
        """Read the settings. Raises SetupError."""
        database = _setting(environment, "AMANAH_DATABASE")
        if "://" in database:
            raise SetupError(
                f"AMANAH_DATABASE={database}: only a path to a SQLite file is supported"
            )
        state = _setting(environment, "AMANAH_STATE")
        if not Path(database).name:
            raise SetupError(f"AMANAH_DATABASE={database!r} is not the path of a file")
        return cls(
            Path(database),
            _setting(environment, "AMANAH_API_KEY"),
            Path(state) if state else user_state_path("amanah", appauthor=False),
            _setting(environment, "AMANAH_ORIGIN"),
            _setting(environment, "AMANAH_OPERATOR"),
        )


def _setting(environment: Mapping[str, str], name: str) -> str:
    file = environment.get(f"{name}_FILE")
    if file is None:
        return environment.get(name) or DEFAULTS[name]
    if name in environment:
        raise SetupError(f"both {name} and {name}_FILE are set; keep one")
    try:
        return Path(file).read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{name}_FILE: {error}") from error
