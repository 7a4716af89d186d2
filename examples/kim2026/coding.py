"""The four codecs as what `lic.coding` runs: exact nets, integer tables, one pass per group and colour of the board."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from examples.lic.bitstream import digest
from examples.lic.codec import Codec, Group
from examples.lic.coding import Coding, Pass, walk
from examples.lic.densities import factorized_tables, gaussian_tables, scale_table
from examples.lic.exact import ACTIVATIONS, EDITION, FINEST, SQUARES, OnlyExact, exact
from examples.lic.tables import Tables
from overlapcalc import InputError

from .nets import (
    Cheng2020AnchorCheckerboard,
    Elic2022Official,
    JointCheckerboardHierarchicalPriors,
    MeanScaleHyperprior,
)

CODECS: dict[str, type[Codec]] = {
    "mean-scale": MeanScaleHyperprior,
    "checkerboard": JointCheckerboardHierarchicalPriors,
    "cheng2020": Cheng2020AnchorCheckerboard,
    "elic": Elic2022Official,
}


class PassNet(nn.Module):
    """Hyper parameters, and the latents so far where they are read, to scales and means of one group."""

    def __init__(self, group: Group, start: int, *, second: bool) -> None:
        """start: the group's first channel. second: the pass of those that are no anchors."""
        super().__init__()
        self.channel_context, self.entropy_parameters = group.channel_context, group.entropy_parameters
        self.context_prediction = group.context_prediction if second else None
        self.group = replace(group, channel_context=None, entropy_parameters=None, context_prediction=None)
        self.start, self.second = start, second

    def forward(self, hyper: Tensor, *so_far: Tensor) -> Tensor:
        group = replace(
            self.group,
            channel_context=self.channel_context,
            context_prediction=self.context_prediction,
            entropy_parameters=self.entropy_parameters,
        )
        given = group.given(hyper, [y[:, : self.start] for y in so_far])
        anchors = so_far[0][:, self.start : self.start + group.channels] if self.second else None
        return group.parameters(given, anchors)


def passes(codec: Codec) -> Iterator[Pass]:
    """In the order of coding."""
    start = 0
    for group in codec.parts.groups:
        stop = start + group.channels
        if group.entropy_parameters is None:
            yield Pass(None, start, stop, "all", reads=False)
        else:
            yield Pass(PassNet(group, start, second=False), start, stop, "anchors", reads=start > 0)
            yield Pass(PassNet(group, start, second=True), start, stop, "others", reads=True)
        start = stop


def coding(name: str, codec: Codec, tables: dict[str, Tables], *, floating: bool = False) -> Coding:
    """What codes pictures by this codec. tables: "latents" and "hyper".

    floating: nets as they are, in float32, without exact sums; only to show what goes wrong then.
    Raises InputError where a net has no exact form, or calls an operator that IEEE 754 does not fix.
    """
    parts = codec.parts
    scales, medians = parts.groups[0].gaussian_conditional.scale_table, parts.entropy_bottleneck.medians.flatten()
    _check_tables(name, tables, scales, medians)

    def made(called: str, net: nn.Module) -> nn.Module:
        return net.eval() if floating else exact(net, called=called)

    dtype = torch.float32 if floating else torch.float64
    own = Coding(
        name=name,
        g_a=made("g_a", parts.g_a),
        g_s=made("g_s", parts.g_s),
        h_a=made("h_a", parts.h_a),
        h_s=made("h_s", parts.h_s),
        passes=tuple(
            step if step.net is None else step._replace(net=made(f"pass {i}", step.net))
            for i, step in enumerate(passes(codec))
        ),
        medians=medians.to(dtype),
        scales=scales.to(dtype),
        latent_tables=tables["latents"],
        hyper_tables=tables["hyper"],
        fingerprint=fingerprint(name, codec, tables, floating),
        dtype=dtype,
    )
    if not floating:
        with OnlyExact(name):
            walk(own)
    return own


def _check_tables(name: str, tables: dict[str, Tables], scales: Tensor, medians: Tensor) -> None:
    for which, expected in (("latents", len(scales)), ("hyper", len(medians))):
        if not expected or len(tables[which].counts) != expected:
            raise InputError(f"{name}: {len(tables[which].counts)} tables of {which}; expected {expected}, at least 1")
    if not (bool(torch.isfinite(medians).all()) and bool((scales > 0).all()) and bool((scales.diff() > 0).all())):
        raise InputError(
            f"{name}: its medians must be finite, its scales above 0 and ascending; take another checkpoint"
        )


def tables_of(codec: Codec) -> dict[str, Tables]:
    """The integer tables of a trained codec, by what it learned. One without scales is given those of CompressAI."""
    for group in codec.parts.groups:
        own = group.gaussian_conditional
        if not own.scale_table.numel():
            own.scale_table = scale_table()
    return {
        "latents": gaussian_tables(codec.parts.groups[0].gaussian_conditional.scale_table),
        "hyper": factorized_tables(codec.parts.entropy_bottleneck),
    }


def fingerprint(name: str, codec: Codec, tables: dict[str, Tables], floating: bool) -> bytes:
    """8 bytes of all that decides what a bitstream means."""
    parts = [name.encode(), b"floating" if floating else str((EDITION, ACTIVATIONS, SQUARES, FINEST)).encode()]
    for key, value in sorted(codec.state_dict().items()):
        parts += [key.encode(), str(value.dtype).encode(), str(tuple(value.shape)).encode(), _bytes(value)]
    for key, table in sorted(tables.items()):
        parts += [key.encode(), *(numbers.astype("<i8").tobytes() for numbers in table.flat())]
    return digest(*parts)


def _bytes(value: Tensor) -> bytes:
    numbers: Any = value.detach().cpu().contiguous().numpy()
    return bytes(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes())
