"""The tools that run a net by blocks, each as its documentation says, behind one door.

`prepare(job)` does what a tool does once per net and size and gives a function from the whole input to the whole
output. Tools that are not installed raise ImportError there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

import overlapcalc as oc

from ..page import installed
from ..subjects import Run, by_blocks


@dataclass(frozen=True)
class Job:
    """One net on one size, in blocks of so many image samples.

    block: in samples of the input. step, before, after: the grid and the tile's context that overlapcalc finds, in
    samples of the input; tools that ask their caller for a halo get it from here. scale: input samples per output
    sample.
    """

    model: nn.Module
    shape: tuple[int, ...]
    image_block: int
    block: int
    step: int
    before: int
    after: int
    scale: Fraction

    @property
    def halo(self) -> int:
        """The same on both sides, in whole steps: what a tool with one symmetric number needs."""
        return self.step * -(-max(self.before, self.after) // self.step)


def job(model: nn.Module, shape: tuple[int, ...], image_block: int) -> Job:
    """Blocks in samples of the finer of input and output. The nets here are the same along both axes."""
    axis = oc.analyze(model, shape)["W"]
    if axis.tile is None or axis.scale is None:
        raise ValueError("the net has no grid along W; there is nothing to measure")
    block = int(image_block * axis.scale) if axis.scale < 1 else image_block
    return Job(model, shape, image_block, block, axis.step, axis.tile.before, axis.tile.after, axis.scale)


# ---- the tools ----------------------------------------------------------------------------------------------


def _by(schedule: str) -> Callable[[Job], Run]:
    return lambda job: by_blocks(job.model, job.shape, schedule, job.image_block)


def _alone(job: Job) -> Run:
    """The control: blocks without any context, side by side. Must be wrong."""

    def run(x: Tensor) -> Tensor:
        rows = torch.split(x, job.block, 2)
        return torch.cat([torch.cat([job.model(t) for t in torch.split(row, job.block, 3)], 3) for row in rows], 2)

    return run


def _lightstream(tile: Callable[[Job], int]) -> Callable[[Job], Run]:
    def prepare(job: Job) -> Run:
        found = _streaming(job, tile(job))
        return lambda x: found(x)

    return prepare


def _streaming(job: Job, tile: int) -> Any:
    """Its StreamingCNN itself: the constructor around it moves the net to CUDA whatever it is told.

    It changes the net that it is given, so it gets a copy; it leaves gradients enabled, which is undone.
    """
    from lightstream.core.scnn.scnn import StreamingCNN

    with torch.set_grad_enabled(torch.is_grad_enabled()):
        return StreamingCNN(copy.deepcopy(job.model), (1, job.shape[1], tile, tile), copy_to_gpu=False)


def _tile_of_a_block(job: Job) -> int:
    """tile_size is what the net is fed; here as large as a block."""
    return job.block


def _tile_with_loss(job: Job) -> int:
    """The tile of which a block is left when lightstream has taken off what it says is lost."""
    probe = _streaming(job, job.block)
    lost = probe.tile_output_lost
    return job.block + int(probe.output_stride[1]) * (int(lost.top) + int(lost.bottom))


def _monai(job: Job) -> Run:
    from monai.inferers import sliding_window_inference

    roi = job.block + 2 * job.halo
    # the distance between windows is int(roi * (1 - overlap)); half a sample more keeps it from being one too few
    overlap = (roi - job.block - 0.5) / roi

    def run(x: Tensor) -> Tensor:
        out: Tensor = sliding_window_inference(x, (roi, roi), 1, job.model, overlap=overlap, mode="constant")
        return out

    return run


def _csbdeep(job: Job) -> Run:
    from csbdeep.internals.predict import tile_iterator

    def run(x: Tensor) -> Tensor:
        image = x[0].numpy()
        count = (1, *(-(-n // job.block) for n in image.shape[1:]))
        blocks, overlaps = (image.shape[0], job.step, job.step), (0, job.halo // job.step, job.halo // job.step)
        whole: Tensor | None = None
        for tile, crop, place in tile_iterator(image, count, blocks, overlaps):
            out = job.model(torch.from_numpy(tile)[None])
            if whole is None:
                whole = out.new_empty((1, out.shape[1], *(int(n / job.scale) for n in image.shape[1:])))
            to_rows, to_columns = _scaled(place, job.scale)
            rows, columns = _scaled(crop, job.scale)
            whole[..., to_rows, to_columns] = out[..., rows, columns]
        assert whole is not None
        return whole

    return run


def _scaled(slices: tuple[slice, ...], scale: Fraction) -> tuple[slice, ...]:
    """The spatial slices of an input as slices of the output; it leaves that to its caller."""
    return tuple(slice(int(s.start / scale), int(s.stop / scale)) for s in slices[1:])


@dataclass(frozen=True)
class Tool:
    """title: as in the page. package: what it comes in, "" for what is here."""

    title: str
    package: str
    prepare: Callable[[Job], Run]

    @property
    def version(self) -> str | None:
        """None where it is not installed."""
        return installed(self.package) if self.package else ""


TOOLS: dict[str, Tool] = {
    "ours": Tool("overlapcalc, crop", "", _by("crop")),
    "trim": Tool("overlapcalc, trim", "", _by("trim")),
    "stream": Tool("overlapcalc, stream", "", _by("stream")),
    "lightstream": Tool("lightstream, tile = block", "lightstream", _lightstream(_tile_of_a_block)),
    "lightstream-wide": Tool("lightstream, tile = block + loss", "lightstream", _lightstream(_tile_with_loss)),
    "monai": Tool("MONAI sliding window", "monai", _monai),
    "csbdeep": Tool("csbdeep tiles, our halo", "csbdeep", _csbdeep),
    "alone": Tool("blocks alone (control)", "", _alone),
}
