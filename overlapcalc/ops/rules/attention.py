"""Attention: queries keep their place, keys and values are read whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from ...algebra.index_map import IndexMap
from ..call import Call
from ..cost import kernel
from ..facts import describe
from ..graph import Constant
from ..kind import Masking
from ..law import Cause, DimRead, Law, Link, Obstruction, Place, drawn, whole
from ..registry import rule
from ..slab import Slab, Tensor, on_slab

EVERY = "attention reads every position"
CAUSAL = Obstruction(Cause.POSITION, "each query sees the keys up to its own place, counted from the start of the axis")
WEIGHTS = ("qkv_weight", "qkv_bias", "proj_weight", "proj_bias")
FUSED = (
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
)


@rule("aten::_native_multi_head_attention", shown=False)
def multi_head_attention(call: Call) -> Law:
    """(batch, position, channel): positions and channels are read whole.

    A mask of type 0 is (query, key), of type 1 (batch, key), of type 2 (batch, head, query, key).
    """
    n = len(call.shape)
    links = []
    for k, shape in enumerate(call.shapes):
        dims = [DimRead(0, 0, IndexMap.identity())]
        dims += [whole(s, None, EVERY) for s in range(1, len(shape))]
        links.append(Link(k, (*dims, *(DimRead(None, t) for t in range(1, n)))))
    places = [p for name in WEIGHTS for p in call.place(name)]
    places += [p for name in ("query", "key", "value") for p in call.place(name, {0: 0})]
    if call["mask_type"] is not None:
        places += call.place("mask", {} if call["mask_type"] == 0 else {0: 0})
    return Law(tuple(links), places=tuple(places))


@rule(*FUSED, shown=False)
def attention(call: Call) -> Law:
    """(..., position, channel), leading dimensions broadcast; a mask is (..., query, key)."""
    if call.node.result:  # a result that only a backward pass uses
        return Law(())
    n = len(call.shape)
    mask = "attn_bias" if "attn_bias" in call.node.args else "attn_mask"
    exact = call[mask] is None and not call["is_causal"]
    links, places = [], list[Place]()
    for name in ("query", "key", "value", mask):
        at = call.position(name)
        shape = call.shapes[at] if at is not None else call[name].shape if isinstance(call[name], Constant) else ()
        m = len(shape)
        lead = {s: s + n - m for s in range(m - 2)}
        own = {"query": {m - 2: n - 2}, "value": {m - 1: n - 1}, mask: {m - 2: n - 2}}.get(name, {})
        if at is None:
            places += call.place(name, {**lead, **own})
            continue
        dims = [  # several heads of queries may share one of keys and values
            DimRead(s, t, IndexMap.repeat(max(1, call.shape[t] // max(1, shape[s]))))
            for s, t in {**lead, **own}.items()
        ]
        dims += [whole(s, None, EVERY) for s in (m - 2, m - 1) if s not in own]
        if call["is_causal"] and name in ("key", "value"):
            dims = [replace(d, carried=n - 2) if d.source == m - 2 else d for d in dims]
        if call["is_causal"] and name == "query":  # on a tile the mask would begin anew
            here = IndexMap.identity()
            dims = [replace(d, obstruction=CAUSAL, here=here, carried=n - 2) if d.target == n - 2 else d for d in dims]
        met = {d.target for d in dims}
        links.append(Link(at, (*dims, *(DimRead(None, t) for t in range(n) if t not in met)), exact=exact))
    return Law(tuple(links), obstructions=drawn(n) if call["dropout_p"] else (), places=tuple(places))


describe(*FUSED, masking=Masking.ATTENDS)

SCORES = 1 << 20
"""About as many products of queries and keys are held at once."""


@on_slab(*FUSED)
def attention_on_slab(slab: Slab) -> Tensor:
    """A few queries at a time, each against all keys. Causal: a query sees keys up to its own position in the whole."""
    call = slab.call
    n = len(call.shape)
    mask = "attn_bias" if "attn_bias" in call.node.args else "attn_mask"
    if call["is_causal"] and (mask not in call.node.args or call[mask] is not None):
        raise slab.none("is causal, and takes no other mask that would say so for a part of the queries")
    at, of_keys = call.position("query"), call["key"]
    keys = of_keys.shape[-2] if isinstance(of_keys, Constant) else call.shapes[call.position("key") or 0][-2]
    queries = slab.shape[n - 2]
    step = max(1, SCORES // keys)
    if call["is_causal"]:
        places = slab.positions(n - 2)
        ahead = slab.counted(keys).unsqueeze(0) > places.unsqueeze(1)
        if at is None:
            return slab.run(is_causal=False, **{mask: ~ahead})
        q = slab.fetch(at)
        return _in_pieces(
            slab,
            step,
            lambda i, m: slab.run(query=q.narrow(-2, i, m), is_causal=False, **{mask: ~ahead.narrow(0, i, m)}),
        )
    if at is None or call[mask] is not None or queries <= step:
        return slab.run()
    q = slab.fetch(at)
    return _in_pieces(slab, step, lambda i, m: slab.run(query=q.narrow(-2, i, m)))


def _in_pieces(slab: Slab, step: int, compute: Callable[[int, int], Tensor]) -> Tensor:
    """The result, a few queries after another, each written where it belongs."""
    made: Tensor = None
    for i, m in slab.pieces(slab.shape[-2], step):
        piece = compute(i, m)
        if m == slab.shape[-2]:
            return piece
        if made is None:
            made = piece.new_empty([*piece.shape[:-2], slab.shape[-2], piece.shape[-1]])
        made.narrow(-2, i, m).copy_(piece)
    return made


@kernel(*FUSED, dense=True)
def attention_kernel(call: Call) -> int:
    """Queries times keys, and the result times values."""
    shapes = []
    for name in ("query", "key", "value"):
        value, at = call[name], call.position(name)
        shapes.append(call.shapes[at] if at is not None else value.shape)
    query, key, value = shapes
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
