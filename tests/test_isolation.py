"""`exemplar_model` knows no host, and the pack does nothing when it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOST_MODULES = ("comfy", "comfy_api", "folder_paths", "nodes", "node_helpers", "latent_preview")
NOT_FOR_NODES = ("standalone", "__main__", "training")
NOT_IN_A_HOST = ("diffusers", "accelerate", "requests", "websocket", "rich")


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def import_all(blocked: tuple[str, ...], skipped: tuple[str, ...] = ()) -> str:
    """Import every module of the package where the blocked ones cannot be imported."""
    return f"""
import importlib, pkgutil, sys
for name in {blocked!r}:
    sys.modules[name] = None
import exemplar_model
for module in pkgutil.walk_packages(exemplar_model.__path__, "exemplar_model."):
    if module.name.split(".")[1] not in {skipped!r}:
        importlib.import_module(module.name)
        print(module.name)
"""


def test_exemplar_model_imports_without_any_host() -> None:
    imported = run(import_all(HOST_MODULES)).split()
    assert (
        "exemplar_model.region" in imported and "exemplar_model.standalone.components" in imported
    )


def test_nodes_need_nothing_beyond_what_a_host_has() -> None:
    """All that the nodes import works without the development requirements."""
    imported = run(import_all((*HOST_MODULES, *NOT_IN_A_HOST), NOT_FOR_NODES))
    assert "exemplar_model.weights.checkpoint" in imported.split()
    for path in (ROOT / "nodes").rglob("*.py"):
        assert not any(f"exemplar_model.{m}" in path.read_text() for m in NOT_FOR_NODES)


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
    assert run(code).splitlines() == ["./web False", "[]"]


def test_host_internals_are_touched_in_one_place() -> None:
    for path in (ROOT / "nodes").glob("*.py"):
        for line in path.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                module = line.split()[1]
                assert module.split(".")[0] not in {"comfy", "folder_paths", "node_helpers"}, path
