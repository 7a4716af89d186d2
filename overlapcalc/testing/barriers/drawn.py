"""Nets of barriers and local layers, by seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..by_axes import CONV, TCONV
from ..modules import Add, Branches, Cat, Multiply
from ..nets import Call
from .barrier import RECIPES, Barrier
from .local import LocalLayers

AXES = {1: "L", 2: "HW", 3: "DHW"}
SIDES = {1: (7, 60), 2: (6, 21), 3: (4, 9)}
"""The sizes that are drawn, by the number of axes."""
MOST_CHANNELS = 8
MOST_SAMPLES = 12_000
MOST = 1e4
LEAST_VARIANCE = 1e-6
"""A channel that varies less makes a norm amplify rounding."""
TRIED = 60
FAMILY = "passes"


class Several(nn.Module):
    """A net with several inputs and outputs: a stem for each input, joined along the channels, a trunk, and heads.

    form: "tuple", "dict", or with something between the outputs: "none" (None), "input" (the first input).

    >>> net = Several([nn.Identity()], nn.ReLU(), [nn.Identity(), nn.Sigmoid()], "none")
    >>> [None if y is None else tuple(y.shape) for y in net(torch.rand(1, 2, 9))]
    [(1, 2, 9), None, (1, 2, 9)]
    """

    def __init__(self, stems: Sequence[nn.Module], trunk: nn.Module, heads: Sequence[nn.Module], form: str) -> None:
        super().__init__()
        self.stems, self.trunk, self.heads, self.form = nn.ModuleList(stems), trunk, nn.ModuleList(heads), form

    def forward(self, *inputs: Tensor) -> Any:
        found = [stem(x) for stem, x in zip(self.stems, inputs, strict=True)]
        for d in range(2, found[0].dim()):
            length = min(x.shape[d] for x in found)
            found = [x.narrow(d, 0, length) for x in found]
        y = self.trunk(torch.cat(found, 1))
        outputs = [head(y) for head in self.heads]
        if self.form == "dict":
            return {f"out{i}": y for i, y in enumerate(outputs)}
        between: list[Tensor | None] = []
        if self.form in ("none", "input"):
            between.append(inputs[0] if self.form == "input" else None)
        return (outputs[0], *between, *outputs[1:])


@dataclass(frozen=True, repr=False)
class BarrierNet:
    """A net as a value, with the shapes of its inputs. `repr(net)` is an expression that makes it again.

    seed: that of its weights and inputs.

    >>> net = BarrierNet(Call.of(Barrier, 2, "std"), ((1, 2, 9),))
    >>> net, net.build()(*net.inputs()).shape
    (BarrierNet(Call.of(Barrier, 2, 'std'), ((1, 2, 9),), 0), torch.Size([1, 2, 9]))
    """

    call: Call
    shapes: tuple[tuple[int, ...], ...]
    seed: int = 0

    def build(self) -> nn.Module:
        """The net in float64 and eval mode: a new module each time, with the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            net = self.call.build().double().eval()
            with torch.no_grad():
                for p in net.parameters():
                    p.copy_(p + torch.rand_like(p) - 0.5 if p.dim() == 1 else 1.4 * p)
                for name, b in net.named_buffers():
                    if b.is_floating_point():
                        b.copy_(torch.rand_like(b) + (0.5 if name.endswith("var") else -0.5))
        return net

    def inputs(self) -> list[Tensor]:
        """Normal noise in float64, the same each time."""
        generator = torch.Generator().manual_seed(self.seed)
        return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in self.shapes]

    @property
    def barriers(self) -> tuple[str, ...]:
        """The names of its barriers."""
        return tuple(call.args[1] for call in self.call.calls() if call.maker is Barrier)

    def runs(self) -> bool:
        """Whether it runs on its inputs, every channel on the way varies enough, and nothing is too large."""
        return _found(self.build(), self.inputs()) is not None

    def __repr__(self) -> str:
        return f"BarrierNet({spelled(self.call)}, {self.shapes}, {self.seed})"


