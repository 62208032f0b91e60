"""MODELs with other channels than ours are refused, above all our own weights by a stock loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from safetensors.torch import save_file
from support.models import RandomModel, write_safetensors

from exemplar_model.weights.checkpoint import AUTOENCODER_PREFIX, UNET_PREFIX
from lab.host.graphs import Graph, Link
from lab.host.headless import Host, HostError

STEM = f"{UNET_PREFIX}input_blocks.0.0.weight"


@pytest.fixture(scope="module", autouse=True)
def checkpoints(host: Host, models: dict[str, RandomModel]) -> Iterator[None]:
    """Our weights, and those of an ordinary model, where the stock loaders find them."""
    folder = host.folder / "models" / "checkpoints"
    ordinary = models["wide"].components.to_original()
    ordinary = {
        name: tensor.contiguous()
        for name, tensor in {**ordinary, STEM: ordinary[STEM][:, :4]}.items()
        if name.startswith(UNET_PREFIX)
    }
    # the loader would build the VAE at the published size, whatever its weights
    write_safetensors(folder / "ours.safetensors", models["wide"], without=AUTOENCODER_PREFIX)
    save_file(ordinary, folder / "ordinary.safetensors")
    yield
    for name in ("ours", "ordinary"):
        (folder / f"{name}.safetensors").unlink()


def inpaint_sampler(graph: Graph, model: Link) -> None:
    loader = graph.load("wide.safetensors")
    encode = graph.encode(loader, graph.image("face"))
    image, mask = graph.image("odd"), graph.masks(["odd_mask"])
    graph.save_image([graph.sample(loader, encode, image, mask, model=model), 0])


def reference_sampler(graph: Graph, model: Link) -> None:
    settings = {"algorithm": "plms", "steps": 3, "denoise": 1.0}
    sampler = graph.add("ExemplarReferenceSampler", model=model, **settings)
    graph.add("PreviewAny", source=[sampler, 1])


@pytest.mark.parametrize("sampler", [inpaint_sampler, reference_sampler])
@pytest.mark.parametrize("checkpoint", ["ours", "ordinary"])
def test_samplers_refuse(
    host: Host, checkpoint: str, sampler: Callable[[Graph, Link], None]
) -> None:
    graph = Graph()
    model = graph.add("CheckpointLoaderSimple", ckpt_name=f"{checkpoint}.safetensors")
    sampler(graph, [model, 0])
    with pytest.raises(HostError) as refusal:
        host.run(graph.prompt)
    message = str(refusal.value)
    assert message.startswith("This MODEL was not loaded by Load Exemplar Model")
    assert message.count(". ") == 0 and "\n" not in message


def test_reference_sampler_takes_ours(host: Host) -> None:
    graph = Graph()
    reference_sampler(graph, [graph.load("wide.safetensors"), 0])
    assert host.run(graph.prompt)
