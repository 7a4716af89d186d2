"""Numbers that forward reads out of constants: buffers, and tensors made of nothing but numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import never_wrong
from torch import Tensor, nn

import overlapcalc as oc

Forward = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, forward: Forward):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.register_buffer("count", torch.tensor(2))
        self.register_buffer("order", torch.tensor([0, 1, 3, 2]))
        self.register_buffer("gain", torch.tensor([0.5, 2.0]))
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.pads = torch.tensor([1, 1])
        self.step = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, x)


def times_item(net: Net, x: Tensor) -> Tensor:
    for _ in range(net.count.item()):
        x = net.conv(x)
    return x


def times_range(net: Net, x: Tensor) -> Tensor:
    for _ in range(net.count):
        x = net.conv(x)
    return x


def ordered(net: Net, x: Tensor) -> Tensor:
    return net.conv(net.conv(x).permute(*net.order)).permute(*net.order)


def made_order(net: Net, x: Tensor) -> Tensor:
    order = torch.cat((torch.tensor([1, 0], device=x.device), torch.arange(2, x.ndim, device=x.device)))
    y = net.conv(x).permute(*order).contiguous()
    return net.conv(torch.round(y.reshape(y.size(0), 1, -1)).reshape(y.shape).permute(*order))


def written_order(net: Net, x: Tensor) -> Tensor:
    order = torch.arange(x.ndim)
    first = order[:2]
    first[0], first[1] = 1, 0
    return net.conv(net.conv(x).permute(*order).permute(order.tolist()))


def padded(net: Net, x: Tensor) -> Tensor:
    left, right = net.pads.tolist()
    return F.avg_pool2d(F.pad(net.conv(x), (left, right, left, right), mode="replicate"), 3, stride=1)


def sliced(net: Net, x: Tensor) -> Tensor:
    channels = net.count.unsqueeze(0)[0] // 1
    return net.conv(net.conv(x.repeat(1, net.count, 1, 1)[:, :channels]))


def branched(net: Net, x: Tensor) -> Tensor:
    return net.conv(net.conv(x)) if net.gain.max() > 1 and torch.equal(net.order, net.order.clone()) else x.flip(2)


def through_numpy(net: Net, x: Tensor) -> Tensor:
    for gain in net.gain.double().numpy():
        x = net.conv(x) * float(gain)
    return x


def doubled(net: Net, x: Tensor) -> Tensor:
    return net.conv(F.avg_pool2d(F.interpolate(net.conv(x), scale_factor=net.gain[1].item()), 2))


SAID = [doubled, times_item, times_range, ordered, made_order, written_order, padded, sliced, branched, through_numpy]


@pytest.mark.parametrize("forward", SAID)
def test_numbers_out_of_constants_are_known(forward: Forward):
    """All of them are two windows of three, one after the other, on both axes."""
    analysis = oc.analyze(Net(forward), (1, 2, 24, 24))
    assert not analysis.obstacles
    assert [analysis.pairs[0][axis].context for axis in ("H", "W")] == [oc.Sides(2, 2)] * 2


@pytest.mark.parametrize("forward", SAID)
def test_such_nets_run_by_blocks(forward: Forward):
    net = Net(forward).double().eval()
    x = torch.rand(1, 2, 24, 20, dtype=torch.float64)
    with torch.no_grad():
        whole = net(x)
    for schedule in ("crop", "trim", "stream"):
        assert torch.allclose(oc.tiled(net, schedule=schedule, block=8)(x), whole, rtol=0, atol=1e-12)


def test_another_number_is_another_net():
    net = Net(times_item).double().eval()
    x = torch.rand(1, 2, 24, 20, dtype=torch.float64)
    blocks = oc.tiled(net, block=8)
    blocks(x)
    net.count.fill_(3)
    with torch.no_grad():
        assert torch.allclose(blocks(x), net(x), rtol=0, atol=1e-12)
    assert oc.analyze(net, (1, 2, 24, 24)).pairs[0]["H"].context == oc.Sides(3, 3)


# ---- what is no constant -------------------------------------------------------------------------------------------


def of_data(net: Net, x: Tensor) -> Tensor:
    return net.conv(x) * x.mean().item()


def of_a_parameter(net: Net, x: Tensor) -> Tensor:
    return net.conv(x) if net.scale > 0 else x


def drawn(net: Net, x: Tensor) -> Tensor:
    return net.conv(x)[:, : int(torch.randint_like(net.count, 1, 3))]


def drawn_and_written(net: Net, x: Tensor) -> Tensor:
    count = net.count.clone()
    count.random_(1, 3)
    return net.conv(x)[:, : int(count)]


def overwritten(net: Net, x: Tensor) -> Tensor:
    count = net.count.clone()
    count.copy_((x.sum() > 0).long())
    return net.conv(x)[:, : int(count)]


def overwritten_in_a_view(net: Net, x: Tensor) -> Tensor:
    order = net.order.clone()
    order.view(2, 2)[0].copy_((x[0, :, 0, 0] > 0).long())
    return net.conv(x).permute(*order)


def overwritten_by_statistics(net: Net, x: Tensor) -> Tensor:
    mean = torch.zeros(2, dtype=x.dtype)
    F.batch_norm(x, mean, torch.ones(2, dtype=x.dtype), training=True)
    return net.conv(x) * mean[0].item()


def overwritten_by_native_statistics(net: Net, x: Tensor) -> Tensor:
    mean = torch.zeros(2, dtype=x.dtype)
    torch.native_batch_norm(x, None, None, mean, torch.ones(2, dtype=x.dtype), True, 0.1, 1e-5)
    return net.conv(x) * mean[0].item()


@pytest.mark.parametrize(
    "forward",
    [
        overwritten_by_native_statistics,
        of_data,
        of_a_parameter,
        drawn,
        drawn_and_written,
        overwritten,
        overwritten_in_a_view,
        overwritten_by_statistics,
    ],
)
def test_numbers_out_of_anything_else_are_refused(forward: Forward):
    with pytest.raises(oc.TraceError, match=r"data|run time"):
        oc.analyze(Net(forward), (1, 2, 24, 24))


def counted_before(net: Net, x: Tensor) -> Tensor:
    net.count.add_(1)
    return times_item(net, x)


def counted_after(net: Net, x: Tensor) -> Tensor:
    y = times_item(net, x)
    net.count += 1
    return y


def counted_in_a_view(net: Net, x: Tensor) -> Tensor:
    net.order[2:].view(2, 1).mul_(1)
    return ordered(net, x)


def replaced(net: Net, x: Tensor) -> Tensor:
    y = times_item(net, x)
    net.count = net.count + 1
    return y


def normed_after(net: Net, x: Tensor) -> Tensor:
    order = net.order.double()
    y = times_item(net, x) * net.gain[0].item()
    torch.native_batch_norm(x, None, None, net.gain, order[:2].to(net.gain.dtype), True, 0.1, 1e-5)
    return y


def test_a_number_that_statistics_overwrite_is_refused_by_name():
    with pytest.raises(oc.TraceError, match="reads a number out of gain and changes it"):
        oc.analyze(Net(normed_after), (1, 2, 24, 24))


@pytest.mark.parametrize("forward", [counted_before, counted_after, counted_in_a_view, replaced])
def test_a_number_that_forward_changes_is_refused_by_name(forward: Forward):
    with pytest.raises(oc.TraceError, match=r"reads a number out of (count|order) and changes it"):
        oc.analyze(Net(forward), (1, 2, 24, 24))


def written_through_numpy(net: Net, x: Tensor) -> Tensor:
    numbers = net.order.numpy()
    numbers[0] += 1
    return net.conv(x) * int(net.order[0])


def counted_under_another_name(net: Net, x: Tensor) -> Tensor:
    net.alike.add_(1)
    return times_item(net, x)


def filled_by_a_weight(net: Net, x: Tensor) -> Tensor:
    net.conv.bias.fill_(3.0)
    return net.conv(x) * net.bias_again[0].item()


@pytest.mark.parametrize(
    ("forward", "name"),
    [(written_through_numpy, "order"), (counted_under_another_name, "count"), (filled_by_a_weight, "bias_again")],
)
def test_nor_through_memory_that_it_shares(forward: Forward, name: str):
    net = Net(forward)
    net.register_buffer("alike", net.count.view(1))
    net.register_buffer("bias_again", net.conv.bias.detach())
    with pytest.raises(oc.TraceError, match=rf"reads a number out of {name} and changes it"):
        oc.analyze(net, (1, 2, 24, 24))


class Calls(Net):
    def __call__(self, x: Tensor) -> Tensor:
        self.count.copy_((x.sum() > 0).long())
        return super().__call__(x)


def hooked() -> Net:
    net = Net(times_item)
    net.register_forward_pre_hook(lambda net, x: net.count.copy_((x[0].sum() > 0).long()) and None)
    return net


@pytest.mark.parametrize("make", [lambda: Calls(times_item), hooked], ids=["call", "hook"])
def test_numbers_that_may_change_before_forward_begins_are_refused(make: Callable[[], Net]):
    with pytest.raises(oc.TraceError, match=r"data|run time"):
        oc.analyze(make(), (1, 2, 24, 24))


def test_a_byte_in_brackets_is_a_mask_and_no_number():
    """As torch has it: `x[:, mask]` has one dimension more."""
    net = Net(lambda net, x: net.conv(x)[:, net.mask].reshape(1, -1, *x.shape[2:]) * net.count.item())
    net.register_buffer("mask", torch.tensor(1, dtype=torch.uint8))
    never_wrong(net, (1, 2, 24, 20))
