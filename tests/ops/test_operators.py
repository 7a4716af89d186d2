"""Operators of real model zoos beyond the families: windows, lookups, writes into slices, antialiasing, unpooling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shared.agreement import followed
from shared.nets import Do
from shared.operators import CASES, Codebook
from shared.thorough import few
from torch import nn

import overlapcalc as oc
from overlapcalc.ops import registry
from overlapcalc.ops.cost import kernel
from overlapcalc.ops.slab import on_slab
from overlapcalc.prove.twin.registry import twin


@pytest.mark.parametrize(("name", "net", "shape"), few(CASES, CASES[::2]), ids=[c[0] for c in CASES])
def test_operator(name, net, shape):
    assert followed(net, shape, name, zero_taps="antialiased" in name, bound=name == "wavelets").wrong == []


def test_a_hard_codebook_is_local():
    """The nearest entry hides small changes; the context is that of the convolution before it."""
    a = oc.analyze(Codebook(5, 2), (1, 2, 16, 16))
    assert a.blocking_free
    assert [tuple(a[axis].context) for axis in a.axes] == [(1, 1), (1, 1)]


class Unpaired(nn.Module):
    def forward(self, x):
        _, at = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(at.to(x.dtype), at + 0, 2)


REFUSED = [
    ("positions of maxima", Do("", lambda x: F.max_pool2d(x, 2, return_indices=True)[1]), "absolute-position"),
    ("positions as values", Unpaired(), "absolute-position"),
    ("a Fourier transform", Do("", lambda x: torch.fft.rfft2(x).abs()), "global"),
    ("written into the middle", Do("", lambda x: _middle(x)), "absolute-position"),
    ("the first columns cleared", Do("", lambda x: _cleared(x)), "absolute-position"),
    ("a triangle", Do("", torch.tril), "absolute-position"),
    ("warped", Do("", lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False)), "data-dependent-indexing"),
    ("a weight from the whole image", Do("", lambda x: F.conv2d(x, x.mean((2, 3)).view(1, 4, 1, 1))), "global"),
    ("a weight that is an image", Do("", lambda x: F.conv2d(x, x[..., :3, :3] * 2)), "global"),
    ("gathered along the axis", Do("", lambda x: x.gather(3, x.long())), "data-dependent-indexing"),
]  # fmt: skip


def _middle(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y[..., 4:8] = x[..., :4]
    return y


def _cleared(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y[..., :2] = 0
    return y


@pytest.mark.parametrize(("name", "net", "cause"), REFUSED, ids=[c[0] for c in REFUSED])
def test_refused(name, net, cause):
    if "Fourier" in name and torch.__version__ < "2.6":
        pytest.skip("torch.export fails on it")
    a = oc.analyze(net, (1, 4, 16, 16))
    assert not a.blocking_free
    assert cause in {o.cause for o in a.obstacles}, a.obstacles


class Search(nn.Module):
    """Siamese tracking: the template is the kernel with which the image is searched."""

    def forward(self, image, template):
        return F.conv2d(image, F.avg_pool2d(template, 3, 1))


def test_a_kernel_that_is_another_input():
    """The template is read whole. The image is refused too: both inputs grow together, and with them the kernel."""
    a = oc.analyze(Search(), [(1, 2, 40, 40), (1, 2, 7, 7)])
    assert {o.cause for o in a.between(input=1).obstacles("W")} == {"global"}
    assert {o.cause for o in a.between(input=0).obstacles("W")} == {"size-dependent"}


def _not_the_last(x: torch.Tensor) -> torch.Tensor:
    y = F.avg_pool1d(x, 3, 1, 1)
    last = y.shape[2] - 1
    y[:, :, 0:last:2] = x[:, :, 0:last:2]
    return y


def test_a_write_that_stops_before_the_last_sample():
    """At 9 samples the last one is not written, though it is its turn: no law of every other sample."""
    a = oc.analyze(Do("", _not_the_last), (1, 1, 9))
    assert {o.cause for o in a.obstacles} == {"absolute-position"}


def test_vectors_of_a_net_of_one_size():
    """A program of fixed size: nothing but the rule says which dimension is which."""

    class Weighed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("v", torch.ones(3))

        def forward(self, x):
            return F.avg_pool2d((x.permute(0, 2, 3, 1) @ self.v)[:, None], (1, 3), 1, (0, 1))

    a = oc.analyze(torch.export.export(Weighed(), (torch.rand(1, 3, 8, 8),)))
    assert [tuple(a[axis].context) for axis in a.axes] == [(0, 0), (1, 1)]


def test_nothing_is_said_of_an_operator_twice():
    ours, theirs = (
        replace(registry.known_of("aten::conv2d"), twin=registry.known_of("aten::cat").twin),
        (lambda *_: None),
    )
    says = {
        "rule": lambda: oc.rule("aten::conv2d")(theirs),
        "slab": lambda: on_slab(torch.ops.aten.conv2d)(theirs),
        "kernel": lambda: kernel("aten::conv2d")(theirs),
        "twin": lambda: twin("cat")(theirs),
    }
    for what, say in says.items():
        assert getattr(ours, what) is not None
        with pytest.raises(oc.RuleError, match=f"aten::.*: already has {registry.SAID[what]}"):
            say()
    assert registry.known_of("aten::conv2d").slab is ours.slab


def test_one_scope_undoes_all_that_is_said_inside():
    def said(*_: object) -> None: ...

    with registry.kept():
        for say in (oc.rule, on_slab, kernel):
            say("mylib::said")(said)
        twin("said")(said)
        oc.unregister("aten::conv2d")
        assert registry.known_of("mylib::said").slab is said
        assert registry.find("aten::conv2d") is None
    assert registry.known_of("mylib::said") == registry.known_of("aten::said") == registry.UNKNOWN
    assert registry.find("aten::conv2d") is not None


def test_what_our_modules_say_when_they_are_imported_stays():
    def said(*_: object) -> None: ...

    said.__module__ = "overlapcalc.anything"
    with registry.kept():
        with registry.kept():
            kernel("mylib::ours")(said)
        assert registry.known_of("mylib::ours").kernel is said
        registry._OPERATORS.pop("mylib::ours")
    assert registry.known_of("mylib::ours") == registry.UNKNOWN


# ---- the worked file of docs/add-an-operator.md -----------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs/add-an-operator.md").read_text()
WORKED = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[-1]
"""mylib::blur5 with its law, the way it runs on slabs, its cost and its twin."""


class Blurs(nn.Module):
    def __init__(self, space: str) -> None:
        super().__init__()
        self.conv, self.space = nn.Conv2d(1, 2, 3, padding=1), space

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(torch.ops, self.space).blur5(self.conv(x))


@pytest.fixture
def added(request: pytest.FixtureRequest) -> Iterator[Blurs]:
    """A net with the page's operator, of its own name and with these taps."""
    taps = str(request.param)
    space, names = f"added{len(request.param)}", {"__name__": "example"}
    with registry.kept():
        exec(WORKED.replace("mylib::", f"{space}::").replace("[1, 4, 6, 4, 1]", taps), names)
        yield Blurs(space)


@pytest.mark.parametrize("added", [[1, 4, 6, 4, 1]], indirect=True)
def test_an_operator_is_added_in_at_most_forty_lines(added: Blurs):
    assert len(WORKED.strip().splitlines()) <= 40
    a = oc.analyze(added, (1, 1, 12, 24))
    assert [tuple(a[axis].context) for axis in a.axes] == [(1, 1), (3, 3)]
    assert oc.plan(a, schedule="trim", block=8).full.macs == 2 * 12 * 24 * (9 + 5)
    x = torch.rand(1, 1, 12, 24)
    for schedule in ("trim", "stream"):
        for axes in (None, "H"):
            assert torch.allclose(oc.run(added, x, schedule=schedule, block=8, axes=axes), added(x), atol=1e-5)
    result = oc.verify(added, a, schedule="trim", block=8)
    assert {proof.status for proof in result.proofs} == {"proved"}


@pytest.mark.parametrize("added", [[1, 4, 6, 8, 6, 4, 1]], indirect=True)
def test_an_added_operator_that_reads_farther_than_it_says_is_refuted(added: Blurs):
    assert not oc.verify(added, (1, 1, 12, 24), schedule="trim", block=8).proved
