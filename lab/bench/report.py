"""The report: of those benchmarks that have been run, at one size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exemplar_model.files import written_whole

from .plots import PLOTS
from .tables import TABLES


def keep(output: Path, name: str, size: str, result: dict[str, Any]) -> None:
    """Write the result of a benchmark, in place of an earlier one."""
    with written_whole(_file(output, name, size)) as unfinished:
        unfinished.write_text(json.dumps(result, indent=1))


def kept(output: Path, size: str) -> dict[str, dict[str, Any]]:
    """Results by benchmark."""
    files = {name: _file(output, name, size) for name in TABLES}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}


def _file(output: Path, name: str, size: str) -> Path:
    return output / f"{name}-{size}.json"


def write_report(output: Path, size: str) -> Path:
    """Write `benchmarks.md` and a plot of each benchmark that there is a result of."""
    lines = [f"# Benchmarks, {size} size\n"]
    for name, result in kept(output, size).items():
        plot = f"benchmark-{name}.png"
        PLOTS[name](result).savefig(output / plot, dpi=110)
        lines.append(f"## {name.capitalize()}\n\n{made_with(result)}\n")
        lines += [table.to_markdown() for table in TABLES[name](result)]
        lines.append(f"![{name}]({plot})\n")
    report = output / "benchmarks.md"
    report.write_text("\n".join(lines), encoding="utf-8")
    return report


def made_with(result: dict[str, Any]) -> str:
    """Command, date, versions and machine, in a sentence."""
    about = result["about"]
    gpu = f", {about['gpu']}" if about["gpu"] else ""
    return (
        f"`{result['command']}` on {result['date']}: PyTorch {about['torch']}, ComfyUI "
        f"{result['host']}, {about['cpu']}{gpu}, threads: {about['threads']}."
    )
