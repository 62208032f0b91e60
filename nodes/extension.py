"""What the pack registers with the host."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import ComfyExtension, io

from .crop import ExemplarCropToMask, ExemplarPasteBack
from .encode import EncodeExemplar
from .guidance import ExemplarGuidance
from .host.files import register_model_folder
from .host.saved_exemplars import register_exemplar_folder
from .load import LoadExemplarModel
from .prepare import ExemplarPrepareMask
from .reference import ExemplarReferenceSampler
from .sample import ExemplarInpaintSampler
from .saved import LoadExemplar, SaveExemplar
from .split import ExemplarSplitMask


class ExemplarExtension(ComfyExtension):
    """Model folders and node list."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        register_model_folder(bundled=Path(__file__).parents[1] / "models")
        register_exemplar_folder()
        return [
            LoadExemplarModel,
            EncodeExemplar,
            ExemplarInpaintSampler,
            ExemplarCropToMask,
            ExemplarPasteBack,
            ExemplarReferenceSampler,
            ExemplarGuidance,
            ExemplarSplitMask,
            ExemplarPrepareMask,
            SaveExemplar,
            LoadExemplar,
        ]
