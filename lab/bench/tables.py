"""Tables of the results: every time is a ratio of measurements taken in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from lab.study.report import markdown_table

EVALUATIONS = (11, 21, 51)
"""Of 10, 20 and 50 steps of PLMS, whose first step evaluates twice."""
DEFAULT_EVALUATIONS = (25, 51)
"""Of the defaults: 25 steps of dpmpp_2m in this pack, 50 steps of PLMS in diffusers."""
YARDSTICK_LAYOUT = "safetensors fp32"
Result = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """One table with what there is to say about it."""

    title: str
    text: str
    columns: list[str]
    rows: list[list[str]]

    def to_markdown(self) -> str:
        """Heading, text and table."""
        return f"### {self.title}\n\n{self.text}\n\n{markdown_table(self.columns, self.rows)}"


@dataclass(frozen=True)
class Spread:
    """Median and extremes of what was measured in several rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        middle = _number(self.median)
        if self.low == self.high:
            return middle
        return f"{middle} ({_number(self.low)}–{_number(self.high)})"


def ratio(one: Sequence[float], other: Sequence[float]) -> Spread:
    """Quotients of measurements of the same round."""
    quotients = [a / b for a, b in zip(one, other, strict=True)]
    return Spread(median(quotients), min(quotients), max(quotients))


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def peak_shares(result: Result) -> dict[str, Spread]:
    """Operations per second of each contestant, over those of the matrix product."""
    matmul = result["matmul"]
    shares: dict[str, Spread] = {}
    for name, entry in result["contestants"].items():
        found = ratio(matmul["seconds"], entry["seconds"])
        scale = entry["flops"] / matmul["flops"]
        shares[name] = Spread(*(scale * each for each in (found.median, found.low, found.high)))
    return shares


def step_tables(result: Result) -> list[Table]:
    """The denoiser's contestants."""
    contestants, shares = result["contestants"], peak_shares(result)
    rows = [
        [
            name,
            *(
                str(ratio(entry["seconds"], contestants[other]["seconds"]))
                for other in ("diffusers", "stock host")
            ),
            f"{entry['flops'] / 1e9:.4g}",
            str(shares[name]),
            f"{entry['difference']:.1e}",
        ]
        for name, entry in contestants.items()
    ]
    text = (
        f"One evaluation of a guided step: a batch of two, {result['dtype']}, on equal weights and "
        "inputs. The peak is a large matrix product in the same rounds; the difference is the "
        "relative L2 distance of the outputs to those of diffusers."
    )
    columns = ["", "time / diffusers", "time / stock host", "GFLOP", "share of peak", "difference"]
    return [Table("One guided step", text, columns, rows)]


def stages_tables(result: Result) -> list[Table]:
    """A whole painting: its stages, its memory, and what follows for other numbers of steps."""
    ours, theirs = result["runs"]["ours"], result["runs"]["diffusers"]
    by_stage: list[list[str]] = []
    for name in ours[0]["seconds"]:
        mine = [run["seconds"][name] for run in ours]
        shares = [ratio(mine, [sum(run["seconds"].values()) for run in ours])]
        cells = ["–", "–"]
        if name in theirs[0]["seconds"]:
            other = [run["seconds"][name] for run in theirs]
            shares.append(ratio(other, [sum(run["seconds"].values()) for run in theirs]))
            cells = [_percent(shares[1]), str(ratio(mine, other))]
        calls = (str(runs[0]["calls"].get(name, "–")) for runs in (ours, theirs))
        by_stage.append([name, *calls, _percent(shares[0]), *cells])
    memory = [
        [label, *(f"{_gigabytes(runs, key):.2f}" for runs in (ours, theirs)), _over(runs, key)]
        for label, key in (
            ("anonymous memory, GB", "anonymous"),
            ("resident memory with mapped files, GB", "resident"),
            ("memory of the GPU, GB", "gpu"),
        )
        if ours[0][key] is not None
        for runs in [(ours, theirs)]
    ]
    computed = [
        [
            str(n),
            str(m),
            str(ratio([whole(run, n) for run in ours], [whole(run, m) for run in theirs])),
        ]
        for n, m in [*((n, n) for n in EVALUATIONS), DEFAULT_EVALUATIONS]
    ]
    about = (
        f"{result['steps']} steps of PLMS, each contestant in a process of its own, in turns. The "
        f"pictures differ by {result['difference']:.1e} (relative L2)."
    )
    both = ["ours", "diffusers"]
    columns = ["stage", "calls, ours", "calls, diffusers", *(f"share of {n}" for n in both)]
    without = (
        "From the measured stages, without loading: one painting of so many evaluations. Last, the "
        "defaults of both."
    )
    return [
        Table("A whole painting", about, [*columns, "time, ours / diffusers"], by_stage),
        Table("Peak of memory", "Of the whole process.", ["", *both, "ours / diffusers"], memory),
        Table(
            "Whole runs, computed, not measured",
            without,
            [*(f"evaluations, {each}" for each in both), "time, ours / diffusers"],
            computed,
        ),
    ]


