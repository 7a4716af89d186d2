"""Constant operands: a rule says where each lies along the output, or the net is refused (design: what nobody placed)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import Fn, WrongError, net, never_wrong
from torch import Tensor, nn

import overlapcalc as oc
from overlapcalc.ops.law import Law
from overlapcalc.ops.registry import kept


def levels_by_row(x: Tensor) -> Tensor:
    h = x.shape[2]
    b = torch.arange(h, dtype=x.dtype)[None, None, :, None] / 8 + torch.linspace(-1, 1, 4, dtype=x.dtype)
    return torch.searchsorted(b.expand(1, 3, h, 4).contiguous(), x.contiguous()).to(x.dtype)


def levels_alike(x: Tensor) -> Tensor:
    b = torch.linspace(-1, 1, 4, dtype=x.dtype).expand(1, 3, x.shape[2], 4).contiguous()
    return torch.searchsorted(b, x.contiguous()).to(x.dtype)


def levels_by_size(x: Tensor) -> Tensor:
    return torch.bucketize(x.contiguous(), torch.linspace(-1, 1, x.shape[3], dtype=x.dtype)).to(x.dtype)


def known_columns(x: Tensor) -> Tensor:
    return torch.isin(x.round(), torch.arange(x.shape[3], dtype=x.dtype) - 3).to(x.dtype)


def known_values(x: Tensor) -> Tensor:
    return torch.isin(x.round(), torch.tensor([0.0, 2.0], dtype=x.dtype)).to(x.dtype)


def column_of_a_table(x: Tensor) -> Tensor:
    table = torch.arange(4 * x.shape[3], dtype=x.dtype).reshape(4, -1)
    return table[(x[:, 0] > 0).long(), torch.arange(x.shape[3])][:, None]


def row_of_a_table(x: Tensor) -> Tensor:
    return torch.arange(12, dtype=x.dtype).reshape(4, 3)[(x[:, 0] > 0).long()].permute(0, 3, 1, 2)


def codebook_by_size(x: Tensor) -> Tensor:
    weight = torch.linspace(0, 1, 3 * x.shape[2], dtype=x.dtype).reshape(-1, 3)
    return F.embedding((x[:, 0] > 0).long(), weight).permute(0, 3, 1, 2)


def cut_columns(x: Tensor) -> Tensor:
    at = torch.tensor([0, 3, 5]).view(1, 1, 1, 3).expand(1, 3, x.shape[2], 3)
    return x.scatter(3, at, 0.0)


def cut_channels(x: Tensor) -> Tensor:
    at = torch.zeros(1, 1, *x.shape[2:], dtype=torch.long)
    return x.scatter(1, at, 7.0)


def channel_by_place(x: Tensor) -> Tensor:
    at = (torch.arange(x.shape[3]) % 3).view(1, 1, 1, -1).expand(1, 1, *x.shape[2:])
    return x.gather(1, at)


def channel_by_distance(x: Tensor) -> Tensor:
    at = (torch.arange(x.shape[3]) * 3 // x.shape[3]).view(1, 1, 1, -1).expand(1, 1, *x.shape[2:])
    return x.gather(1, at)


def taken_along_columns(x: Tensor) -> Tensor:
    return torch.take_along_dim(x, (x > 0).long(), dim=3)


def matrix_per_row(x: Tensor) -> Tensor:
    weight = torch.linspace(0, 1, x.shape[2] * 9, dtype=x.dtype).reshape(-1, 3, 3)
    return torch.bmm(x[0].permute(1, 2, 0), weight).permute(2, 0, 1)[None]


def attention_over_channels(x: Tensor, mask: Tensor) -> Tensor:
    """Every pixel for itself: pixels are the batch, its channels the positions."""
    t = x.permute(0, 2, 3, 1)[..., None] * torch.ones(4, dtype=x.dtype)
    return F.scaled_dot_product_attention(t, t, t, attn_mask=mask)[..., 0].permute(0, 3, 1, 2)


def mask_by_row(x: Tensor) -> Tensor:
    mask = torch.arange(x.shape[2], dtype=x.dtype).view(1, -1, 1, 1, 1) * torch.linspace(0, 1, 3, dtype=x.dtype)
    return attention_over_channels(x, mask)


def mask_over_channels(x: Tensor) -> Tensor:
    return attention_over_channels(x, torch.linspace(0, 1, 9, dtype=x.dtype).reshape(3, 3))


def asked_by_row(x: Tensor) -> Tensor:
    """Constant queries, one per row."""
    t = x.permute(0, 2, 3, 1)[..., None] * torch.ones(4, dtype=x.dtype)
    q = torch.arange(x.shape[2], dtype=x.dtype).view(1, -1, 1, 1, 1).expand(1, -1, x.shape[3], 3, 4)
    return F.scaled_dot_product_attention(q, t, t)[..., 0].permute(0, 3, 1, 2)


def asked_by_nobody(x: Tensor) -> Tensor:
    """The same constant queries everywhere; keys come first among the operands that are data."""
    t = x.permute(0, 2, 3, 1)[..., None] * torch.ones(4, dtype=x.dtype)
    q = torch.ones(1, 1, 1, 3, 4, dtype=x.dtype)
    return F.scaled_dot_product_attention(q.expand(1, *t.shape[1:3], 3, 4), t, t)[..., 0].permute(0, 3, 1, 2)


class StateByColumn(nn.Module):
    """An LSTM along H, columns as its batch."""

    def __init__(self, ramp: bool) -> None:
        super().__init__()
        self.ramp, self.lstm = ramp, nn.LSTM(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        t = x.permute(2, 0, 3, 1).reshape(h, n * w, c)
        line = torch.arange(w, dtype=x.dtype) / w if self.ramp else torch.ones(w, dtype=x.dtype)
        start = line[None, :, None].expand(1, w, 3).contiguous()
        y, _ = self.lstm(t, (start, torch.zeros_like(start)))
        return y.reshape(h, n, w, 3).permute(1, 3, 0, 2)


class WindowsWithMask(nn.Module):
    """4x4 windows, attention, and a mask of its own for the last row of windows."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows, columns = h // 4, w // 4
        t = x.view(n, c, rows, 4, columns, 4).permute(0, 2, 4, 3, 5, 1).reshape(n, rows * columns, 16, c)
        m = torch.zeros(1, rows * columns, 16, 16, dtype=x.dtype)
        if self.masked:
            m[:, -columns:, :8, 8:] = -100.0
        y = F.scaled_dot_product_attention(t, t, t, attn_mask=m)
        return y.reshape(n, rows, columns, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


FREE = {
    "levels by row": (net(levels_by_row), (1, 3, 12, 11), "W"),
    "levels alike": (net(levels_alike), (1, 3, 12, 11), "HW"),
    "levels by size": (net(levels_by_size), (1, 3, 12, 11), "H"),
    "known columns": (net(known_columns), (1, 3, 12, 11), "H"),
    "known values": (net(known_values), (1, 3, 12, 11), "HW"),
    "column of a table": (net(column_of_a_table), (1, 3, 12, 11), "H"),
    "row of a table": (net(row_of_a_table), (1, 3, 12, 11), "HW"),
    "codebook by size": (net(codebook_by_size), (1, 3, 12, 11), "W"),
    "cut columns": (net(cut_columns), (1, 3, 12, 11), "H"),
    "cut channels": (net(cut_channels), (1, 3, 12, 11), "HW"),
    "channel by place": (net(channel_by_place), (1, 3, 12, 12), "HW"),
    "channel by distance": (net(channel_by_distance), (1, 3, 12, 12), "H"),
    "taken along columns": (net(taken_along_columns), (1, 3, 12, 11), "H"),
    "matrix per row": (net(matrix_per_row), (1, 3, 12, 11), "W"),
    "mask by row": (net(mask_by_row), (1, 3, 12, 11), "W"),
    "mask over channels": (net(mask_over_channels), (1, 3, 12, 11), "HW"),
    "asked by row": (net(asked_by_row), (1, 3, 12, 11), "W"),
    "asked by nobody": (net(asked_by_nobody), (1, 3, 12, 11), "HW"),
    "state by column": (StateByColumn(True), (1, 3, 8, 12), ""),
    "state alike": (StateByColumn(False), (1, 3, 8, 12), "W"),
    "windows with a mask": (WindowsWithMask(True), (1, 4, 16, 16), ""),
    "windows with no mask": (WindowsWithMask(False), (1, 4, 16, 16), "HW"),
}
"""Each net with the axes along which it is local, by how it is written."""


@pytest.mark.parametrize("name", FREE)
def test_free_axes_run_right_and_the_others_are_refused(name):
    model, shape, axes = FREE[name]
    assert never_wrong(model, shape) == axes


def test_a_rule_that_does_not_look_at_its_constant_is_found_out():
    """The control: the rule of before, which took any list for one and the same, gives wrong blocks."""
    with kept():
        oc.unregister("aten::searchsorted")
        oc.rule("aten::searchsorted")(lambda call: Law(call.identity().links, unread=frozenset({"sorted_sequence"})))
        with pytest.raises(WrongError, match="crop along H"):
            never_wrong(net(levels_by_row), (1, 3, 12, 11))


@torch.library.custom_op("overlapcalc_test::tinted", mutates_args=())
def tinted(x: Tensor, colour: Tensor, y: Tensor | None = None) -> Tensor:
    return x * colour.sum() + (0 if y is None else y.mean())


@tinted.register_fake
def _(x: Tensor, colour: Tensor, y: Tensor | None = None) -> Tensor:
    return torch.empty_like(x)


def test_a_constant_that_no_rule_speaks_of_is_refused_unless_it_is_the_same_everywhere():
    def ramp(m: nn.Module, x: Tensor) -> Tensor:
        return tinted(x, torch.arange(3, dtype=x.dtype))

    def flat(m: nn.Module, x: Tensor) -> Tensor:
        return tinted(x, torch.ones(3, dtype=x.dtype))

    def flat_by_size(m: nn.Module, x: Tensor) -> Tensor:
        return tinted(x, torch.ones(x.shape[2], dtype=x.dtype))

    with kept():
        oc.rule("overlapcalc_test::tinted")(lambda call: call.local({}))
        assert never_wrong(Fn(flat), (1, 3, 12, 11)) == "HW"
        found = oc.analyze(Fn(ramp), (1, 3, 12, 11))
        assert {(o.axis, o.cause) for o in found.obstacles} == {("H", "absolute-position"), ("W", "absolute-position")}
        assert "constant as colour that varies" in found.obstacles[0].message
        assert {(o.axis, o.cause) for o in oc.analyze(Fn(flat_by_size), (1, 3, 12, 11)).obstacles} == {
            ("H", "size-dependent")
        }
        oc.unregister("overlapcalc_test::tinted")
        oc.rule("overlapcalc_test::tinted")(lambda call: call.local({}, constants={"colour": {}}))
        assert never_wrong(Fn(ramp), (1, 3, 12, 11)) == "HW"


def test_an_operand_that_no_rule_speaks_of_may_be_read_anywhere():
    def itself(m: nn.Module, x: Tensor) -> Tensor:
        return tinted(x, torch.ones(3, dtype=x.dtype), x)

    with kept():
        oc.rule("overlapcalc_test::tinted")(lambda call: call.local({}))
        found = oc.analyze(Fn(itself), (1, 3, 12, 11))
        assert {(o.axis, o.cause) for o in found.obstacles} == {("H", "global"), ("W", "global")}


def adaptive_norm(x: Tensor) -> Tensor:
    """A layer norm whose scale comes from the whole image."""
    return F.layer_norm(x.permute(0, 2, 3, 1), (3,), weight=x.mean((0, 2, 3))).permute(0, 3, 1, 2)


def adaptive_slope(x: Tensor) -> Tensor:
    return F.prelu(x, x.mean((0, 1, 2)))


@pytest.mark.parametrize(("function", "shape"), [(adaptive_norm, (1, 3, 12, 11)), (adaptive_slope, (1, 3, 12, 3))])
def test_weights_that_are_data_are_read(function, shape):
    found = oc.analyze(net(function), shape)
    assert {o.axis for o in found.obstacles} == {"H", "W"}
