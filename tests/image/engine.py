"""podman with a store of its own: it builds and runs the image where no registry is in reach.

The base image is a Debian made on the spot. The Dockerfile stays the plain one: where this machine
has its own package index, pip learns of it from files that are only there while the image is built.
"""

from __future__ import annotations

import ast
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command_line import ROOT

BASE, IMAGE = "localhost/amanah-test-base", "localhost/amanah"
TOOLS = ("podman", "runc", "mmdebstrap", "nsenter")
PORT = 8000  # inside; each container has a network of its own, so nothing else can have it
# As compose.yaml has it, and no temporary directory at all: the service needs /data and /dev/shm.
LOCKED_DOWN = (
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop=all"),
    *("--security-opt", "no-new-privileges", "--network", "none"),
    # podman's own limits may be above what this machine grants.
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)
# What pip is told by its settings about where packages come from. Paths of this machine other
# than that of the certificates mean nothing inside.
_PIP_SETTINGS = ("index-url", "extra-index-url", "cert", "proxy", "trusted-host", "default-timeout")


def why_not() -> str:
    """Why no image can be built on this machine; empty when one can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "the image is tested on Linux, by root"
    return f"not installed: {', '.join(missing)} (Debian has them all)" if missing else ""


class Engine:
    """podman, keeping everything below `store`."""

    def __init__(self, store: Path) -> None:
        self._store = store
        options = ("--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--runtime=runc")
        places = (f"--root={store}/root", f"--runroot={store}/run", f"--tmpdir={store}/tmp")
        self.command = ("podman", "--log-level=fatal", *options, *places)

    def __call__(self, *args: object, code: int = 0, advice: str = "") -> str:
        """What podman prints, stderr after stdout. It must end with `code`."""
        return run(*self.command, *args, code=code, advice=advice)

    def build(self) -> None:
        """Make the base and then the image, IMAGE."""
        base = self._store / "base.tar"
        make_base(base)
        self("import", "-q", base, BASE)
        base.unlink()
        with pip_settings(self._store) as mounts:
            self(
                *("build", "-q", "--isolation=chroot", "--network=host", "--pull=never"),
                *("--format=docker", "--layers=false", f"--build-arg=BASE={BASE}", *mounts),
                *("-t", IMAGE, ROOT),
                advice="If pip found no package: the build needs the network, as `make test` does.",
            )

    def remove_everything(self) -> None:
        self("rm", "--all", "--force", "--time=0", "--volumes")
        self("rmi", "--all", "--force")


def run(*command: object, code: int = 0, advice: str = "") -> str:
    """What a command prints, stderr after stdout. It must end with `code`."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    text = done.stdout + done.stderr
    if done.returncode != code:
        shown = "\n".join(text.splitlines()[-25:])
        pytest.fail(f"exit {done.returncode} of: {' '.join(words)}\n{shown}\n{advice}")
    return text


def make_base(target: Path) -> None:
    """A tar of Debian with its Python, of the release that this machine runs."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    # As root throughout: apt's own user may not be able to write where apt is told to.
    options = ('APT::Sandbox::User "root"', 'Acquire::Retries "2"', 'Acquire::http::Timeout "30"')
    run(
        *("mmdebstrap", "--quiet", "--variant=essential"),
        *("--include=python3-venv,ca-certificates", *(f"--aptopt={option}" for option in options)),
        *(suite, target),
        advice="The base image is made of Debian's packages: does apt-get reach a mirror?",
    )


@contextmanager
def pip_settings(scratch: Path) -> Iterator[list[str]]:
    """Options of `podman build` that hand in this machine's settings of pip, but for the build."""
    # Told to be quiet, pip would list nothing.
    listing = run("env", "-u", "PIP_QUIET", sys.executable, "-m", "pip", "config", "list")
    found = pip_settings_of(listing)
    file = scratch / "pip.conf"
    file.touch(mode=0o600)  # an address may hold a password
    file.write_text("".join(["[global]\n", *(f"{k} = {v}\n" for k, v in found.items())]))
    mounts = [f"--volume={file}:/etc/pip.conf:ro"]
    if "cert" in found:
        mounts.append(f"--volume={found['cert']}:{found['cert']}:ro")
    try:
        yield mounts
    finally:
        file.unlink()


def pip_settings_of(listing: str) -> Mapping[str, str]:
    """The settings among those that `pip config list` prints that hold in a container too.

    Those of the environment come first and go before those of files.
    """
    settings: dict[str, str] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        text = ast.literal_eval(value) if value[:1] in "'\"" else ""
        if key.endswith("index-url"):
            text = " ".join(url for url in text.split() if not url.startswith("file:"))
        if key in _PIP_SETTINGS and text:
            settings.setdefault(key, text)
    return settings


class Container:
    """A container of IMAGE. volume: a named one, or a path. It serves on its own 127.0.0.1."""

    def __init__(self, engine: Engine, name: str, volume: str | Path, **settings: str) -> None:
        self._engine, self.name = engine, name
        environment = [f"--env={key}={value}" for key, value in settings.items()]
        options = ("--detach", f"--name={name}", f"--volume={volume}:/data")
        engine("run", *options, *environment, *LOCKED_DOWN, IMAGE)

    def _do(self, verb: str, *args: object, code: int = 0) -> str:
        return self._engine(verb, *args, self.name, code=code)

    def run(self, *command: object, code: int = 0) -> str:
        """What a command prints that is run inside."""
        return self._engine("exec", self.name, *command, code=code)

    def start(self) -> None:
        self._do("start")

    def kill(self) -> None:
        """kill -9, for every process in it."""
        self._do("kill", "--signal=KILL")
        self.wait()

    def stop(self) -> None:
        """SIGTERM, and time to answer what was accepted."""
        self._do("stop", "--time=60")

    def wait(self) -> int:
        """The exit code of process 1, once it has ended."""
        return int(self._do("wait").split()[0])

    def log(self) -> str:
        return self._do("logs")

    def outside(self, *command: str) -> list[str]:
        """`command`, of this machine's own, with the container's network and nothing else of it."""
        pid = self._do("inspect", "--format={{.State.Pid}}").split()[0]
        return ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
