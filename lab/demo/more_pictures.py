"""Write the pictures with two areas and with frames: `python -m lab.demo.more_pictures`."""

from __future__ import annotations

import av
import numpy as np
from PIL import Image, ImageDraw

from lab.host.headless import PICTURES

PHOTO = PICTURES / "coffee.png"
AREAS = ((14, 104, 82, 172), (210, 92, 290, 172))
FRAMES, FRAME_SIDE, PAN, FPS = 6, 128, 4, 6
FRAME_AREA = (36, 36, 92, 92)


def half_size() -> Image.Image:
    """The photo, 300 by 200 pixels."""
    return Image.open(PHOTO).convert("RGB").resize((300, 200), Image.Resampling.LANCZOS)


def two_areas() -> Image.Image:
    """The photo, transparent where two exemplars are to be painted."""
    return with_areas(half_size(), AREAS)


def frames() -> list[Image.Image]:
    """A camera that pans over the photo."""
    photo = half_size()
    corners = [(PAN * number, 60) for number in range(FRAMES)]
    return [photo.crop((x, y, x + FRAME_SIDE, y + FRAME_SIDE)) for x, y in corners]


def with_areas(photo: Image.Image, areas: tuple[tuple[int, int, int, int], ...]) -> Image.Image:
    """Ellipses of the photo made transparent, as ComfyUI's MaskEditor saves them."""
    alpha = Image.new("L", photo.size, 255)
    for area in areas:
        ImageDraw.Draw(alpha).ellipse(area, fill=0)
    photo.putalpha(alpha)
    return photo


def main() -> None:
    """Write the pictures."""
    two_areas().save(PICTURES / "two-areas.png", optimize=True)
    pictures = frames()
    with av.open(str(PICTURES / "frames.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=FPS, options={"crf": "18"})
        stream.width = stream.height = FRAME_SIDE
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    with_areas(pictures[0], (FRAME_AREA,)).save(PICTURES / "frame-1.png", optimize=True)


if __name__ == "__main__":
    main()
