"""The house rules that a machine can hold: one way down, a light core, a clean tree."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools import find_packages

from tests.support import unmeasured

ROOT = Path(__file__).parents[1]

# One way down: a file imports only from lower floors. A name that ends in ".*" is a package
# whose files share a floor and may use each other, as long as no circle comes of it.
FLOORS = {
    "ledger": 0,  # every import runs ledger/__init__.py, so it may import nothing of ours
    "ledger.errors": 0,
    "ledger.signing": 0,  # others copy it: it imports nothing of ours
    "ledger.disk": 0,
    "ledger.batches": 1,
    "ledger.tlog.*": 1,
    "ledger.spans": 1,
    "ledger.goods": 1,
    "ledger.disclosure": 1,
    "ledger.entry": 2,
    "ledger.money": 1,
    "ledger.state": 2,
    "ledger.signatures": 2,
    "ledger.books.*": 3,
    "ledger.chain": 3,
    "ledger.config": 3,
    "ledger.tripwire": 3,
    "schemas.*": 3,
    "ledger.scratch": 3,
    "ledger.stocks": 3,
    "ledger.rules": 4,
    "ledger.walk.*": 5,
    "ledger.audit": 6,
    "ledger.exports.*": 7,
    "ledger.remember": 7,
    "ledger.outgrown": 7,
    "ledger.compare": 7,
    "ledger.client": 5,
    "ledger.post": 4,
    "ledger.store.*": 5,
    "ledger.target": 4,
    "ledger.importers.*": 5,
    "ledger.views.*": 3,
    "ledger.viewing": 6,
    "ledger.sequencer": 6,
    "ledger.problems": 1,
    "ledger.keeping": 8,
    "ledger.service": 7,
    "ledger.doctor.*": 8,
    "ledger.answering": 8,
    "ledger.api": 9,
    "ledger.api_views": 9,
    "ledger.web": 8,
    "ledger.app": 10,
    "ledger.drain": 0,
    "ledger.trust": 8,
    "ledger.proving": 9,
    "amanah": 10,
    "ledger.logs": 0,
    "ledger.metrics": 0,
    "ledger.limits": 1,
    "ledger.admission": 1,
    "ledger.connection": 2,
    "ledger.shared": 4,
    "ledger.worker": 5,
    "ledger.exchange": 2,
    "ledger.asgi": 11,
    "ledger.demo": 11,
    "ledger.commands.*": 12,
    "ledger.cli": 13,
    "ledger.__main__": 14,
}

# What re-hashes and judges must not reach storage, HTTP or Flask, not even through a helper.
PURE = ("ledger.tlog.*", "ledger.audit", "ledger.views.*")
IMPURE = ("sqlite3", "sqlite_utils", "flask", "ledger.store", "urllib3", "socket")


def module_name(path: Path) -> str:
    """The dotted name of a file: ledger/tlog/__init__.py is ledger.tlog."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for package in ("amanah", "ledger", "schemas")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def is_in(name: str, area: str) -> bool:
    """Whether module `name` is `area`, or in it: "a.*" and "a" hold a and a.b, but not ab."""
    area = area.removesuffix(".*")
    return name == area or name.startswith(area + ".")


def area_of(name: str) -> str:
    """The key of FLOORS that `name` belongs to."""
    areas = [a for a in FLOORS if a == name or (a.endswith(".*") and is_in(name, a))]
    assert len(areas) == 1, f"{name}: give it a floor (FLOORS in tests/test_house.py)"
    return areas[0]


