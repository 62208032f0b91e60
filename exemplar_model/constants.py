"""Constants of Paint by Example; each lives here and nowhere else.

Source of record: Fantasy-Studio/Paint-by-Example at 52a7e37, `configs/v1.yaml` and
`scripts/inference.py`.
"""

LATENT_CHANNELS = 4
LATENT_SCALE = 0.18215

UNET_CHANNELS = 9
"""Noisy latents 4, masked-image latents 4, keep mask 1, in this order."""

UNET_HEADS = 8
"""Attention heads of Stable Diffusion 1 at every level; weights do not tell their number."""

NUM_TIMESTEPS = 1000
LINEAR_START = 0.00085
LINEAR_END = 0.0120

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CLIP_HEAD_WIDTH = 64
"""Width of one attention head in every CLIP tower that OpenAI published."""

EXEMPLAR_PADDING = 10
"""Pixels kept around the exemplar's box, as in training (`ldm/data/open-images.py`)."""

OFFICIAL_MODEL = "model.ckpt of Hugging Face Fantasy-Studio/Paint-by-Example"
