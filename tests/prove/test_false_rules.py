"""`verify` refutes a false rule for each of the twenty operators that most CNNs use, within its default inputs.

The twenty, by the number of 202 CNNs (timm, torchvision, segmentation-models-pytorch, spandrel, monai, kornia,
diffusers, compressai) that use them on data, pointwise operators not counted one by one: conv2d 194, batch_norm 128,
view 105, adaptive_avg_pool2d 103, linear 90, cat 77, max_pool2d 65, pad 41, mean 41, upsample_nearest2d 32,
conv_transpose2d 24, avg_pool2d 24, upsample_bilinear2d 21, permute 21, pixel_shuffle 15, layer_norm 15,
instance_norm 15, group_norm 13, slice 10, split 10. Beside them two that are pointwise: relu and add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from overlapcalc.algebra.index_map import IndexMap
from overlapcalc.algebra.spans import Spans
from overlapcalc.ops.law import DimRead, Law, Link, keep
from overlapcalc.ops.registry import find, kept

ROWS = -2
"""The dimension that is cut, from the end: H of N, C, H, W."""


class Net(nn.Module):
    """Something with a convolution, so that a default input can be found; then a function of what it gives."""

    def __init__(self, function, layer=None, kernel=1):
        super().__init__()
        self.first = nn.Conv2d(2, 4, kernel, padding=kernel // 2)
        self.function, self.layer = function, layer

    def forward(self, x):
        return self.function(self, self.first(x))


def healthy(net):
    """Statistics and weights that are no zeros and no ones."""
    generator = torch.Generator().manual_seed(1)
    for t in (*net.parameters(), *net.buffers()):
        if t.is_floating_point():
            t.data.copy_(torch.rand(t.shape, generator=generator) + 0.5)
    return net.eval()


# ---- false accounts of a true law ---------------------------------------------------------------------------------


def changed(law: Law, rows: int, change: Callable[[IndexMap], IndexMap], operand: int | None = None) -> Law:
    """The law with other reads along the output's dimension `rows`, of one operand or all."""

    def dim(d: DimRead) -> DimRead:
        return replace(d, reads=change(d.reads)) if d.target == rows and d.reads is not None else d

    links = [
        replace(link, dims=tuple(map(dim, link.dims))) if operand in (None, link.operand) else link
        for link in law.links
    ]
    found = replace(law, links=tuple(links))
    assert found != law, "the false rule is the true one"
    return found


def shifted(reads: IndexMap) -> IndexMap:
    return IndexMap(reads.period, reads.advance, tuple(spans.shift(1) for spans in reads.phases))


def one_tap_less(reads: IndexMap) -> IndexMap:
    """Without the first sample that each output reads, where it reads more than one."""

    def fewer(spans: Spans) -> Spans:
        (start, stop), *rest = spans.parts
        return Spans.of([(start + 1, stop), *rest]) if stop - start > 1 or rest else spans

    return IndexMap(reads.period, reads.advance, tuple(fewer(s) if s.parts else s for s in reads.phases))


def next_phase(reads: IndexMap) -> IndexMap:
    """What the next output reads."""
    return IndexMap.from_function(reads.period, reads.advance, lambda o: reads[o + 1])


def along(change: Callable[[IndexMap], IndexMap], rows: int = ROWS, operand: int | None = None):
    """A false rule: the true one with other reads along the rows."""
    return lambda true, call: changed(true(call), rows % len(call.shape), change, operand)


def every_second(true, call):
    """Halved by adaptive pooling, said to take the first of two rows and columns."""
    return call.local({-2: IndexMap.taps([0], stride=2), -1: IndexMap.taps([0], stride=2)})


def local(true, call):
    """Global over space, said to be index by index."""
    return Law(call.identity().links, places=(*call.place("weight", {0: 1}), *call.place("bias", {0: 1})))


def first_of_two(true, call):
    """N, C, H, W as N, C, H/2, 2, W, said to take the first row of two for either."""
    dims = [DimRead(2, 2, IndexMap.taps([0], stride=2)), DimRead(None, 3), DimRead(3, 4, IndexMap.identity())]
    return Law((Link(0, (*keep(2), *dims)),))


def first_half(true, call):
    """A part of the channels, said to be the first."""
    picked = IndexMap.table([[i] for i in range(call.shape[1])])
    return Law((Link(0, keep(4, but={1: DimRead(1, 1, picked)})),))


