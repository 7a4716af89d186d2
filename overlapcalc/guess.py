"""An input shape for a model that came without one."""

from __future__ import annotations

from torch import nn

from .analyze import forward_arity
from .errors import InputError

SIZES = {1: (4096,), 2: (256, 256), 3: (64, 64, 64)}
"""Samples per axis of a guessed input."""


def guess_shape(model: nn.Module) -> tuple[tuple[int, ...], str]:
    """A shape that the first layer would take, and the words that say where it comes from.

    Raises InputError where the model takes several inputs or has no convolution to look at.
    """
    needed, _ = forward_arity(model)
    if needed > 1:
        raise InputError(
            f"{type(model).__name__}.forward takes {needed} inputs; give the shape of each with --input, {needed} "
            "times, such as --input 1x3x256x256"
        )
    for name, module in model.named_modules():
        kind = type(module).__mro__
        for n, (conv, transposed) in CONVOLUTIONS.items():
            if conv in kind or transposed in kind:
                channels = int(module.in_channels)
                shape = (1, channels, *SIZES[n])
                where = f"layer {name}" if name else type(module).__name__
                return shape, f"{where} takes {channels} channel{'s' if channels > 1 else ''} in {n}-D"
    raise InputError(
        f"{type(model).__name__} has no convolution to guess an input from; give it with --input 1x3x256x256"
    )


CONVOLUTIONS = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}
