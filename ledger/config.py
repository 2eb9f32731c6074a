"""Settings, all of them: AMANAH_* variables, each also as AMANAH_*_FILE naming a file.

docs/operate.md lists them for operators; a test compares that list with this one.
"""

from __future__ import annotations

import os
import re
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
    "AMANAH_METRICS_BIND": "127.0.0.1:9464",
    "AMANAH_KEY_RATE": "60000",
    "AMANAH_ADDRESS_RATE": "30000",
}
_OFF = "off"
_RATE = re.compile(r"[1-9][0-9]{0,8}")
_BIND = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+):(?P<port>0|[1-9][0-9]{0,4})")


class Config(NamedTuple):
    """What the environment asks for.

    database: the ledger's SQLite file. api_key: for posting to a remote ledger. state: where
    `verify` remembers the checkpoints it has seen. origin, operator: what `init` calls a new
    ledger and who runs it, empty when not said. metrics_bind: (host, port) where Prometheus
    asks, None for nowhere. key_rate, address_rate: requests a minute, None for any number.
    """

    database: Path
    api_key: str
    state: Path
    origin: str
    operator: str
    metrics_bind: tuple[str, int] | None
    key_rate: int | None
    address_rate: int | None

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
            _bind(_setting(environment, "AMANAH_METRICS_BIND")),
            _rate("AMANAH_KEY_RATE", _setting(environment, "AMANAH_KEY_RATE")),
            _rate("AMANAH_ADDRESS_RATE", _setting(environment, "AMANAH_ADDRESS_RATE")),
        )


def _bind(value: str) -> tuple[str, int] | None:
    if value == _OFF:
        return None
    match = _BIND.fullmatch(value)
    if match is None or int(match["port"]) > 65_535:
        raise SetupError(
            f"AMANAH_METRICS_BIND={value!r} is not an address and port, such as 127.0.0.1:9464 or "
            f"[::1]:9464, nor {_OFF!r}"
        )
    return match["host"].strip("[]"), int(match["port"])


def _rate(name: str, value: str) -> int | None:
    if value == _OFF:
        return None
    if not _RATE.fullmatch(value):
        raise SetupError(f"{name}={value!r} is not a number of requests a minute, nor {_OFF!r}")
    return int(value)


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
