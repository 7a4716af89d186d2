"""Memory that operators share without saying so: what is written in place is seen through every name of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from shared.blockwise import contexts, errors, made
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from overlapcalc.trace.export import export
from overlapcalc.trace.memory import MemoryGroups, found


def dropout_of_nothing(net, x):
    z = net.a(x).relu()
    F.dropout(z, 0.0, True).copy_(net.b(x))
    return z + 1


def alpha_dropout_of_nothing(net, x):
    z = net.a(x).relu()
    F.alpha_dropout(z, 0.0, True).copy_(net.b(x))
    return z + 1


def chunks(net, x):
    z = net.a(x).relu()
    pieces = z.unsafe_chunk(1, 1)
    z.copy_(net.b(x))
    return torch.cat(pieces, 1)


def pieces(net, x):
    z = net.a(x).relu()
    (piece,) = torch.unsafe_split(z, 1, 1)
    piece.mul_(net.b(x))
    return z


def pieces_of_sizes(net, x):
    z = torch.cat([net.a(x), net.a(x)], 1)
    first, second = torch.unsafe_split_with_sizes(z, [1, 1], 1)
    second.copy_(net.b(x))
    return first + z[:, 1:]


def conjugate_of_a_real_number(net, x):
    z = net.a(x).relu()
    z.conj_physical().copy_(net.b(x))
    return z + 1


def mesh_of_one(net, x):
    z = net.a(x).relu()
    (mesh,) = torch.meshgrid(z.flatten(), indexing="ij")
    z.copy_(net.b(x))
    return mesh.view(z.shape) + 1


def product_of_one(net, x):
    z = net.a(x).relu()
    product = torch.cartesian_prod(z.flatten())
    z.copy_(net.b(x))
    return product.view(z.shape) + 1


def einsum_of_one(net, x):
    z = net.a(x).relu()
    turned = torch.einsum("nchw->nwch", z)
    z.copy_(net.b(x))
    return turned.permute(0, 2, 3, 1) + 1


def broadcast_of_two(net, x):
    z, w = net.a(x).relu(), net.a(x).sigmoid()
    _, second = torch.broadcast_tensors(z, w)
    second.copy_(net.b(net.b(x)))
    return z + w


def one_in_another(net, x):
    z = net.a(x).relu()
    F.dropout(F.dropout2d(z.conj_physical(), 0.0, True), 0.0, True).type_as(z).copy_(net.b(x))
    return z


def sum_to_its_own_size(net, x):
    z = net.a(x).relu()
    z.sum_to_size(z.shape).mul_(net.b(x))
    return z


def with_gradients(net, x):
    """A part of the program with a graph of its own."""
    z = net.a(x).relu()
    with torch.enable_grad():
        (piece,) = z.unsafe_chunk(1, 1)
        piece.copy_(net.b(x))
    return z + 1


def into_out(net, x):
    z = net.a(x).relu()
    torch.add(net.b(x), 1, out=F.alpha_dropout(z, 0, True))
    return z


ALIASES = [dropout_of_nothing, alpha_dropout_of_nothing, chunks, pieces, pieces_of_sizes, conjugate_of_a_real_number,
           mesh_of_one, product_of_one, einsum_of_one, one_in_another, sum_to_its_own_size, with_gradients,
           into_out]  # fmt: skip

SAME_OR_A_COPY = {
    "contiguous": lambda z: z.contiguous(),
    "to": lambda z: z.to(z.dtype),
    "reshape": lambda z: z.reshape(z.shape),
    "pad by nothing": lambda z: F.pad(z, (0, 0, 0, 0)),
    "narrow_copy": lambda z: torch.narrow_copy(z, 2, 0, z.shape[2]),
    "squeeze_copy": lambda z: torch.squeeze_copy(z)[None, None],
    "repeat once": lambda z: z.repeat(1, 1, 1, 1),
    "cat of one": lambda z: torch.cat([z], 1),
    "atleast_1d": torch.atleast_1d,
    "positive": lambda z: +z,
}
"""What gives back its operand, and what copies it."""


@pytest.mark.parametrize(
    "function", few(ALIASES, [f for f in ALIASES if f is not mesh_of_one]), ids=lambda f: f.__name__
)
def test_blocks_are_the_whole(function):
    net, x = made(function)
    assert set(contexts(net, x).values()) == {(2, 2)}
    assert max(errors(net, x).values()) <= 1e-12


def test_results_that_share_with_several_operands():
    net, x = made(broadcast_of_two)
    assert set(contexts(net, x).values()) == {(4, 4)}
    assert max(errors(net, x).values()) <= 1e-12


@pytest.mark.parametrize("name", few(SAME_OR_A_COPY, 5))
def test_a_copy_keeps_what_was_there(name):
    """The net itself says which of them it is: what a far sample does to it."""

    def forward(net, x):
        z = net.a(x).relu()
        same = SAME_OR_A_COPY[name](z)
        z.copy_(net.b(x))
        return same

    net, x = made(forward)
    other = x.clone()
    other[0, 0, 6] += 1
    with torch.no_grad():
        reads = 2 if (net(x) != net(other))[0, 0, 8].any() else 1
    assert set(contexts(net, x).values()) == {(reads, reads)}


def test_some_of_those_are_views_and_some_are_not():
    z = torch.rand(1, 1, 3, 3)
    shares = {name: f(z).data_ptr() == z.data_ptr() for name, f in SAME_OR_A_COPY.items()}
    assert shares == dict.fromkeys(("contiguous", "to", "reshape", "atleast_1d", "positive"), True) | dict.fromkeys(
        ("pad by nothing", "narrow_copy", "squeeze_copy", "repeat once", "cat of one"), False
    )


# ---- refused ----------------------------------------------------------------------------------------------------


def shuffled(net, x):
    """On the CPU a kernel of its own copies; other devices may view."""
    z = net.a(x).relu()
    same = F.channel_shuffle(z, 1)
    z.copy_(net.b(x))
    return same + 1


def test_what_depends_on_the_device_is_refused_by_name():
    net, x = made(shuffled)
    with pytest.raises(oc.TraceError, match=r"aten::channel_shuffle gives back the memory of its operand on some dev"):
        oc.analyze(net, x)


class TwoNames(nn.Module):
    """Writes to one buffer, and reads the other, which lies in the same memory."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 1, 3, padding=1)
        self.register_buffer("cache", torch.zeros(1, 1, 8, 8))
        self.register_buffer("corner", self.cache[:, :, :1, :1] if shared else torch.zeros(1, 1, 1, 1))

    def forward(self, x):
        self.cache.copy_(x[:, :, :8, :8])
        return self.a(x) + self.corner


