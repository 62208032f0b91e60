"""Several exemplars for one area, mixed by the host's own conditioning nodes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lab.host.graphs import Graph, Link, Run
from lab.host.headless import Host

NAMES = ("face", "paw", "coffee")


class Mix:
    """A graph with an encoded exemplar for each name, and readers for what is made of them."""

    def __init__(self, host: Host, **encode: Any) -> None:
        self.host = host
        self.graph = Graph()
        self.loader = self.graph.load("narrow.safetensors")
        self.nodes = {
            name: self.graph.encode(self.loader, self.graph.image(name), **encode) for name in NAMES
        }
        self.null: Link = [self.nodes["face"], 1]

    def __getitem__(self, name: str) -> Link:
        return [self.nodes[name], 0]

    def average(self, to: Link, other: Link, strength: float) -> Link:
        inputs = {"conditioning_to": to, "conditioning_from": other}
        return self.add("ConditioningAverage", conditioning_to_strength=strength, **inputs)

    def concat(self, to: Link, other: Link) -> Link:
        return self.add("ConditioningConcat", conditioning_to=to, conditioning_from=other)

    def switched(self, first: Link, then: Link, at: float) -> Link:
        """One conditioning for the first share of the schedule, another for the rest."""
        early, late = (
            self.add("ConditioningSetTimestepRange", conditioning=each, start=start, end=end)
            for each, start, end in ((first, 0.0, at), (then, at, 1.0))
        )
        return self.add("ConditioningCombine", conditioning_1=early, conditioning_2=late)

    def add(self, class_type: str, **inputs: Any) -> Link:
        return [self.graph.add(class_type, **inputs), 0]

    def contexts(self, *positives: Link) -> list[Tensor]:
        """What the conditionings hold, by way of Save Exemplar."""
        saved = [
            self.graph.add(
                "SaveExemplar",
                positive=positive,
                negative=self.null,
                view=[self.nodes["face"], 2],
                encoder=[self.loader, 1],
                filename_prefix="mix",
            )
            for positive in positives
        ]
        outputs = Run(self.host, self.graph).outputs
        files = [self.host.output(outputs[node]["exemplars"][0]) for node in saved]
        return [load_file(file)["context"] for file in files]

    def latents(self, *positives: Link) -> list[Tensor]:
        """What Exemplar Inpaint Sampler paints by the conditionings."""
        graph = self.graph
        image, mask = graph.image("odd"), graph.masks(["odd_mask"])
        saved = []
        for positive in positives:
            sample = graph.sample(self.loader, self.nodes["face"], image, mask, positive=positive)
            saved.append(graph.save_latent([sample, 1]))
        run = Run(self.host, graph)
        return [run.latent(node) for node in saved]


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_average_of_two_is_a_weighted_mean(host: Host, strength: float) -> None:
    mix = Mix(host)
    mixed, face, paw = mix.contexts(
        mix.average(mix["face"], mix["paw"], strength), mix["face"], mix["paw"]
    )
    assert mixed.shape == (1, 1, 48) and (face - paw).abs().max() > 0.01
    torch.testing.assert_close(mixed, strength * face + (1 - strength) * paw)


def test_average_with_the_negative_is_strength(host: Host) -> None:
    mix = Mix(host)
    weaker = mix.graph.encode(mix.loader, mix.graph.image("face"), strength=0.4)
    averaged, scaled = mix.contexts(mix.average(mix["face"], mix.null, 0.4), [weaker, 0])
    torch.testing.assert_close(averaged, scaled)


def test_chained_averages_have_any_weights(host: Host) -> None:
    """Weights 3 : 1 : 4 by the rule of the help page: each strength is the share so far."""
    mix = Mix(host)
    first = mix.average(mix["face"], mix["paw"], 3 / 4)
    mixed, *parts = mix.contexts(
        mix.average(first, mix["coffee"], 4 / 8), *(mix[name] for name in NAMES)
    )
    expected = sum(weight * part for weight, part in zip((3, 1, 4), parts, strict=True)) / 8
    torch.testing.assert_close(mixed, expected)


def test_repeated_pictures_are_whole_weights(host: Host) -> None:
    """2 : 1 by giving one picture twice to merge = average, equal to stock nodes at 2/3."""
    mix = Mix(host)
    views = [[mix.nodes[name], 2] for name in ("face", "face", "paw")]
    batch = mix.add("ImageBatch", image1=views[0], image2=views[1])
    batch = mix.add("ImageBatch", image1=batch, image2=views[2])
    merged = mix.graph.encode(mix.loader, batch, merge="average")
    repeated, averaged = mix.contexts([merged, 0], mix.average(mix["face"], mix["paw"], 2 / 3))
    torch.testing.assert_close(repeated, averaged)


def test_concatenation_is_two_tokens(host: Host) -> None:
    """Attention over two equal tokens is that over one, and their order means nothing."""
    mix = Mix(host)
    both = mix.concat(mix["face"], mix["paw"])
    (tokens,) = mix.contexts(both)
    assert tokens.shape == (1, 2, 48)
    mix = Mix(host)
    one, twice, both, swapped, averaged = mix.latents(
        mix["face"],
        mix.concat(mix["face"], mix["face"]),
        mix.concat(mix["face"], mix["paw"]),
        mix.concat(mix["paw"], mix["face"]),
        mix.average(mix["face"], mix["paw"], 0.5),
    )
    torch.testing.assert_close(twice, one, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(swapped, both, rtol=1e-4, atol=1e-4)
    for other in (one, averaged):
        assert (both - other).abs().max() > 1e-3


def test_timestep_range_limits_when_the_exemplar_acts(host: Host) -> None:
    """Stock sampling in one go equals stock sampling in two stages with two conditionings."""
    mix = Mix(host)
    graph = mix.graph
    crop = graph.crop(graph.image("odd"), graph.masks(["odd_mask"]))
    masked = graph.masked(mix.loader, mix.nodes["face"], [crop, 0], [crop, 1])
    stages = {"model": [mix.loader, 0], "negative": [masked, 1], "noise_seed": 1, "steps": 4}
    stages |= {"cfg": 5.0, "sampler_name": "euler", "scheduler": "simple"}

    def sample(positive: Link, start: int, end: int, latent: Link) -> Link:
        return mix.add(
            "KSamplerAdvanced",
            positive=positive,
            latent_image=latent,
            add_noise="enable" if start == 0 else "disable",
            start_at_step=start,
            end_at_step=end,
            return_with_leftover_noise="enable" if end < 4 else "disable",
            **stages,
        )

    exemplar, null, empty = [masked, 0], [masked, 1], [masked, 2]
    # steps lie at 0, 1/4, 1/2 and 3/4 of the schedule
    switched = sample(mix.switched(exemplar, null, 0.6), 0, 4, empty)
    staged = sample(null, 3, 4, sample(exemplar, 0, 3, empty))
    always = sample(exemplar, 0, 4, empty)
    saved = [graph.save_latent(each) for each in (switched, staged, always)]
    run = Run(host, graph)
    switched, staged, always = (run.latent(each) for each in saved)
    torch.testing.assert_close(switched, staged, rtol=1e-5, atol=1e-5)
    assert (switched - always).abs().max() > 1e-3


def test_timestep_range_in_our_sampler(host: Host) -> None:
    """Never and always are the null condition and the exemplar; in between is neither."""
    mix = Mix(host)
    never, null, always, exemplar, half = mix.latents(
        mix.switched(mix["face"], mix.null, 0.0),
        mix.null,
        mix.switched(mix["face"], mix.null, 1.0),
        mix["face"],
        mix.switched(mix["face"], mix.null, 0.5),
    )
    assert torch.equal(never, null) and torch.equal(always, exemplar)
    for other in (null, exemplar):
        assert (half - other).abs().max() > 1e-3