def imports_of(name: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, wherever in the file it does.

    `from a import b` counts as a.b when that is one of our modules, else as a. Imports within
    functions and under TYPE_CHECKING count too: knowing what stands above is what is forbidden.
    """
    path = MODULES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else source


def own_imports_of(name: str) -> Iterator[tuple[int, str]]:
    """The imports of `name` that lie in this repository."""
    for line, target in imports_of(name):
        if any(is_in(target, package) for package in ("amanah", "ledger", "schemas")):
            yield line, target


@pytest.mark.parametrize("name", MODULES)
def test_a_file_imports_only_from_below(name: str) -> None:
    area = area_of(name)
    for line, target in own_imports_of(name):
        at = f"{MODULES[name].relative_to(ROOT)}:{line}: {name} imports {target}"
        assert target in MODULES, f"{at}, which does not exist"
        if area.endswith(".*") and area_of(target) == area:
            continue  # the same package: the next test looks for circles
        assert FLOORS[area_of(target)] < FLOORS[area], f"{at}, which is not below it"


def test_no_import_circles() -> None:
    graph = {name: {target for _, target in own_imports_of(name)} for name in MODULES}
    # A package's own __init__ runs before its files: naming it from inside is no dependency.
    for name, targets in graph.items():
        graph[name] = {t for t in targets if not is_in(name, t)}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError and names the circle


@pytest.mark.parametrize("name", [m for m in MODULES if any(is_in(m, area) for area in PURE)])
def test_the_core_reaches_no_storage_and_no_network(name: str) -> None:
    seen: set[str] = set()
    to_see = [name]
    while to_see:
        here = to_see.pop()
        seen.add(here)
        for line, target in imports_of(here):
            bad = [impure for impure in IMPURE if is_in(target, impure)]
            assert not bad, f"{MODULES[here].relative_to(ROOT)}:{line} brings {bad} into {name}"
            if target in MODULES and target not in seen:
                to_see.append(target)


def test_verifying_loads_neither_flask_nor_sqlite() -> None:
    wanted = [name for name in ("ledger.audit", "ledger.tlog.proof") if name in MODULES]
    # A fresh interpreter: in this one, other tests have imported everything long ago.
    code = (
        "import importlib, json, sys\n"
        f"for name in {wanted}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=unmeasured(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded: list[str] = json.loads(run.stdout)
    heavy = ("flask", "werkzeug", "sqlite3", "sqlite_utils", "urllib3", "ledger.store")
    assert [m for m in loaded if any(is_in(m, bad) for bad in heavy)] == []


def test_every_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [dep for deps in project.get("optional-dependencies", {}).values() for dep in deps]
    names = [re.split(r"[^\w-]", dep)[0] for dep in [*project["dependencies"], *extras]]
    known = {name.replace("-", "_") for name in names} | sys.stdlib_module_names
    known |= {"amanah", "ledger", "schemas", "werkzeug"}  # werkzeug is Flask's own other half
    used = {(target.split(".")[0], name) for name in MODULES for _, target in imports_of(name)}
    assert sorted((lib, name) for lib, name in used if lib not in known) == []


VENDORED = ROOT / "ledger" / "static" / "vendor"  # other people's files, byte for byte


def our_text_files() -> list[Path]:
    """Every file of ours that git tracks or would add, and that is UTF-8 text."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if run.returncode == 0:
        paths = [ROOT / name for name in run.stdout.decode().split("\0") if name]
    else:  # an unpacked source archive has no .git: look at the code at least
        folders = ("amanah", "ledger", "schemas", "tests")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    paths = [path for path in paths if not path.is_relative_to(VENDORED)]
    return [path for path in paths if path.is_file() and is_text(path.read_bytes())]


def is_text(content: bytes) -> bool:
    """UTF-8 without NUL bytes, which is about what git itself calls text."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


# The brackets keep this file from finding itself.
UNWANTED = re.compile(r"\b(?:TOD[O]|FIXM[E])\b|/wor[k]/|/tmp/v[0]")


def test_nothing_unfinished_and_no_paths_of_one_machine() -> None:
    found = []
    for path in our_text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if UNWANTED.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "lock",
    [
        "requirements.txt",
        "requirements-dev.txt",
        "requirements-deep.txt",
        "tests/foreign/requirements.txt",
    ],
)
def test_lock_files_are_hashed_and_name_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    # One logical line per package; comments and the backslashes that join lines fall away.
    packages = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines()
    assert packages
    for package in packages:
        assert re.match(r"[a-z0-9-]+==[^\s]+ .*--hash=sha256:[0-9a-f]{64}", package), package


def test_the_wheel_carries_every_package_and_says_that_it_is_typed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(find_packages(str(ROOT), include=include)) == packages
    copied = re.findall(r"(?m)^COPY (\w+) ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    tops = {name for name in packages if "." not in name}
    assert set(copied) & set(MODULES) == tops
    for top in tops:
        assert (ROOT / top / "py.typed").exists(), top
        assert f"\n!{top}\n" in (ROOT / ".dockerignore").read_text(encoding="utf-8"), top


def test_the_build_tool_is_pinned_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (pin,) = project["build-system"]["requires"]
    assert project["dependency-groups"]["build"] == [pin]
    for lock in ("requirements-build.txt", "requirements-dev.txt"):
        assert f"\n{pin} " in "\n" + (ROOT / lock).read_text(encoding="utf-8"), lock
