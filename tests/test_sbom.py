"""What the image consists of, and under which licences it is given on."""

from __future__ import annotations

import json
import re
import runpy
from importlib.metadata import distribution
from typing import Any

import pytest
from packaging.licenses import canonicalize_license_expression

from tests.command_line import ROOT

# What may be given on with nothing but a notice; as SPDX names it.
ALLOWED = frozenset(
    "MIT MIT-0 BSD-2-Clause BSD-3-Clause 0BSD ISC Apache-2.0 PSF-2.0 Unlicense CC0-1.0 "
    "LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later".split()
)
# Old packages name a class of licences: these are all allowed.
ALLOWED_CLASSES = frozenset(
    f"License :: {name}"
    for name in (
        "Public Domain",
        "OSI Approved :: Apache Software License",
        "OSI Approved :: BSD License",
        "OSI Approved :: MIT License",
    )
)
# Other people's files that come inside a package, whose licence asks for more or names one that
# does, and why they may.
INSIDE = {
    "pip/_vendor/certifi/LICENSE": "MPL-2.0 binds only who changes these files; nobody does here. "
    "pip carries it, and sqlite-utils depends on pip. The service loads neither",
    "pip/_vendor/distlib/LICENSE.txt": "PSF-2.0, which speaks of the GPL to say that it fits",
}
COPYLEFT = re.compile(
    r"GNU (Lesser |Affero |Library )?General Public|Mozilla Public", re.IGNORECASE
)


@pytest.fixture(scope="module")
def sbom() -> Any:
    return runpy.run_path(str(ROOT / "docs" / "make_sbom.py"))["sbom"]()


def test_it_lists_what_is_pinned_and_nothing_else(sbom: Any) -> None:
    """Read here by another rule than there: the lines with a marker are looked at by hand."""
    text = (ROOT / "requirements.txt").read_text("utf-8")
    pinned = {(n, v): m for n, v, m in re.findall(r"^([\w-]+)==(\S+)( ;)?", text, re.MULTILINE)}
    listed = {(c["name"].lower().replace("_", "-"), c["version"]) for c in sbom["components"]}
    assert len(listed) == len(sbom["components"])
    assert listed <= pinned.keys()
    assert pinned.keys() - listed <= {pin for pin, marker in pinned.items() if marker}
    assert {name for name, _ in pinned.keys() - listed} <= {"cryptography"}
    root = sbom["metadata"]["component"]
    assert (root["name"], root["licenses"][0]["license"]["id"]) == ("amanah-ledger", "Apache-2.0")


def test_it_is_of_one_piece_and_names_no_place_on_this_machine(sbom: Any) -> None:
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    refs = {c["bom-ref"] for c in (*sbom["components"], sbom["metadata"]["component"])}
    assert {node["ref"] for node in sbom["dependencies"]} == refs
    assert all(ref in refs for node in sbom["dependencies"] for ref in node["dependsOn"])
    assert "file:" not in json.dumps(sbom)
    assert str(ROOT) not in json.dumps(sbom)


def test_every_licence_is_known_and_allowed(sbom: Any) -> None:
    for component in sbom["components"]:
        licences = component.get("licenses", [])
        assert licences, component["name"]
        for licence in licences:
            assert is_allowed(licence), (component["name"], licence)


def is_allowed(licence: dict[str, Any]) -> bool:
    """Whether one of CycloneDX's `licenses` is in the list; of "a OR b" one is enough."""
    if "expression" in licence:
        expression = canonicalize_license_expression(licence["expression"])
        return any(
            set(choice.strip("() ").split(" AND ")) <= ALLOWED
            for choice in expression.split(" OR ")
        )
    named = licence["license"]
    return named.get("id") in ALLOWED or named.get("name") in ALLOWED_CLASSES


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ({"license": {"id": "MIT"}}, True),
        ({"license": {"id": "MPL-2.0"}}, False),
        ({"license": {"id": "GPL-3.0-only"}}, False),
        ({"license": {"name": "License :: Other/Proprietary License"}}, False),
        ({"license": {"name": "somebody's own"}}, False),
        ({"expression": "Apache-2.0 OR GPL-2.0-only"}, True),
        ({"expression": "Apache-2.0 AND GPL-2.0-only"}, False),
        ({"expression": "MIT AND Apache-2.0"}, True),
    ],
)
def test_the_list_is_no_rubber_stamp(licence: dict[str, Any], allowed: bool) -> None:
    assert is_allowed(licence) == allowed


def test_what_comes_inside_the_packages_is_known(sbom: Any) -> None:
    is_licence = re.compile(r"(licen[sc]e|copying|notice)[^/]*\Z", re.IGNORECASE)
    licences = [
        path
        for component in sbom["components"]
        for path in distribution(component["name"]).files or ()
        if is_licence.search(str(path)) and path.suffix != ".py"
    ]
    assert len(licences) >= len(sbom["components"])
    found = {str(path) for path in licences if COPYLEFT.search(path.read_text("utf-8"))}
    assert {re.sub(r"^.*\.dist-info/licenses/src/", "", path) for path in found} == INSIDE.keys()
