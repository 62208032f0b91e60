"""The networks behind the numbers, read from where the user says; nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from ..errors import UserError
from ..weights.reading import CheckpointError, read_weights
from .score import Array
from .views import clip_view

BATCH = 50


@dataclass(frozen=True)
class Backbone:
    """A network that turns pictures into feature vectors.

    Attributes:
        name: kind, folder or file, and the start of the weights' SHA-256.
        size: side of the square that it sees; 0 for any.
        view: what it sees of a whole picture, [3, size, size].
        encode: features [B, D] of views [B, 3, size, size].
        device: of the network.
    """

    name: str
    size: int
    view: Callable[[Image.Image], Tensor]
    encode: Callable[[Tensor], Tensor]
    device: str

    def features(self, pictures: Iterable[Image.Image]) -> Array:
        """[N, D] of whole pictures."""
        return self.features_of(map(self.view, pictures))

    @torch.inference_mode()
    def features_of(self, views: Iterable[Tensor]) -> Array:
        """[N, D] of views [3, size, size], in double precision, a batch at a time."""
        views = iter(views)
        found: list[Array] = []
        while batch := list(itertools.islice(views, BATCH if self.size else 1)):
            found.append(self.encode(torch.stack(batch).to(self.device)).double().cpu().numpy())
        return np.concatenate(found)


def load_clip(folder: Path, device: str = "cpu") -> Backbone:
    """A CLIP picture tower with its projection, from a folder of transformers' layout.

    Raises:
        UserError: the folder holds none, or not all of its weights.
    """
    from transformers import CLIPVisionModelWithProjection

    wanted = "openai/clip-vit-base-patch32"
    model = _from_folder(CLIPVisionModelWithProjection, folder, "CLIP", "clip", wanted, device)
    size = model.config.image_size

    def encode(views: Tensor) -> Tensor:
        return model(pixel_values=views).image_embeds

    name = f"CLIP ViT {model.config.hidden_size}/{model.config.patch_size}"
    return Backbone(
        _named(name, folder, model), size, partial(clip_view, size=size), encode, device
    )


def load_dino(folder: Path, device: str = "cpu") -> Backbone:
    """A DINO vision transformer, from a folder of transformers' layout; its class token counts.

    Raises:
        UserError: the folder holds none, or not all of its weights.
    """
    from transformers import ViTImageProcessor, ViTModel

    wanted = "facebook/dino-vits16"
    # the published weights have no pooling layer
    model = _from_folder(ViTModel, folder, "DINO", "vit", wanted, device, add_pooling_layer=False)
    try:
        processor: Any = ViTImageProcessor.from_pretrained(folder, local_files_only=True)
    except OSError as error:
        raise UserError(
            f"{folder} lacks preprocessor_config.json; get all files of {wanted} of Hugging Face."
        ) from error

    def view(picture: Image.Image) -> Tensor:
        return processor(images=picture.convert("RGB"), return_tensors="pt")["pixel_values"][0]

    def encode(views: Tensor) -> Tensor:
        return model(pixel_values=views).last_hidden_state[:, 0]

    name = f"DINO ViT {model.config.hidden_size}/{model.config.patch_size}"
    return Backbone(_named(name, folder, model), model.config.image_size, view, encode, device)


def load_inception(file: Path, device: str = "cpu") -> Backbone:
    """The Inception network of FID, 2048 features, as torch-fidelity resizes for it.

    Raises:
        UserError: the file is none of its weights.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    source = "weights-inception-2015-12-05-6726825d.pth of the releases of toshas/torch-fidelity"
    _tensors(file, "Inception", source)  # torch-fidelity would run what is pickled in it
    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], str(file))
    except RuntimeError as error:
        raise UserError(f"{file} does not hold Inception's weights; get {source}.") from error
    network.to(device)

    def view(picture: Image.Image) -> Tensor:
        return v2.functional.pil_to_tensor(picture.convert("RGB"))

    def encode(views: Tensor) -> Tensor:
        return network(views)[0]

    return Backbone(_named("Inception v3", file, network), 0, view, encode, device)


@dataclass(frozen=True)
class Lpips:
    """LPIPS: the distance of two pictures in a network's features, weighted as people judge.

    Attributes:
        name: network, file, and the start of the weights' SHA-256.
        network: torchmetrics'.
        device: of the network.
    """

    name: str
    network: nn.Module
    device: str

    @torch.inference_mode()
    def distance(self, first: Tensor, second: Tensor) -> float:
        """Of two pictures [3, H, W] in [0, 1]."""
        pair = (each[None].to(self.device) for each in (first, second))
        return float(self.network(*pair, normalize=True))


def load_lpips(file: Path, device: str = "cpu") -> Lpips:
    """LPIPS on torchvision's VGG16 or AlexNet, whichever the file holds.

    torchmetrics brings the judges' weights; it would download the network, so its weights are
    put in here.

    Raises:
        UserError: the file holds neither network.
    """
    from torchmetrics.functional.image.lpips import _LPIPS

    source = "vgg16-397923af.pth of PyTorch's models, as torchvision downloads it"
    tensors = _tensors(file, "LPIPS", source)
    first = tensors.get("features.0.weight")
    net = "alex" if first is not None and first.shape[-1] == 11 else "vgg"
    network = _LPIPS(net=net, pnet_rand=True)
    names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
    try:
        network.net.load_state_dict({name: tensors[names[name]] for name in names})
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"{file} holds neither VGG16 nor AlexNet as torchvision names them; get {source}."
        ) from error
    return Lpips(_named(f"LPIPS {net}", file, network), network.to(device), device)


def _from_folder(
    model_class: Any,
    folder: Path,
    kind: str,
    type_: str,
    wanted: str,
    device: str,
    **settings: Any,
) -> Any:
    from transformers import AutoConfig

    cure = f"give the folder of {wanted} of Hugging Face (config.json and its weights)."
    try:
        found = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if not found.startswith(type_):
            raise UserError(f"{folder} holds a model of type {found}, not {kind}; {cure}")
        model, loaded = model_class.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, **settings
        )
    except (OSError, ValueError) as error:
        raise UserError(f"There is no {kind} model in {folder}; {cure}") from error
    # transformers would draw them at random
    if missing := sorted(loaded["missing_keys"]):
        raise UserError(f"{folder} lacks {len(missing)} tensors, such as {missing[0]}; {cure}")
    return model.eval().to(device)


def _tensors(file: Path, kind: str, source: str) -> dict[str, Tensor]:
    try:
        return read_weights(file)[0]
    except CheckpointError as error:
        raise UserError(f"There are no weights for {kind} in {file}; get {source}.") from error


def _named(kind: str, path: Path, network: nn.Module) -> str:
    return f"{kind}, {path.name}, {fingerprint(network)}"


def fingerprint(network: nn.Module) -> str:
    """Start of the SHA-256 of all weights, in float32."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:8]
