"""What each room of the repository may import; arrows go down only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
OWN = ("exemplar_model", "nodes", "lab", "tests")
ROOMS = {  # by the start of a module's name, the longest that fits
    "": "pack",  # the root's __init__.py
    "exemplar_model": "core",
    "exemplar_model.standalone": "standalone",
    "exemplar_model.standalone.bulk": "bulk",
    "exemplar_model.training": "training",
    "exemplar_model.training.config": "training.config",
    "exemplar_model.training.data_config": "training.config",
    "exemplar_model.training.section": "training.config",
    "exemplar_model.training.data": "training.data",
    "exemplar_model.training.stages": "training.stages",
    "exemplar_model.evaluation": "evaluation",
    "exemplar_model.__main__": "command line",
    "nodes": "nodes",
    "nodes.host": "host",
    "lab": "lab",
    "tests": "tests",
}
TRAINING = {"training", "training.config", "training.data", "training.stages"}
BELOW = {
    "core": {"core"},
    "standalone": {"standalone", "core"},
    "bulk": {"bulk", "standalone", "core"},
    "training.config": {"training.config", "standalone", "core"},
    "training.data": {"training.data", "training.config", "core"},
    "training.stages": TRAINING - {"training"} | {"standalone", "core"},
    "training": TRAINING | {"standalone", "core"},
    "evaluation": {"evaluation", "standalone", "core"},
    "command line": {"bulk", *TRAINING, "evaluation", "standalone", "core"},
    "host": {"host", "core"},
    "nodes": {"nodes", "host", "core"},
    "pack": {"nodes"},
    "lab": {"lab", *TRAINING, "evaluation", "standalone", "core"},
    "tests": {
        *("tests", "lab", "command line"),
        *("bulk", *TRAINING, "evaluation"),
        *("standalone", "core"),
    },
}
SHIPPED = set(BELOW) - {"lab", "tests"}
IN_A_HOST = {"torch", "transformers", "safetensors", "numpy", "PIL", "scipy"}
"""Libraries that ComfyUI has itself."""
HOST_INTERNALS = {
    *("comfy", "comfy_execution", "comfy_extras", "execution", "folder_paths", "latent_preview"),
    *("node_helpers", "nodes", "server", "utils"),
}
EXTRAS = {
    "core": ["standalone"],
    "standalone": ["standalone"],
    "bulk": ["bulk"],
    **{room: ["train"] for room in sorted(TRAINING)},
    "evaluation": ["evaluate"],
}
"""What has to be installed for a room, where there is no ComfyUI."""


class Import(NamedTuple):
    """One import of a file, wherever in it."""

    path: Path
    line: int
    name: str
    """With the dots of the file's own package in place of the leading ones."""
    relative: bool

    @property
    def top(self) -> str:
        return self.name.split(".")[0]

    @property
    def own(self) -> bool:
        """Whether it is of this repository; a top-level `nodes` is ComfyUI's."""
        return self.relative or self.top in {*OWN, "support"} - {"nodes"}

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.name}"


