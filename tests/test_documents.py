"""What README, CONTRIBUTING and the other pages say exists, and the README's code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in (
        "*.md",
        "docs/*.md",
        "web/docs/*.md",
        "example_workflows/**/*.md",
        "lab/**/*.md",
    )
    for page in ROOT.glob(pattern)
    if "output" not in page.parts
)


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_contributing_names_files_that_exist() -> None:
    rows = re.findall(r"^\|.+\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w/.]+/[\w/.]*)`", row)}
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_code_of_the_readme_paints(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for name in ("example_workflows", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for each in code:
        subprocess.run([sys.executable, "-c", each], cwd=tmp_path, env=environment, check=True)
    with (
        Image.open(ROOT / "example_workflows" / "pictures" / "scene-1.png") as scene,
        Image.open(tmp_path / "painted.png") as painted,
    ):
        changed = ImageChops.difference(painted, scene.convert("RGB")).convert("L").point(bool)
        hole = scene.getchannel("A").point(lambda alpha: alpha < 128)
    assert changed.getbbox() == hole.getbbox()
