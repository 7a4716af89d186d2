"""Residuals as a baseline JPEG file of three planes, 4:4:4: all of them, or some blocks apart.

The closed loop needs a block as it will be decoded before the file can be written. In 4:4:4 a block of JPEG comes back
from its own coefficients alone, and from the tables; what blocks share is the coding of these coefficients, which loses
nothing. So some blocks side by side, in a small file with the same tables, come back as they do in the whole file
(`tests/examples/test_blockcnn_predictive.py`). The encoder checks it for each file that it writes.

Residuals are whole numbers from -128 to 127, in float64; a file holds them 128 higher.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from examples.lic.bitstream import MOST_PIXELS, BitstreamError
from examples.lic.extra import extra

from .jpeg import SAMPLINGS, Quality, quality_of
from .remover import JPEG

LEAST, MOST = -128.0, 127.0
LONGEST = 65_500 // JPEG * JPEG
"""Samples each way: libjpeg takes no more than 65,500, and these are whole blocks."""
LEAST_BITS = 6
"""Of a block: one for its first coefficient and one for its end, in each of three planes."""
MOST_BYTES = 10
"""For a pixel: a coefficient takes at most 27 bits."""


def to_channels(planes: Tensor) -> Tensor:
    """(1, 3, height, width), of whole blocks, to (1, 192, rows, columns): 64 samples of each plane, row by row."""
    return F.pixel_unshuffle(planes, JPEG)


def to_planes(channels: Tensor) -> Tensor:
    """The inverse of `to_channels`."""
    return F.pixel_shuffle(channels, JPEG)


def written(residual: Tensor, quality: int, *, optimize: bool = True) -> bytes:
    """(1, 3, height, width), of whole blocks, as a file. optimize: Huffman tables of its own; they change no sample."""
    image, file = extra("PIL.Image"), io.BytesIO()
    bytes_ = (residual[0] + 128).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    buffers = extra("PIL.ImageFile")
    before = buffers.MAXBLOCK
    buffers.MAXBLOCK = max(before, MOST_BYTES * bytes_.shape[0] * bytes_.shape[1])  # optimising needs all at once
    try:
        image.fromarray(bytes_, "YCbCr").save(file, "JPEG", quality=quality, subsampling=0, optimize=optimize)
    finally:
        buffers.MAXBLOCK = before
    return file.getvalue()


def read(data: bytes, size: tuple[int, int]) -> Tensor:
    """What a file of `written` is decoded to. size: rows and columns of samples. Raises BitstreamError."""
    file = _opened(data, size)
    try:
        file.draft("YCbCr", None)  # no conversion to RGB
        samples = np.array(file)
    except Exception as error:  # Pillow raises many unrelated types for a bad file
        raise BitstreamError(f"its JPEG file is damaged or cut ({error})") from error
    if file.mode != "YCbCr" or samples.shape != (*size, 3):
        raise BitstreamError(f"its JPEG file gives {file.mode} of shape {samples.shape}; expected three planes of JPEG")
    return torch.from_numpy(samples).permute(2, 0, 1)[None].double() - 128


def quality_in(data: bytes, size: tuple[int, int]) -> Quality:
    """By the table of luma. Raises BitstreamError."""
    file = _opened(data, size)
    try:
        return quality_of(file.quantization[file.layer[0][3]])
    except (KeyError, IndexError, ValueError) as error:
        raise BitstreamError("its JPEG file lacks the tables that it needs") from error


def _opened(data: bytes, size: tuple[int, int]) -> Any:
    """Pillow's image, not yet decoded, so no memory is taken for what a header says."""
    image = extra("PIL.Image")
    image.MAX_IMAGE_PIXELS = MOST_PIXELS
    try:
        file = image.open(io.BytesIO(data), formats=("JPEG",))
        layers = [(columns, rows) for _, columns, rows, _ in file.layer]
    except Exception as error:
        raise BitstreamError(f"it holds no JPEG file that can be read ({error})") from error
    if file.mode != "RGB" or len(set(layers)) != 1 or file.size != size[::-1]:
        sampling = SAMPLINGS.get(layers[0], "") if len(layers) == 3 else ""
        raise BitstreamError(
            f"its JPEG file is of {file.size[0]}x{file.size[1]}, {file.mode} {sampling}; "
            f"expected {size[1]}x{size[0]}, three planes of 4:4:4"
        )
    if 8 * len(data) < LEAST_BITS * (size[0] // JPEG) * (size[1] // JPEG):
        raise BitstreamError(f"{len(data)} bytes are too few for a JPEG file of {size[1]}x{size[0]}")
    return file


def coded_apart(blocks: Tensor, quality: int) -> Tensor:
    """Blocks, (number, 192), as they come back from a file of their own, in which they lie side by side."""
    found = [_side_by_side(part, quality) for part in torch.split(blocks, LONGEST // JPEG)]
    return torch.cat(found)


def _side_by_side(blocks: Tensor, quality: int) -> Tensor:
    row = to_planes(blocks.T[None, :, None])
    back = read(written(row, quality, optimize=False), (JPEG, row.shape[3]))
    return to_channels(back)[0, :, 0].T