def room_of(name: str) -> str:
    """The room that a module of this repository is in."""
    if name.split(".")[0] == "support":  # tests/ is on the path of the tests
        return "tests"
    starts = [start for start in ROOMS if f"{name}.".startswith(f"{start}." if start else "")]
    return ROOMS[max(starts, key=len)]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, code: str | None = None) -> Iterator[Import]:
    """All imports of a file, indented ones and `import_module("…")` too."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text() if code is None else code)):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield Import(path, node.lineno, each.name, False)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = [*above, *([node.module] if node.module else [])]
            for each in node.names:
                yield Import(path, node.lineno, ".".join([*start, each.name]), node.level > 0)
        elif isinstance(node, ast.Call) and node.args:
            function, first = node.func, node.args[0]
            called = getattr(function, "attr", getattr(function, "id", None))
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield Import(path, node.lineno, first.value, False)


FILES = [ROOT / "__init__.py", *(each for name in OWN for each in (ROOT / name).rglob("*.py"))]
IMPORTS = [(room_of(module_of(path)), each) for path in FILES for each in imports_of(path)]


def nothing(found: Iterator[Import]) -> None:
    lines = "\n".join(map(str, found))
    assert not lines, lines


def test_arrows_between_rooms_go_down() -> None:
    assert {room for room, _ in IMPORTS} >= BELOW.keys()
    nothing(each for room, each in IMPORTS if each.own and room_of(each.name) not in BELOW[room])


def test_no_training_stage_imports_another() -> None:
    """What stages share is in files of its own, which know no stage either."""
    folder = ROOT / "exemplar_model" / "training" / "stages"
    shared = {"__init__", "stage", "latents", "initial_weights"}
    stages = {path.stem for path in folder.glob("*.py")} - shared
    assert len(stages) >= 3
    package = f"{module_of(folder)}."
    nothing(
        each
        for _, each in IMPORTS
        if each.path.parent == folder
        and each.name.startswith(package)
        and each.name.removeprefix(package).split(".")[0] in stages
    )


def test_internals_of_the_host_are_touched_in_one_room() -> None:
    assert any(each.top == "comfy" for room, each in IMPORTS if room == "host")
    nothing(
        each
        for room, each in IMPORTS
        if room != "host" and not each.own and each.top in HOST_INTERNALS
    )


def test_the_host_s_public_interface_is_for_nodes() -> None:
    nothing(
        each for room, each in IMPORTS if each.top == "comfy_api" and room not in ("nodes", "host")
    )


def test_what_ships_imports_itself_relatively() -> None:
    """In ComfyUI the pack has another name."""
    nothing(each for room, each in IMPORTS if room in SHIPPED and each.own and not each.relative)


def test_nodes_need_nothing_beyond_what_a_host_has() -> None:
    allowed = IN_A_HOST | HOST_INTERNALS | {"comfy_api"} | sys.stdlib_module_names
    nothing(
        each
        for room, each in IMPORTS
        if room in ("pack", "nodes", "host", "core") and not each.own and each.top not in allowed
    )


@pytest.mark.parametrize("room", EXTRAS)
def test_an_extra_lists_what_its_room_imports(room: str) -> None:
    wanted = requirements(EXTRAS[room])
    distributions = packages_distributions()
    nothing(
        each
        for room_, each in IMPORTS
        if room_ == room
        and not each.own
        and each.top not in sys.stdlib_module_names
        and not wanted & set(map(canonicalize_name, distributions.get(each.top, [each.top])))
    )


def requirements(extras: list[str]) -> set[str]:
    """Names of the distributions that the extras ask for, themselves or by other extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == []
    names: set[str] = set()
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            each = Requirement(line)
            if each.name == project["name"]:
                names |= requirements(sorted(each.extras))
            names.add(canonicalize_name(each.name))
    return names


@pytest.mark.parametrize(
    ("file", "code", "name"),
    [
        ("nodes/load.py", "def f():\n    import latent_preview", "latent_preview"),
        ("nodes/load.py", "from ..exemplar_model import training", "exemplar_model.training"),
        ("nodes/host/model.py", "from ...lab.host import x", "lab.host.x"),
        ("lab/bench/step.py", "importlib.import_module('comfy.sd')", "comfy.sd"),
        ("exemplar_model/training/data/a.py", "from ..engine import x", "exemplar_model.training"),
        ("exemplar_model/training/data/a.py", "from ..stages import x", "exemplar_model.training"),
        ("exemplar_model/training/stages/a.py", "from .. import engine", "exemplar_model.training"),
        ("exemplar_model/training/config.py", "from .data import x", "exemplar_model.training"),
        ("exemplar_model/image.py", "from .standalone.cli import m", "exemplar_model.standalone"),
    ],
)
def test_imports_are_found_wherever_they_stand(file: str, code: str, name: str) -> None:
    (found,) = imports_of(ROOT / file, code)
    assert found.name.startswith(name)
    room = room_of(module_of(ROOT / file))
    assert (room_of(name) not in BELOW[room]) if found.own else (found.top in HOST_INTERNALS)


def test_importing_the_pack_has_no_side_effects() -> None:
    code = f"""
import importlib.util, sys
before = set(sys.modules)
spec = importlib.util.spec_from_file_location(
    "pack", {str(ROOT / "__init__.py")!r}, submodule_search_locations=[{str(ROOT)!r}]
)
module = importlib.util.module_from_spec(spec)
sys.modules["pack"] = module
spec.loader.exec_module(module)
print(module.WEB_DIRECTORY, hasattr(module, "NODE_CLASS_MAPPINGS"))
print(sorted(name for name in set(sys.modules) - before if name.startswith(("torch", "comfy"))))
"""
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["./web False", "[]"]
