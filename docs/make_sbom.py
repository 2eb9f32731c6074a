"""Write dist/sbom.json, the CycloneDX list of what the image and an installed wheel consist of.

python docs/make_sbom.py, or: make sbom
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "dist" / "sbom.json"
# Where the metadata names no licence that cyclonedx-py knows, and the package's LICENSE file does.
CONCLUDED = {"sqlite-fts4": "Apache-2.0"}


def pins() -> set[tuple[str, str]]:
    """(name, version) of everything that requirements.txt pins for this platform and Python."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    found: set[tuple[str, str]] = set()
    for line in lines:
        if line[:1].isalnum():  # else a comment, or a hash of the line before
            requirement = Requirement(line.removesuffix("\\"))
            if requirement.marker is None or requirement.marker.evaluate():
                (version,) = requirement.specifier
                found.add((canonicalize_name(requirement.name), version.version))
    return found


def sbom() -> dict[str, Any]:
    """What is pinned, as it is installed beside this interpreter, in CycloneDX's JSON.

    The tools of this repository are installed there too, and are left out. SystemExit when what
    is installed is not what is pinned.
    """
    document: dict[str, Any] = _all_installed()
    wanted = pins()
    document["components"] = [c for c in document["components"] if _pin_of(c) in wanted]
    if missing := wanted - {_pin_of(component) for component in document["components"]}:
        raise SystemExit(f"pinned in requirements.txt but not installed: {sorted(missing)}")
    refs = {c["bom-ref"] for c in (*document["components"], document["metadata"]["component"])}
    document["dependencies"] = [
        {**node, "dependsOn": [ref for ref in node.get("dependsOn", ()) if ref in refs]}
        for node in document["dependencies"]
        if node["ref"] in refs
    ]
    for component in document["components"]:
        if concluded := CONCLUDED.get(_pin_of(component)[0]):
            component["licenses"] = [{"license": {"id": concluded, "acknowledgement": "concluded"}}]
    return document


def _all_installed() -> Any:
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "all.json"
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
        command += ["--pyproject", str(ROOT / "pyproject.toml"), "--of", "JSON", "-o", str(output)]
        subprocess.run([*command, sys.executable], check=True, capture_output=True)
        return json.loads(output.read_text("utf-8"))


def _pin_of(component: dict[str, Any]) -> tuple[str, str]:
    return canonicalize_name(component["name"]), component["version"]


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(sbom(), indent=2) + "\n", "utf-8")
