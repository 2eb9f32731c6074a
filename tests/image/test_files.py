"""The files that make and start the image, read without building it."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from ledger.commands.running import gunicorn_command
from tests.command_line import ROOT
from tests.image.engine import LOCKED_DOWN

DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = Path(sysconfig.get_path("scripts")) / "hadolint"
SERVICE: Any = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["amanah"]


def test_the_dockerfile_is_as_hadolint_wants_it() -> None:
    done = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM debian:latest\nRUN sudo ls\n")
    done = subprocess.run([HADOLINT, wrong], capture_output=True, text=True)
    assert done.returncode == 1
    assert "DL3004" in done.stdout


def test_everything_the_image_installs_is_hashed() -> None:
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    installs = [step for step in text.split("&&") if "pip" in step and " install " in step]
    assert len(installs) == 3
    for step in installs:
        assert "--require-hashes -r requirements" in step or "--no-index" in step, step


@pytest.mark.parametrize(
    ("key", "value", "option"),
    [
        ("read_only", True, "--read-only"),
        ("cap_drop", ["ALL"], "--cap-drop=all"),
        ("security_opt", ["no-new-privileges"], "no-new-privileges"),
    ],
)
def test_compose_locks_down_what_the_tests_lock_down(key: str, value: Any, option: str) -> None:
    assert SERVICE[key] == value
    assert option in LOCKED_DOWN


def test_compose_gives_the_service_time_to_stop() -> None:
    """More than gunicorn takes; else those who still wait for an answer are cut off."""
    command = gunicorn_command("address", 1)
    graceful_s = int(command[command.index("--graceful-timeout") + 1])
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > graceful_s


def test_compose_serves_this_machine_alone_and_keeps_the_volume() -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])
    assert SERVICE["volumes"] == ["ledger:/data"]
    text = DOCKERFILE.read_text("utf-8")
    assert "\nVOLUME /data\n" in text
    assert "AMANAH_DATABASE=/data/" in text
