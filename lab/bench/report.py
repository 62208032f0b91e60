"""The report: of those parts that have been measured, at one size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exemplar_model.files import written_whole

from .plots import PLOTS
from .tables import TABLES


def keep(output: Path, part: str, size: str, result: dict[str, Any]) -> None:
    """Write the result of a part, in place of an earlier one."""
    with written_whole(_file(output, part, size)) as unfinished:
        unfinished.write_text(json.dumps(result, indent=1))


def kept(output: Path, size: str) -> dict[str, dict[str, Any]]:
    """Results by part."""
    files = {part: _file(output, part, size) for part in TABLES}
    return {part: json.loads(file.read_text()) for part, file in files.items() if file.is_file()}


def _file(output: Path, part: str, size: str) -> Path:
    return output / f"{part}-{size}.json"


def write_report(output: Path, size: str) -> Path:
    """Write `benchmarks.md` and a plot of each part that there is a result of."""
    lines = [f"# Benchmarks, {size} size\n"]
    for part, result in kept(output, size).items():
        plot = f"benchmark-{part}.png"
        PLOTS[part](result).savefig(output / plot, dpi=110)
        lines.append(f"## {part.capitalize()}\n\n{made_with(result)}\n")
        lines += [table.to_markdown() for table in TABLES[part](result)]
        lines.append(f"![{part}]({plot})\n")
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
