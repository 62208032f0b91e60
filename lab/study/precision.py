"""What smaller weights change in the picture."""

from __future__ import annotations

from typing import Any

from .compare import compare, contact_sheet
from .host_sampler import HostSampler
from .report import Section
from .solver_results import Task


def study_precision(sampler: HostSampler, setting: Task) -> Section:
    """Paint with the denoiser's weights in each type; fp32 comes first, to compare with."""
    models = {name: sampler.load(name) for name in sampler.weight_dtypes}
    compared = compare(sampler, models, setting, "Precision")
    rows = [
        [
            name,
            _computes_in(models[name]),
            f"{float(each.changes.mean()):.2f}",
            f"{float(each.changes.max()):.2f}",
            *each.likeness,
        ]
        for name, each in compared.items()
    ]
    paintings = len(compared["fp32"].changes)
    return Section(
        "Smaller weights",
        f"{paintings} paintings in the host for each *weight_dtype* ({setting.key}), on this "
        "machine's CPU. Change: root mean square difference of a sampled region to that of fp32, "
        "of 255, mean and largest of the paintings; top-1, top-5 and painted as with poor "
        "exemplars.",
        ["weights", "computes in", "change", "largest", "top-1", "top-5", "painted"],
        rows,
        {"precision.png": contact_sheet(compared)},
    )


def _computes_in(model: Any) -> str:
    dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    return str(dtype).removeprefix("torch.")
