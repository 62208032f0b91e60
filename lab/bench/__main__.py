"""Measure this pack against the stock host and against diffusers.

Each benchmark stands alone and keeps its result, so that a long run can be done in pieces; the
report is made of the results that there are. Times are ratios of measurements taken in turns.
"""

from __future__ import annotations

import datetime
import re
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from lab.arguments import tool_arguments

from .benchmarks import BENCHMARKS, Settings
from .models import DTYPE_NAMES
from .report import keep, kept, made_with, write_report
from .tables import TABLES, Table

console = Console()


def main() -> int:
    """Run what is asked for, print tables, write the report; 1 if a benchmark failed."""
    parser = tool_arguments(__doc__, output="bench")
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    names = ",".join(BENCHMARKS)
    parser.add_argument("--only", default=names, help=f"some of {names}")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each contestant")
    parser.add_argument("--steps", type=int, default=4, help="steps of a whole painting")
    dtypes = ["default", *DTYPE_NAMES.values()]
    parser.add_argument("--weight-dtype", choices=dtypes, default="default", help="ours, in stages")
    given = parser.parse_args()
    chosen = given.only.split(",")
    if unknown := set(chosen) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {min(unknown)}; choose some of {names}")
    if not Path("/proc/self/status").is_file():
        parser.error("memory is read from /proc, which needs Linux")
    # ends as an exception, so that models of gigabytes are deleted
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given.output.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        given.comfyui, given.size, given.rounds, given.steps, given.output, given.weight_dtype
    )
    failed = [name for name in chosen if not run(name, settings)]
    console.print(f"Report: {write_report(given.output, given.size)}")
    return 1 if failed else 0


def run(name: str, settings: Settings) -> bool:
    """Measure one thing, keep its result and print its tables."""
    console.print(f"Measuring {name} …")
    asked = f"--size {settings.size} --rounds {settings.rounds} --steps {settings.steps}"
    if settings.weight_dtype != "default":
        asked += f" --weight-dtype {settings.weight_dtype}"
    try:
        result = BENCHMARKS[name](settings)
    except subprocess.CalledProcessError:
        console.print(f"[red]{name} failed; why stands above.[/red]")
        return False
    result["command"] = f"nox -s bench -- --only {name} {asked}"
    result["date"] = datetime.date.today().isoformat()
    result["host"] = host_version(settings.comfyui)
    keep(settings.output, name, settings.size, result)
    for table in TABLES[name](kept(settings.output, settings.size)[name]):
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