def spelled(value: Any) -> str:
    """A call, or a list of them, as an expression of calls: `Call.of(nn.Conv2d, 1, 1, 3)`."""
    if isinstance(value, Call):
        args = [*map(spelled, value.args), *(f"{name}={spelled(one)}" for name, one in value.kwargs)]
        return f"Call.of({', '.join([value.name, *args])})"
    if isinstance(value, (list, tuple)) and any(isinstance(one, Call) for one in value):
        return f"[{', '.join(map(spelled, value))}]"
    return repr(value)


def barrier_net(seed: int) -> BarrierNet:
    """The net of a seed: one to three barriers, with local layers around and beside them, on small images of odd and
    even sizes along one to three axes, some in batches, some with several inputs or outputs.

    >>> barrier_net(3).runs()
    True
    """
    rng = random.Random(f"{FAMILY} {seed}")
    for _ in range(TRIED):
        found = _Drawing(rng, seed).net()
        if found is not None and found.barriers and found.runs():
            return found
    raise RuntimeError(f"no net of {FAMILY} with seed {seed} runs")


# ---- what a net does to its inputs ------------------------------------------------------------------------


def _found(net: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """What a net gives; None where it does not run, or a tensor on the way is too large or varies too little."""
    seen: list[Tensor] = []
    hooks = [part.register_forward_hook(lambda m, given, found: seen.append(found)) for part in _parts(net)]
    try:
        with torch.no_grad():
            found = net(*(x.clone() for x in inputs))
    except (RuntimeError, ValueError, IndexError):
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return found if all(map(_lively, seen)) else None


def _parts(net: nn.Module) -> Iterator[nn.Module]:
    """Modules whose result is one tensor of the net, from the containers down."""
    if isinstance(net, (nn.Sequential, nn.ModuleList, Branches, Several)):
        for child in net.children():
            yield from _parts(child)
    else:
        yield net


def _lively(y: Tensor) -> bool:
    if not 0 < y.numel() <= MOST_SAMPLES or not bool(y.isfinite().all()) or float(y.abs().max()) > MOST:
        return False
    if y.dim() < 3 or y[0, 0].numel() < 2:
        return float(y.abs().max()) > 1e-3
    return float(y.flatten(2).var(-1).min()) > LEAST_VARIANCE


def _shortened(y: Tensor, sides: Sequence[int]) -> Tensor:
    for d, length in enumerate(sides, 2):
        y = y.narrow(d, 0, length)
    return y


# ---- drawing ----------------------------------------------------------------------------------------------


class _Drawing:
    """One net. x: what the calls so far make of the inputs."""

    def __init__(self, rng: random.Random, seed: int) -> None:
        self._rng, self._seed = rng, seed
        self._n = rng.choice([1, 2, 2, 2, 3])
        self._local = LocalLayers(rng, self._n)

    def net(self) -> BarrierNet | None:
        rng, n = self._rng, self._n
        sides = tuple(rng.randint(*SIDES[n]) for _ in range(n))
        shape = (rng.choice([1, 1, 1, 2, 3]), rng.randint(1, 4), *sides)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(self._seed), dtype=torch.float64)
        if rng.random() < 0.7:
            calls, x = self._row(x, rng.randint(1, 3), nesting=2)
            if rng.random() < 0.15:
                calls = [*calls, *self._ending(x)]
            return BarrierNet(row(calls), (shape,), self._seed)
        return self._several(shape, x)

    def _several(self, shape: tuple[int, ...], x: Tensor) -> BarrierNet | None:
        rng = self._rng
        stem, first = self._row(x, rng.choice([0, 1]), nesting=0)
        shapes, stems, joined = [shape], [row(stem)], [first]
        if rng.random() < 0.5:
            shapes.append((shape[0], rng.randint(1, 3), *shape[2:]))
            other = torch.randn(shapes[1], generator=torch.Generator().manual_seed(9), dtype=torch.float64)
            calls, second = self._row(other, rng.choice([0, 1]), nesting=0)
            stems.append(row(calls))
            joined.append(second)
        sides = [min(y.shape[d] for y in joined) for d in range(2, x.dim())]
        cut = torch.cat([_shortened(y, sides) for y in joined], 1)
        trunk, there = self._row(cut, rng.randint(1, 2), nesting=1)
        heads = []
        for _ in range(rng.randint(1, 3)):
            calls, y = self._row(there, rng.choice([0, 0, 1]), nesting=0)
            heads.append(row([*calls, *(self._ending(y) if rng.random() < 0.4 else ())]))
        form = rng.choice(["tuple", "tuple", "dict", "none", "input"])
        return BarrierNet(Call.of(Several, stems, row(trunk), heads, form), tuple(shapes), self._seed)

    def _ending(self, x: Tensor) -> list[Call]:
        names = [name for name, r in RECIPES.items() if r.last and self._n in r.numbers]
        return [Call.of(Barrier, x.shape[1], self._rng.choice(names))]

    def _row(self, x: Tensor, barriers: int, *, nesting: int) -> tuple[list[Call], Tensor]:
        """Local layers with so many barriers among them, and what they make of `x`."""
        plan = [True] * barriers + [False] * self._rng.randint(0, 2 + barriers)
        self._rng.shuffle(plan)
        calls: list[Call] = []
        for wanted in plan:
            for _ in range(6):
                call = self._layer(x, wanted, nesting)
                y = self._through(call, x)
                if y is not None:
                    calls, x = [*calls, call], y
                    break
        return calls, x

    def _layer(self, x: Tensor, barrier: bool, nesting: int) -> Call:
        rng = self._rng
        if nesting and rng.random() < 0.3:
            return self._beside(x, barrier, nesting)
        if nesting and rng.random() < 0.12:
            return self._around(x, barrier, nesting)
        if not barrier:
            return self._local.drawn(x.shape[1])
        names = [name for name, r in RECIPES.items() if not r.last and self._n in r.numbers]
        return Call.of(Barrier, x.shape[1], rng.choice(names))

    def _beside(self, x: Tensor, barrier: bool, nesting: int) -> Call:
        """Branches: a skip across a barrier, for one."""
        how = self._rng.choice([Add, Add, Cat, Multiply])
        branches = []
        for k in range(2):
            calls, y = self._row(x, int(barrier and k == 0), nesting=nesting - 1)
            if how is not Cat and y.shape[1] != x.shape[1]:
                calls = [*calls, Call.of(CONV[self._n], y.shape[1], x.shape[1], 1)]
            branches.append(row(calls))
        if self._rng.random() < 0.5:
            branches[1] = Call.of(nn.Identity)
        return Call.of(how, *self._rng.sample(branches, 2))

    def _around(self, x: Tensor, barrier: bool, nesting: int) -> Call:
        """A level of a UNet."""
        n, c = self._n, x.shape[1]
        down = Call.of(CONV[n], c, c, 3, stride=2, padding=1)
        small = self._through(down, x)
        if small is None:
            return down
        inner, y = self._row(small, int(barrier), nesting=nesting - 1)
        up = (
            Call.of(TCONV[n], y.shape[1], c, 2, 2) if self._rng.random() < 0.5 else Call.of(nn.Upsample, scale_factor=2)
        )
        return Call.of(Cat, row([down, *inner, up]), Call.of(nn.Identity))

    def _through(self, call: Call, x: Tensor) -> Tensor | None:
        try:
            net = BarrierNet(call, (tuple(x.shape),), self._seed).build()
        except (RuntimeError, ValueError):
            return None
        found: Tensor | None = _found(net, [x])
        if found is None or found.dim() != x.dim() or found.shape[1] > MOST_CHANNELS or min(found.shape[2:]) < 2:
            return None
        return found


def row(calls: Sequence[Call]) -> Call:
    """Calls one after the other."""
    if not calls:
        return Call.of(nn.Identity)
    return calls[0] if len(calls) == 1 else Call.of(nn.Sequential, *calls)
