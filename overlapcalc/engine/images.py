"""The images of a batch, one after another, where a plan runs them so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ..algebra.spans import Span
from ..analysis.named import Named
from ..ops.layout import BATCH
from ..planning.plan import Plan
from .block import Block, within
from .store import Image, Part


def images(plan: Plan, inputs: Mapping[str, Image]) -> Iterator[tuple[Span | None, Mapping[str, Image]]]:
    """Each image's place in the batch, None for all at once, and its inputs. What has no batch is the same for all."""
    strip = plan.strips.get(BATCH)
    if strip is None:
        yield None, inputs
        return
    for slot in strip.slots:
        own = {}
        for name, x in inputs.items():
            if name not in slot.tiles:
                own[name] = x
                continue
            place = within(plan.labels[name], {BATCH: slot.tiles[name]})
            own[name] = x[place] if isinstance(x, Tensor) else Part(x, place)
        yield next(iter(slot.outputs.values())), own


def placed(block: Block, image: Span) -> Block:
    """A block of one image as a block of the batch."""
    return Block(Named({name: {BATCH: image, **region} for name, region in block.regions.items()}), block.results)


def of_image(image: Span | None) -> str:
    """The beginning of a message on one image."""
    return "" if image is None else f"image {image.start}: "
