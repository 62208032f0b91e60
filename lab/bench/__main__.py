"""Measure this pack against the stock host and against diffusers.

Each part stands alone and keeps its result, so that a long run can be done part by part; the report
is made of the parts that there are. Times are ratios of measurements taken in turns.
"""

from __future__ import annotations

import argparse
import datetime
import re
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from .models import DTYPE_NAMES
from .parts import PARTS, Settings
from .report import keep, kept, made_with, write_report
from .tables import TABLES, Table

console = Console()


def main() -> int:
    """Run the parts asked for, print their tables, write the report; 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help="folder of ComfyUI")
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of " + ",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each contestant")
    parser.add_argument("--steps", type=int, default=4, help="steps of a whole painting")
    dtypes = ["default", *DTYPE_NAMES.values()]
    parser.add_argument("--weight-dtype", choices=dtypes, default="default", help="ours, in stages")
    parser.add_argument("--output", type=Path, default=Path("lab/output/bench"))
    given = parser.parse_args()
    parts = given.parts.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(f"there is no part {min(unknown)}; choose some of {', '.join(PARTS)}")
    if not Path("/proc/self/status").is_file():
        parser.error("memory is read from /proc, which needs Linux")
    # ends as an exception, so that models of gigabytes are deleted
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given.output.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        given.comfyui, given.size, given.rounds, given.steps, given.output, given.weight_dtype
    )
    failed = [part for part in parts if not run(part, settings)]
    console.print(f"Report: {write_report(given.output, given.size)}")
    return 1 if failed else 0


def run(part: str, settings: Settings) -> bool:
    """Measure one part, keep its result and print its tables."""
    console.print(f"Measuring {part} …")
    asked = f"--size {settings.size} --rounds {settings.rounds} --steps {settings.steps}"
    if settings.weight_dtype != "default":
        asked += f" --weight-dtype {settings.weight_dtype}"
    try:
        result = PARTS[part](settings)
    except subprocess.CalledProcessError:
        console.print(f"[red]{part} failed; why stands above.[/red]")
        return False
    result["command"] = f"nox -s bench -- --parts {part} {asked}"
    result["date"] = datetime.date.today().isoformat()
    result["host"] = host_version(settings.comfyui)
    keep(settings.output, part, settings.size, result)
    for table in TABLES[part](kept(settings.output, settings.size)[part]):
        console.print(rich_table(table))
    console.print(made_with(result))
    return True


def host_version(comfyui: Path) -> str:
    """As the host's tree states it."""
    found = re.search(r'"(.+)"', (comfyui / "comfyui_version.py").read_text())
    return found[1] if found else "of unknown version"


def rich_table(table: Table) -> RichTable:
    """For the terminal."""
    shown = RichTable(*table.columns, title=table.title, caption=table.text)
    for row in table.rows:
        shown.add_row(*row)
    return shown


if __name__ == "__main__":
    raise SystemExit(main())
