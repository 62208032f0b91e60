"""Classifier-free guidance in a limited interval of noise levels."""

from __future__ import annotations

from typing import Any

import comfy.samplers


def guide_within(model: Any, start: float, end: float) -> Any:
    """A clone of the MODEL that is guided within an interval of the noise schedule only.

    Source: Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval Improves Sample and
    Distribution Quality in Diffusion Models" (arXiv 2404.07724).

    Args:
        model: the MODEL; a function that another node set for evaluating its conditions is kept.
        start: where guidance begins, in [0, 1]; 0 is the noisiest level.
        end: where it ends, in [start, 1]; 1 is the clean end. Both ends belong to the interval.

    Raises:
        ValueError: the interval ends before it starts.
    """
    if start > end:
        raise ValueError(
            f"The guidance interval starts at {start:g} and ends before that, at {end:g}; give a "
            "start that is at most the end."
        )
    evaluate = model.model_options.get("sampler_calc_cond_batch_function", _evaluate)

    def evaluate_within(args: dict[str, Any]) -> list[Any]:
        sampling = args["model"].model_sampling
        lowest, highest = sampling.percent_to_sigma(end), sampling.percent_to_sigma(start)
        if lowest <= float(args["sigma"][0]) <= highest:
            return evaluate(args)
        positive, _ = args["conds"]
        prediction = evaluate({**args, "conds": [positive, None]})[0]
        # with equal halves, guidance of any strength gives just this half
        return [prediction, prediction]

    guided = model.clone()
    guided.set_model_sampler_calc_cond_batch_function(evaluate_within)
    return guided


def _evaluate(args: dict[str, Any]) -> list[Any]:
    """What the host does where no such function is set."""
    return comfy.samplers.calc_cond_batch(
        args["model"], args["conds"], args["input"], args["sigma"], args["model_options"]
    )
