"""Family constants: look-ups, searches, scatters and samplers, each operand in turn a constant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .hazard import hazard

LEVELS = 5


def _levels(x: Tensor) -> Tensor:
    return torch.linspace(0.1, 1.2, LEVELS, dtype=x.dtype)


@hazard("constants", "input", "levels")
def bucketize(net: Any, x: Tensor) -> Tensor:
    levels = net.put("levels", _levels(x), "sorted")
    return torch.bucketize(net.put("input", x).contiguous(), levels, right=True).to(x.dtype)


@hazard("constants", "levels", "values")
def searchsorted_rows(net: Any, x: Tensor) -> Tensor:
    """Each row has levels of its own."""
    levels = _levels(x).expand(*x.shape[:3], LEVELS).contiguous()
    return torch.searchsorted(
        net.put("levels", levels, "sorted") / 3, net.put("values", x).expand_as(x).contiguous()
    ).to(x.dtype)


@hazard("constants", "levels", "values")
def searchsorted_pixels(net: Any, x: Tensor) -> Tensor:
    levels = _levels(x).expand(*x.shape, LEVELS).contiguous()
    values = net.put("values", x[..., None]).expand(*x.shape, 1)
    return torch.searchsorted(net.put("levels", levels, "sorted") / 3, values.contiguous(), side="right")[..., 0].to(
        x.dtype
    )


@hazard("constants", "levels")
def searchsorted_far(net: Any, x: Tensor) -> Tensor:
    """Levels several units away, which values near zero never reach."""
    levels = _levels(x).expand(*x.shape[:3], LEVELS).contiguous()
    return torch.searchsorted(net.put("levels", levels, "sorted") * 10 + 20, x * 100).to(x.dtype)


@hazard("constants", "sorter")
def searchsorted_sorter(net: Any, x: Tensor) -> Tensor:
    order = net.put("sorter", torch.arange(LEVELS), "index", LEVELS)
    return torch.searchsorted(_levels(x), x.contiguous(), sorter=order).to(x.dtype)


@hazard("constants", "tests", "input")
def isin(net: Any, x: Tensor) -> Tensor:
    tests = net.put("tests", torch.arange(3), "index", 4)
    return torch.isin(net.put("input", (x * 4).long(), "index", 4), tests).to(x.dtype)


@hazard("constants", "tests")
def isin_image(net: Any, x: Tensor) -> Tensor:
    """A set that is an image as large as this one."""
    tests = net.put("tests", (x * 0).long(), "index", 9)
    return torch.isin((x * 4).long(), tests).to(x.dtype)


@hazard("constants", "index", "table")
def embedding(net: Any, x: Tensor) -> Tensor:
    index = net.put("index", (x[:, 0] * 3).long().clamp(0, 3), "index", 4)
    table = net.put("table", torch.ones(4, 2, dtype=x.dtype)).expand(4, 2)
    return torch.cat([F.embedding(index, table).permute(0, 3, 1, 2), x], 1)


@hazard("constants", "table")
def look_up_per_row(net: Any, x: Tensor) -> Tensor:
    """Every row has a table of its own, indexed by values."""
    h = x.shape[2]
    table = net.put("table", torch.ones(h, 4, dtype=x.dtype)).expand(h, 4)
    rows = torch.arange(h)[:, None].expand(h, x.shape[3])
    return table[rows, (x[0, 0] * 3).long().clamp(0, 3)][None, None] + x


@hazard("constants", "table")
def look_up_by_gather(net: Any, x: Tensor) -> Tensor:
    h = x.shape[2]
    table = net.put("table", torch.ones(h, 4, dtype=x.dtype)).expand(h, 4)
    return torch.gather(table, 1, (x[0, 0] * 3).long().clamp(0, 3))[None, None] + x


@hazard("constants", "table")
def take(net: Any, x: Tensor) -> Tensor:
    table = net.put("table", torch.ones(4, dtype=x.dtype))
    return torch.take(table, (x * 3).long().clamp(0, 3))


@hazard("constants", "index")
def gather_channels(net: Any, x: Tensor) -> Tensor:
    return torch.gather(x, 1, net.put("index", (x * 0).long(), "index", x.shape[1]))


@hazard("constants", "index")
def gather_columns(net: Any, x: Tensor) -> Tensor:
    return torch.gather(x, 3, net.put("index", (x * 0).long(), "index", x.shape[3]))


@hazard("constants", "index", "input")
def take_along_channels(net: Any, x: Tensor) -> Tensor:
    return torch.take_along_dim(
        net.put("input", x).expand_as(x), net.put("index", x.argmax(1, keepdim=True), "index", x.shape[1]), 1
    )


@hazard("constants", "index", "source", "self")
def scatter_channels(net: Any, x: Tensor) -> Tensor:
    index = net.put("index", x.argmax(1, keepdim=True), "index", x.shape[1])
    source = net.put("source", x[:, :1] * 2)
    return net.put("self", x).expand_as(x).scatter(1, index, source.expand_as(index.to(x.dtype)))


@hazard("constants", "index", "source")
def scatter_add_channels(net: Any, x: Tensor) -> Tensor:
    index = net.put("index", x.argmax(1, keepdim=True), "index", x.shape[1])
    return x.scatter_add(1, index, net.put("source", x[:, :1] * 2).expand_as(x[:, :1]))


@hazard("constants", "index", "source")
def scatter_columns(net: Any, x: Tensor) -> Tensor:
    return x.scatter(3, net.put("index", (x * 0).long(), "index", x.shape[3]), net.put("source", x * 2).expand_as(x))


@hazard("constants", "index", "source")
def index_copy_channels(net: Any, x: Tensor) -> Tensor:
    index = net.put("index", torch.zeros(1, dtype=torch.long), "index", x.shape[1])
    return x.index_copy(1, index, net.put("source", x[:, :1] * 2).expand_as(x[:, :1]))


@hazard("constants", "index")
def index_channels(net: Any, x: Tensor) -> Tensor:
    return x[:, net.put("index", torch.zeros(3, dtype=torch.long), "index", x.shape[1])]


@hazard("constants", "index")
def index_columns(net: Any, x: Tensor) -> Tensor:
    return x[..., net.put("index", torch.arange(x.shape[3]), "index", x.shape[3])]


@hazard("constants", "index")
def index_select_rows(net: Any, x: Tensor) -> Tensor:
    return x.index_select(2, net.put("index", torch.arange(x.shape[2]), "index", x.shape[2]))


@hazard("constants", "values")
def index_put_channels(net: Any, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, torch.tensor([0])] = net.put("values", x[:, :1])
    return y


@hazard("constants", "values")
def index_add_rows(net: Any, x: Tensor) -> Tensor:
    return x.index_add(2, torch.arange(x.shape[2]), net.put("values", x).expand_as(x).contiguous())


@hazard("constants", "mask")
def index_put_mask(net: Any, x: Tensor) -> Tensor:
    y = x.clone()
    y[net.put("mask", x > 0.5, "bool")] = 0.25
    return y


@hazard("constants", "source", "self")
def select_scatter_channel(net: Any, x: Tensor) -> Tensor:
    return net.put("self", x).expand_as(x).select_scatter(net.put("source", x[:, 0] * 2).expand_as(x[:, 0]), 1, 0)


@hazard("constants", "source", "self")
def select_scatter_row(net: Any, x: Tensor) -> Tensor:
    return net.put("self", x).expand_as(x).select_scatter(net.put("source", x[:, :, 0] * 2).expand_as(x[:, :, 0]), 2, 1)


@hazard("constants", "source", "self")
def slice_scatter_columns(net: Any, x: Tensor) -> Tensor:
    return net.put("self", x).expand_as(x).slice_scatter(net.put("source", x * 2).expand_as(x)[..., 1:], 3, 1)


@hazard("constants", "source")
def slice_scatter_channels(net: Any, x: Tensor) -> Tensor:
    return x.slice_scatter(net.put("source", x[:, :1] * 2).expand_as(x[:, :1]), 1, 0, 1)


@hazard("constants", "source")
def masked_scatter(net: Any, x: Tensor) -> Tensor:
    return x.masked_scatter(x > 0.5, net.put("source", x * 2).expand_as(x).contiguous())


@hazard("constants", "grid", "input")
def grid_sample(net: Any, x: Tensor) -> Tensor:
    grid = F.affine_grid(torch.eye(2, 3, dtype=x.dtype)[None], list(x.shape), align_corners=False)
    return F.grid_sample(net.put("input", x).expand_as(x), net.put("grid", grid).expand_as(grid), align_corners=False)


@hazard("constants", "theta")
def affine_sample(net: Any, x: Tensor) -> Tensor:
    theta = net.put("theta", torch.eye(2, 3, dtype=x.dtype)[None]).expand(1, 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


@hazard("constants", "window")
def unfolded(net: Any, x: Tensor) -> Tensor:
    """Weights on the neighbours of every sample, by unfold."""
    n, c, h, w = x.shape
    t = F.unfold(x, 3, padding=1).view(n, c, 9, h, w)
    return (t * net.put("window", torch.ones(1, 1, 9, h, w, dtype=x.dtype)).expand(1, 1, 9, h, w)).sum(2)


@hazard("constants", "window")
def folded(net: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    t = F.unfold(x, 3, padding=1)
    window = net.put("window", torch.ones(1, 9, h * w, dtype=x.dtype)).expand(1, 9, h * w)
    return F.fold((t.view(n, c, 9, -1) * window[:, None]).flatten(1, 2), (h, w), 3, padding=1)


@hazard("constants", "bins")
def one_hot_bins(net: Any, x: Tensor) -> Tensor:
    bins = torch.bucketize(x[:, :1].contiguous(), net.put("bins", _levels(x), "sorted"))
    return F.one_hot(bins[:, 0], LEVELS + 1).permute(0, 3, 1, 2).to(x.dtype)


@hazard("constants", "values")
def interpolated(net: Any, x: Tensor) -> Tensor:
    """A small constant, resized to the image."""
    small = net.put("values", torch.ones(1, 1, 4, 4, dtype=x.dtype)).expand(1, 1, 4, 4)
    return x * F.interpolate(small, x.shape[2:], mode="bilinear", align_corners=True)


@hazard("constants", "values")
def pooled(net: Any, x: Tensor) -> Tensor:
    """A constant as large as the image, resampled and filtered like it."""
    made = net.put("values", torch.ones_like(x)).expand_as(x)
    return F.avg_pool2d(x, 2) * F.avg_pool2d(made, 2) + F.max_pool2d(made, 2)


@hazard("constants", "index", "self")
def index_fill_channels(net: Any, x: Tensor) -> Tensor:
    index = net.put("index", torch.zeros(1, dtype=torch.long), "index", x.shape[1])
    return net.put("self", x).expand_as(x).index_fill(1, index, 0.5) + x


@hazard("constants", "index", "source")
def index_reduce_channels(net: Any, x: Tensor) -> Tensor:
    index = net.put("index", torch.zeros(1, dtype=torch.long), "index", x.shape[1])
    return x.index_reduce(1, index, net.put("source", x[:, :1] * 2).expand_as(x[:, :1]), "amax")


@hazard("constants", "index", "values")
def index_put_rows(net: Any, x: Tensor) -> Tensor:
    """Rows by a list of their indices."""
    index = net.put("index", torch.arange(x.shape[2]), "index", x.shape[2])
    values = net.put("values", x * 2).expand_as(x)
    return x.index_put((torch.tensor([0]), torch.tensor([0])), values[0, :1], accumulate=True) + x[:, :, index]
