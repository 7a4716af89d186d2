"""An input shape for a model that was given without one."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import Argument, InputError, Spelling, python
from ..ops.layout import axes_in, checked, default_layout, with_axes
from .inputs import forward_arity

SIZES = {1: (4096,), 2: (256, 256), 3: (64, 64, 64)}
"""Samples per axis of a guessed input."""


def guess_inputs(
    model: nn.Module | torch.export.ExportedProgram, layout: str | None = None, spelling: Spelling = python
) -> tuple[tuple[int, ...] | None, str]:
    """A shape for `analyze`, and a note that it is a guess. A saved program has its own shape: None, and no note.

    spelling: how the note names an argument.
    """
    if not isinstance(model, nn.Module):
        return None, ""
    shape, why = guess_shape(model, layout)
    return shape, f"input {'x'.join(map(str, shape))} is a guess: {why}; {spelling(Argument('inputs'))} sets it"


def guess_shape(model: nn.Module, layout: str | None = None, *, alone: bool = False) -> tuple[tuple[int, ...], str]:
    """A shape that the first layer accepts, and a text that says where it comes from.

    alone: it is the only tensor, whatever else there is. Raises InputError where the model takes several inputs or has
    no convolution, and where the layout has dimensions that a convolution says nothing about.

    >>> guess_shape(nn.Conv2d(3, 8, 5))[0]
    (1, 3, 256, 256)
    """
    needed, _ = forward_arity(model)
    if needed > 1 and not alone:
        raise InputError(
            f"{type(model).__name__}.forward takes {needed} inputs; give the shape of each, such as ",
            Argument("inputs", [(1, 3, 256, 256)] * needed),
        )
    for name, module in model.named_modules():
        kind = type(module).__mro__
        for n, (conv, transposed) in CONVOLUTIONS.items():
            if conv in kind or transposed in kind:
                channels = int(module.in_channels)
                where = f"layer {name}" if name else type(module).__name__
                takes = f"{where} takes {channels} channel{'s' if channels > 1 else ''} in {n}-D"
                return _laid_out(n, channels, layout, takes), takes
    raise InputError(
        f"{type(model).__name__} has no convolution to guess an input from; give it with ",
        Argument("inputs", (1, 3, 256, 256)),
    )


def _laid_out(n: int, channels: int, layout: str | None, takes: str) -> tuple[int, ...]:
    """One image with these channels in a layout of N, C and n axes."""
    letters = default_layout(n + 2) if layout is None else with_axes([checked(layout, layout)])[0]
    axes = axes_in(letters)
    if len(axes) != n or set(letters) - {"N", "C", *axes} or ("C" not in letters and channels > 1):
        raise InputError(
            f"no input of layout {letters} can be guessed: {takes}; give its shape with ", Argument("inputs")
        )
    sizes = {"N": 1, "C": channels, **dict(zip(axes, SIZES[n], strict=True))}
    return tuple(sizes[letter] for letter in letters)


CONVOLUTIONS = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}