def whole(run: Result, evaluations: int) -> float:
    """Seconds of a painting of so many evaluations, computed from one of fewer, without loading."""
    seconds = run["seconds"]
    sampling = seconds["UNet"] + seconds["rest of sampling"]
    fixed = sum(seconds.values()) - sampling - seconds["load"]
    return fixed + sampling / run["calls"]["UNet"] * evaluations


def _percent(share: Spread) -> str:
    return f"{100 * share.median:.1f} %"


def _gigabytes(runs: list[Result], key: str) -> float:
    return median(run[key] for run in runs) / 1e9


def _over(runs: tuple[list[Result], list[Result]], key: str) -> str:
    return str(ratio(*([run[key] for run in each] for each in runs)))


def growth_tables(result: Result) -> list[Table]:
    """Photo, regions, steps."""
    resolution, hole = result["resolution"], result["hole"]
    photo, steps = result["photo"], result["steps"]

    def relative(points: Result) -> dict[str, str]:
        first = next(iter(points.values()))["seconds"]
        return {at: str(ratio(point["seconds"], first)) for at, point in points.items()}

    def added(points: Result) -> dict[str, str]:
        return {at: f"{median(p['bytes']) / 1e6:.0f}" for at, p in points.items()}

    first = int(next(iter(steps)))
    by_photo = [
        [at, relative(photo)[at], added(photo)[at], f"{12 * int(at) ** 2 / 1e6:.0f}"]
        for at in photo
    ]

    def of_regions(which: str) -> Table:
        regions, apart = result[f"{which}regions"], result[f"{which}apart"]
        rows = [
            [
                at,
                relative(regions)[at],
                str(ratio(regions[at]["seconds"], apart[at]["seconds"])),
                added(regions)[at],
                added(apart)[at],
            ]
            for at in regions
        ]
        side = result[f"{which}resolution"]
        return Table(
            f"Growth with the regions of one picture, {side} pixels each",
            f"{small}; in one painting, and one after another.",
            ["regions", time, "one painting / one by one", memory, "one by one, MB"],
            rows,
        )

    by_steps = [
        [at, relative(steps)[at], f"{(int(at) + 1) / (first + 1):.2f}", added(steps)[at]]
        for at in steps
    ]
    small = "With a small random model on the CPU"
    time, memory = "time / first row", "memory added, MB"
    return [
        Table(
            "Growth with the photo",
            f"{small}, a hole of {hole} pixels, region painted at {resolution} pixels. A larger "
            "model makes the growth of time smaller, as more of it is sampling.",
            ["side, pixels", time, memory, "the photo itself, MB"],
            by_photo,
        ),
        of_regions(""),
        of_regions("small "),
        Table(
            "Growth with the steps",
            f"{small}.",
            ["steps", time, "evaluations / first row", memory],
            by_steps,
        ),
    ]


def loading_tables(result: Result) -> list[Table]:
    """Layouts of one model."""
    runs = result["runs"]
    seconds = {name: [run["seconds"] for run in entries] for name, entries in runs.items()}
    rows = [
        [
            name,
            f"{entries[0]['needed'] / 1e9:.2f}",
            f"{_gigabytes(entries, 'peak'):.2f}",
            str(ratio([run["peak"] for run in entries], [run["needed"] for run in entries])),
            str(ratio(seconds[name], seconds[YARDSTICK_LAYOUT])),
        ]
        for name, entries in runs.items()
    ]
    text = (
        "On the CPU, files in the page cache. Needed are all parameters and buffers of what was "
        "loaded; the peak is anonymous memory above that before loading."
    )
    yardstick = f"time / {YARDSTICK_LAYOUT}"
    columns = ["layout", "needed, GB", "peak, GB", "peak / needed", yardstick]
    return [Table("Loading", text, columns, rows)]


TABLES = {
    "step": step_tables,
    "stages": stages_tables,
    "growth": growth_tables,
    "loading": loading_tables,
}
