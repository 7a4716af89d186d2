"""Matrix products and linear layers: the dimension that is summed over is read whole."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ...algebra.index_map import IndexMap
from ..accumulate import precise, wide
from ..call import Call
from ..cost import kernel
from ..facts import describe
from ..graph import Constant
from ..kind import Kind, Masking
from ..law import DimRead, Law, Link, Place, keep, whole
from ..parts import Band, Cut, Partial, in_parts
from ..registry import rule
from ..slab import Tensor


@rule("aten::linear")
def linear(call: Call) -> Law:
    """Mixes the last dimension: channels in a channels-last net."""
    n = len(call.shapes[0])
    weight = call.constant("weight")
    last = whole(n - 1, n - 1, "a linear layer mixes all positions of the axis")
    if weight is None:
        return matrix_product(call)
    if len(weight.shape) == 1:
        last = whole(n - 1, None, "a linear layer mixes all positions of the axis")
    elif weight.pattern is not None:
        last = replace(last, reads=IndexMap.table(weight.pattern))
    if call.position("input") is None:  # only the bias is data
        return matrix_product(call)
    places = (*call.place("weight", {0: n - 1} if len(weight.shape) > 1 else {}), *call.place("bias", {0: n - 1}))
    links = [Link(call.position("input") or 0, keep(n, but={n - 1: last}), exact=not weight.uneven)]
    at = call.position("bias")
    if at is not None:
        links.append(Link(at, _from_the_right(call, at)))
    return Law(tuple(links), places=places)


def _from_the_right(call: Call, operand: int) -> tuple[DimRead, ...]:
    """A summand, broadcast from the right as torch does."""
    shape, n = call.shapes[operand], len(call.shape)
    targets = [n - len(shape) + s for s in range(len(shape))]
    dims = [
        DimRead(s, t, None if shape[s] == 1 and call.shape[t] > 1 else IndexMap.identity())
        for s, t in enumerate(targets)
    ]
    return (*dims, *(DimRead(None, t) for t in range(n - len(shape))))


@rule("aten::matmul", "aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm", "aten::mv", "aten::dot", shown=False)
def matrix_product(call: Call) -> Law:
    """Rows of the left factor, columns of the right one; the dimension that is summed over is read whole."""
    n = len(call.shape)
    factors = {call.position(name): (name, *geometry) for name, geometry in _geometry(call).items()}
    links = []
    for k, shape in enumerate(call.shapes):
        if k not in factors:  # a summand
            links.append(Link(k, _from_the_right(call, k)))
            continue
        name, between, targets = factors[k]
        dims = [whole(between, None, "a matrix product mixes all positions of the axis")]
        exact = True
        other = _other(call, k)
        if other is not None:
            (theirs,) = (g for key, g in _geometry(call).items() if key != name)
            kept = max(theirs[1].items())[1]  # where the other factor's own dimension ends up
            exact = not other.uneven
            if other.pattern is not None:
                dims = [replace(dims[0], target=kept, reads=_lines(other, name == _names(call)[0]))]
        for s, t in targets.items():
            spread = shape[s] == 1 and call.shape[t] > 1
            dims.append(DimRead(s, t, None if spread else IndexMap.identity()))
        links.append(Link(k, tuple(dims), exact=exact))
    return Law(tuple(links), places=_factors(call, n))


def _geometry(call: Call) -> dict[str, tuple[int, dict[int, int]]]:
    """For each factor: the dimension that is summed over, and where the others end up in the product.

    A vector has no rows, or no columns, of its own; the product then has one dimension less.
    """
    names = _names(call)
    ranks = []
    for name in names:
        value, at = call[name], call.position(name)
        ranks.append(len(value.shape) if isinstance(value, Constant) else len(call.shapes[at or 0]))
    n = len(call.shape)
    lead = n - sum(m >= 2 for m in ranks)  # the number of dimensions of the product before rows and columns
    turned = call.node.op == "aten::linear"  # its weight has the columns first
    found: dict[str, tuple[int, dict[int, int]]] = {}
    for place, (name, m) in enumerate(zip(names, ranks, strict=True)):
        if m == 1:
            found[name] = (0, {})
            continue
        between = m - 1 if place == 0 or turned else m - 2
        own = 2 * m - 3 - between  # the other one of the last two
        targets = {s: lead - (m - 2) + s for s in range(m - 2)}
        found[name] = (between, {**targets, own: lead if place == 0 else n - 1})
    return found


def _other(call: Call, operand: int) -> Constant | None:
    """The constant that the only data factor of a product is multiplied by."""
    left, right = _names(call)
    pair = call[left], call[right]
    at = call.position(left), call.position(right)
    if at == (operand, None) and isinstance(pair[1], Constant):
        return pair[1] if len(pair[1].shape) >= 2 else None
    if at == (None, operand) and isinstance(pair[0], Constant):
        return pair[0] if len(pair[0].shape) >= 2 else None
    return None


def _lines(factor: Constant, right: bool) -> IndexMap:
    """The summed indices that each column of a right factor, or each row of a left one, uses."""
    assert factor.pattern is not None
    if not right:
        return IndexMap.table(factor.pattern)
    columns: list[list[int]] = [[] for _ in range(factor.shape[-1])]
    for i, row in enumerate(factor.pattern):
        for j in row:
            columns[j].append(i)
    return IndexMap.table(columns)


def _names(call: Call) -> tuple[str, str]:
    """The arguments that are the two factors."""
    return next(
        pair for pair in (("mat1", "mat2"), ("batch1", "batch2"), ("self", "mat2"), ("self", "other"), ("self", "vec"),
                          ("self", "tensor"), ("input", "weight")) if all(name in call.node.args for name in pair)
    )  # fmt: skip


def _factors(call: Call, n: int) -> tuple[Place, ...]:
    """Constant factors lie along every dimension that the product keeps; a constant summand, as it is broadcast."""
    geometry = _geometry(call)
    places: list[Place] = []
    for name, value in call.node.args.items():
        if isinstance(value, Constant):
            m = len(value.shape)
            places += call.place(name, geometry[name][1] if name in geometry else {s: n - m + s for s in range(m)})
    return tuple(places)


describe("aten::linear", "aten::matmul", "aten::bmm", "aten::mm", "aten::addmm", "aten::baddbmm", "aten::mv",
         "aten::dot", kind=Kind.MATRIX_PRODUCT)  # fmt: skip


describe("aten::matmul", "aten::bmm", masking=Masking.WEIGHS)


@rule("aten::_cdist_forward", "aten::_euclidean_dist", shown=False)
def distances(call: Call) -> Law:
    """Rows of the first operand against rows of the second; each row is read whole."""
    n = len(call.shape)
    places: list[Place] = []
    links = []
    for place, name in enumerate(("x1", "x2")):
        value, at, target = call[name], call.position(name), n - 2 + place
        rank = len(value.shape) if isinstance(value, Constant) else len(call.shapes[at or 0])
        targets = {s: n - rank + s for s in range(rank - 2)} | {rank - 2: target}
        places += call.place(name, targets)
        if at is None:
            continue
        dims = [DimRead(s, t, None if call.shapes[at][s] == 1 and call.shape[t] > 1 else IndexMap.identity())
                for s, t in targets.items()]  # fmt: skip
        dims.append(whole(rank - 1, None, "a distance is taken along the axis"))
        met = {d.target for d in dims}
        links.append(Link(at, (*dims, *(DimRead(None, t) for t in range(n) if t not in met))))
    return Law(tuple(links), places=tuple(places))


@kernel("aten::addmm", "aten::baddbmm", dense=True)
@kernel("aten::linear", "aten::matmul", "aten::bmm", "aten::mm", "aten::mv", "aten::dot")
def product_kernel(call: Call) -> int:
    """Every entry of the product, times the length of the dimension that is summed over."""
    name = _names(call)[0]
    value, at = call[name], call.position(name)
    shape = call.shapes[at] if at is not None else value.shape
    return prod(call.shape) * int(shape[_geometry(call)[name][0]])


# ---- in parts, where both factors are cut along the dimension that is summed over -------------------------------

SUMS = frozenset({"aten::addmm", "aten::baddbmm", "aten::linear"})
"""Products that something may be added to."""


def contracts(call: Call, cut: Cut) -> bool:
    """Whether both factors are data that are cut along the dimension that is summed over, and nothing else is cut."""
    names = _names(call)
    at = {name: call.position(name) for name in names}
    if any(k is None for k in at.values()) or call["out_dtype"] is not None:
        return False
    between = {at[name]: geometry[0] for name, geometry in _geometry(call).items()}
    return all(d == between.get(k) for k, d in enumerate(cut))


def start(band: Band) -> Partial:
    """The product of the bands, and for some operators what is added to it: what the operator itself makes of factors
    with nothing to sum over."""
    call = band.call
    names, geometry = _names(call), _geometry(call)
    factors = [band.operand(call.position(name) or 0) for name in names]
    left, right = (wide(x) for x in factors)
    if call.node.op == "aten::linear" and right.dim() > 1:
        right = right.transpose(-1, -2)
    product = precise(left.matmul(right))
    if call.node.op not in SUMS:
        return (product,)
    nothing = {name: x.narrow(geometry[name][0], 0, 0) for name, x in zip(names, factors, strict=True)}
    return product, precise(wide(band.run(**nothing)))


def combine(a: Partial, b: Partial) -> Partial:
    """The products are added; a summand counts once."""
    return (a[0] + b[0], *a[1:])


def finish(call: Call, partial: Partial) -> Tensor:
    total, *summand = partial
    alpha = call["alpha"]
    if alpha is not None and alpha != 1:
        total = total * alpha
    return total + summand[0] if summand else total


in_parts("aten::matmul", "aten::bmm", "aten::mm", "aten::mv", "aten::dot", "aten::addmm", "aten::baddbmm",
         "aten::linear", fits=contracts, start=start, combine=combine, finish=finish)  # fmt: skip
