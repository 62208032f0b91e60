"""What guidance in a limited interval of the schedule costs and changes."""

from __future__ import annotations

from .compare import compare, contact_sheet
from .host_sampler import HostSampler
from .report import Section
from .solver_results import Task

SETTING = Task("plms", "ddim_uniform", 50, 5.0)
"""The paper's."""
INTERVALS = (
    (0.0, 1.0),
    (0.1, 1.0),
    (0.2, 1.0),
    (0.0, 0.9),
    (0.0, 0.8),
    (0.0, 0.6),
    (0.0, 0.4),
    (0.1, 0.8),
    (0.2, 0.8),
)


def study_intervals(sampler: HostSampler, setting: Task = SETTING) -> Section:
    """Paint with guidance in each interval; the whole schedule comes first, to compare with."""
    models = {
        f"{start:g} to {end:g}": sampler.guide_within(sampler.model, start, end)
        for start, end in INTERVALS
    }
    compared = compare(sampler, models, setting, "Guidance")
    rows = [
        [
            name,
            f"{each.evaluations:g}",
            f"{float(each.changes.square().mean().sqrt()):.1f}",
            *each.likeness,
        ]
        for name, each in compared.items()
    ]
    return Section(
        "Guidance in a limited interval",
        f"{len(next(iter(compared.values())).changes)} paintings for each interval: {setting.key}. "
        "Change: root mean square difference of the sampled regions to guidance throughout, of "
        "255. Top-1 and top-5 among the held-out objects (chance 5 % and 25 %); painted: cosine of "
        "the painted area's token to the exemplar's.",
        ["interval", "evaluations", "change", "top-1", "top-5", "painted"],
        rows,
        {"intervals.png": contact_sheet(compared)},
    )