class Local(nn.Module):
    """Channels that read 9 rows, then channels that read 1."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(4, 2, (9, 1), padding=(4, 0)), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return torch.cat([self.narrow(x), self.wide(x)], 1)


def channels_last(function):
    return lambda net, x: function(net, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


CASES = {
    "conv2d": ("aten::conv2d", Net(lambda net, x: x, kernel=3), along(one_tap_less)),
    "batch_norm": ("aten::batch_norm", Net(lambda net, x: net.layer(x), nn.BatchNorm2d(4)), along(shifted)),
    "view": ("aten::view", Net(lambda net, x: x.view(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3]).amax(3)), first_of_two),
    "adaptive_avg_pool2d": ("aten::adaptive_avg_pool2d", Net(lambda net, x: F.adaptive_avg_pool2d(x, [n // 2 for n in x.shape[2:]])), every_second),
    "linear": ("aten::linear", Net(channels_last(lambda net, x: net.layer(x)), nn.Linear(4, 3)), along(shifted, -3)),
    "cat": ("aten::cat", Net(lambda net, x: torch.cat([x, x * 2], 1)), along(shifted, operand=1)),
    "max_pool2d": ("aten::max_pool2d", Net(lambda net, x: F.max_pool2d(x, 3, 2, 1)), along(one_tap_less)),
    "pad": ("aten::pad", Net(lambda net, x: F.pad(x, (1, 1, 1, 1), mode="reflect")), along(shifted)),
    "mean": ("aten::mean", Net(lambda net, x: x - x.mean(1, keepdim=True)), along(shifted)),
    "upsample_nearest2d": ("aten::upsample_nearest2d", Net(lambda net, x: F.interpolate(x, scale_factor=2)), along(next_phase)),
    "conv_transpose2d": ("aten::conv_transpose2d", Net(lambda net, x: net.layer(x), nn.ConvTranspose2d(4, 2, 4, 2, 1)), along(one_tap_less)),
    "avg_pool2d": ("aten::avg_pool2d", Net(lambda net, x: F.avg_pool2d(x, 2)), along(one_tap_less)),
    "upsample_bilinear2d": ("aten::upsample_bilinear2d", Net(lambda net, x: F.interpolate(x, scale_factor=2, mode="bilinear")), along(one_tap_less)),
    "permute": ("aten::permute", Net(channels_last(lambda net, x: x.relu())), along(shifted, -3)),
    "pixel_shuffle": ("aten::pixel_shuffle", Net(lambda net, x: F.pixel_shuffle(x, 2)), along(next_phase)),
    "layer_norm": ("aten::layer_norm", Net(channels_last(lambda net, x: net.layer(x)), nn.LayerNorm(4)), along(shifted, -3)),
    "instance_norm": ("aten::instance_norm", Net(lambda net, x: net.layer(x), nn.InstanceNorm2d(4)), local),
    "group_norm": ("aten::group_norm", Net(lambda net, x: net.layer(x), nn.GroupNorm(2, 4)), local),
    "slice": ("aten::slice", Net(lambda net, x: x[:, :, 2:-1]), along(shifted)),
    "split": ("aten::split", Net(lambda net, x: net.layer(x).split(2, 1)[1], Local()), first_half),
    "relu": ("aten::relu", Net(lambda net, x: F.relu(x)), along(shifted)),
    "add": ("aten::add", Net(lambda net, x: x + x.relu()), along(shifted, operand=1)),
}  # fmt: skip
GLOBAL = {"instance_norm", "group_norm"}
"""Those that the true rule refuses."""
ALIKE = {
    "batch_norm",
    "instance_norm",
    "relu",
    "permute",
    "upsample_nearest2d",
    "linear",
    "avg_pool2d",
    "split",
    "mean",
}
"""Of which `make test` runs another of the same kind."""


def with_rule(op: str, false) -> None:
    """Within `kept`, the rule of an operator replaced. Pointwise ones have none of their own."""
    true = find(op)
    law, sizes = (true.law, true.sizes) if true is not None else (lambda call: call.broadcast(), frozenset())
    if true is not None:
        oc.unregister(op)
    oc.rule(op, sizes=(*sizes, "output_size"))(lambda call: false(law, call))


@pytest.mark.parametrize("name", few(CASES, set(CASES) - ALIKE))
def test_a_false_rule_is_refuted_and_the_true_one_proved(name):
    op, net, false = CASES[name]
    healthy(net)
    if name in GLOBAL:
        with pytest.raises(oc.ObstacleError):
            oc.verify(net, axes="H", schedule="crop")
        assert oc.verify(net, axes="H").proved  # by passes
    else:
        v = oc.verify(net, axes="H")
        assert not v.not_reached
        assert v.proved, [(p.name, p.status, p.failures) for p in v.proofs]
    with kept():
        with_rule(op, false)
        v = oc.verify(net, axes="H")
    assert not v.proved
    assert any(p.status == "refuted" for p in v.proofs), [(p.name, p.status, p.reason) for p in v.proofs]


def test_the_rules_are_true_again_afterwards():
    assert oc.verify(CASES["conv2d"][1], axes="H").proved


def test_an_operator_on_a_coarser_grid_than_its_rule_says_is_refuted():
    """Means over aligned 8x8 tiles, called local: right on every block that starts on a multiple of 8."""

    @torch.library.custom_op("overlapcalc_attacks::means", mutates_args=())
    def means(x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[2:]
        y = F.pad(x, (0, -w % 8, 0, -h % 8), mode="replicate")
        return x + F.interpolate(F.avg_pool2d(y, 8), scale_factor=8)[..., :h, :w]

    means.register_fake(torch.empty_like)
    oc.rule("overlapcalc_attacks::means")(lambda call: call.identity())
    try:
        for shape in (None, (1, 1, 64, 64)):
            model = Fn(
                lambda s, x: torch.ops.overlapcalc_attacks.means(s.c(x)), c=nn.Conv2d(1, 1, 3, padding=1)
            ).double()
            v = oc.verify(model, shape)
            assert v["dependency"].status == v["values"].status == "refuted"
    finally:
        oc.unregister("overlapcalc_attacks::means")