def test_a_buffer_under_two_names_is_refused():
    x = torch.rand(1, 1, 16, 16)
    with pytest.raises(oc.TraceError, match="under several names, cache and corner"):
        oc.analyze(TwoNames(shared=True).eval(), x)
    with pytest.raises(oc.TraceError):
        oc.analyze(torch.export.export(TwoNames(shared=True).eval(), (x,), strict=False), x)
    assert oc.analyze(TwoNames(shared=False).eval(), x).blocking_free


class Tied(nn.Module):
    """Two layers with one weight, to which nobody writes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x))


def test_shared_memory_that_is_only_read_is_no_matter():
    assert set(contexts(Tied().eval(), torch.rand(1, 1, 16, 16)).values()) == {(2, 2)}


# ---- the mechanism ----------------------------------------------------------------------------------------------


def test_operators_that_hide_it_are_found_by_running_them():
    def forward(net, x):
        z = net.a(x)
        return z.type_as(z), z.conj_physical(), F.channel_shuffle(z, 1), z.unsafe_chunk(1), z.clone(), z.view(-1)

    net, x = made(forward)
    graph = torch.export.export(net, (x,), strict=False).graph
    memory = MemoryGroups(graph)
    assert {str(n.target).partition(".")[2] for n in memory.hidden} == {
        "type_as.default", "conj_physical.default", "channel_shuffle.default", "unsafe_chunk.default",
    }  # fmt: skip
    by_name = {str(n.target).split(".")[1]: n for n in graph.nodes if str(n.target).startswith("aten.")}
    convolved = memory.of(by_name["conv2d"])
    assert memory.of(by_name["view"]) is convolved
    assert memory.of(by_name["clone"]) is not convolved
    assert found(by_name["channel_shuffle"], "cpu") is None


def test_without_the_rewriting_the_program_is_another_net(monkeypatch):
    """What torch's own rewriting of in-place operators makes of hidden views."""
    net, x = made(chunks)
    program, _ = export(net, (x,))
    assert not any("unsafe" in str(node.target) for node in program.graph.nodes)
    monkeypatch.setattr("overlapcalc.trace.export.made_open", lambda graphs: set())
    wrong = oc.analyze(net, x)
    assert {(wrong[axis].context.before, wrong[axis].context.after) for axis in wrong.axes} == {(1, 1)}
