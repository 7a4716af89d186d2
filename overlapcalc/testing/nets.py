"""A drawn net as a value: the calls that build it, which are also what it prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .modules import Branches
from .weights import positive

WIDTH = 100
FEWEST = 2
"""On a single sample an operator may do something else: linear resampling of 1 to 1 copies it, at any factor."""
LARGEST_LEAST = 256


@dataclass(frozen=True, repr=False)
class Call:
    """A call that makes a module, as a value. Arguments are calls themselves, lists of them, or plain values.

    `eval(repr(call))` makes what `call.build()` makes.

    >>> call = Call.of(nn.Conv2d, 1, 1, 3, padding=1)
    >>> call, call.build()
    (nn.Conv2d(1, 1, 3, padding=1), Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)))
    """

    maker: Callable[..., nn.Module]
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()

    @staticmethod
    def of(maker: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> Call:
        return Call(maker, args, tuple(kwargs.items()))

    def build(self) -> nn.Module:
        """A new module, with torch's initial weights."""
        return self.maker(*map(_built, self.args), **{name: _built(value) for name, value in self.kwargs})

    @property
    def name(self) -> str:
        """The maker's name after `from torch import nn`."""
        called = getattr(self.maker, "__name__", repr(self.maker))
        return f"nn.{called}" if self.maker.__module__.startswith("torch.nn.") else called

    def calls(self) -> Iterator[Call]:
        """This call and those inside it, from the outside in."""
        yield self
        for value in (*self.args, *(value for _, value in self.kwargs)):
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, Call):
                    yield from one.calls()

    def text(self, indent: int = 0) -> str:
        """The call in one line, or with one argument per line where that would be long."""
        parts = [repr(value) for value in self.args] + [f"{name}={value!r}" for name, value in self.kwargs]
        line = f"{self.name}({', '.join(parts)})"
        if indent + len(line) <= WIDTH or not any(isinstance(value, Call) for value in self.args):
            return line
        inner = indent + 4
        broken = [value.text(inner) if isinstance(value, Call) else repr(value) for value in self.args]
        broken += [f"{name}={value!r}" for name, value in self.kwargs]
        return "\n".join([f"{self.name}(", *(f"{' ' * inner}{part}," for part in broken), f"{' ' * indent})"])

    def __repr__(self) -> str:
        return self.text()


def _built(value: Any) -> Any:
    if isinstance(value, list):
        return [_built(one) for one in value]
    return value.build() if isinstance(value, Call) else value


@dataclass(frozen=True, repr=False)
class Net:
    """A net as a value. `net.build()` makes it; `repr(net)` is an expression that makes it too, `str(net)` a script.

    channels: those of its input. axes: "L", "HW" or "DHW". seed: that of its weights, which are those of `positive`, so
    that every dependency shows. The net runs on every image whose sizes are at least `least`.

    >>> net = Net(Call.of(nn.Conv1d, 2, 4, 5), channels=2, axes="L")
    >>> net, net.least, net.shape((16,))
    (positive(nn.Conv1d(2, 4, 5), seed=0), (6,), (1, 2, 16))
    """

    call: Call
    channels: int
    axes: str
    seed: int = 0

    def build(self) -> nn.Module:
        """The net in float64 and eval mode: a new module each time, with the same weights."""
        return self._made().build()

    def shape(self, size: Sequence[int]) -> tuple[int, ...]:
        """The shape of an image of this size: (1, channels, *size). Raises InputError."""
        if len(size) != len(self.axes):
            raise InputError(
                f"size {tuple(size)}: this net has the axes {', '.join(self.axes)}; give a number for each"
            )
        return (1, self.channels, *size)

    def image(self, size: Sequence[int]) -> Tensor:
        """An image of this size in float64: positive noise, the same each time."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.rand(self.shape(size), generator=generator, dtype=torch.float64) + 0.1

    @cached_property
    def least(self) -> tuple[int, ...]:
        """The smallest image on which the net runs and no tensor has fewer than 2 samples a side.

        Found by running it. It also runs on every larger one: no operator of a drawn net refuses a larger image.
        """
        net, n = self.build(), len(self.axes)
        most = 1
        while through(net, self.shape((most,) * n)) is None:
            most *= 2
            if most > LARGEST_LEAST:
                raise InputError(f"the net runs on no image up to {LARGEST_LEAST} samples a side: {self!r}")
        found = []
        for place in range(n):
            low, high = 0, most  # it runs at high, not at low
            while high - low > 1:
                middle = (low + high) // 2
                size = [most] * n
                size[place] = middle
                low, high = (middle, high) if through(net, self.shape(size)) is None else (low, middle)
            found.append(high)
        return tuple(found)

    @property
    def operators(self) -> tuple[str, ...]:
        """The names of the modules that it consists of, from the outside in: "nn.Conv2d", "Add"."""
        return tuple(call.name for call in self.call.calls())

    def __repr__(self) -> str:
        return self._made().text()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis prints for a failing example."""
        for number, line in enumerate(repr(self).splitlines()):
            if number:
                printer.break_()
            printer.text(line)

    def __str__(self) -> str:
        """A script of a few lines that builds `net`, with the imports that it needs."""
        homes: dict[str, set[str]] = {}
        for call in self._made().calls():
            if not call.name.startswith("nn."):
                home = call.maker.__module__
                home = "overlapcalc.testing" if home.startswith("overlapcalc.testing.") else home
                homes.setdefault(home, set()).add(call.name)
        lines = ["from torch import nn"] if any(name.startswith("nn.") for name in self.operators) else []
        lines += [f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(homes.items())]
        return "\n".join([*lines, "", f"net = {self._made().text()}"])

    def _made(self) -> Call:
        return Call.of(positive, self.call, seed=self.seed)


def through(net: nn.Module, shape: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that a net in float64 makes of an image of this shape; None where it does not run, or a tensor on the
    way has fewer than FEWEST samples a side."""
    sides = list(shape[2:])
    hooks = [
        part.register_forward_hook(lambda module, given, found: sides.extend(found.shape[2:])) for part in _parts(net)
    ]
    try:
        with torch.no_grad():
            found: Tensor = net(torch.ones(tuple(shape), dtype=torch.float64))
    except (RuntimeError, ValueError, IndexError):
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(found.shape) if min(sides) >= FEWEST else None


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The modules in containers, down to those that are not containers."""
    if not isinstance(module, (nn.Sequential, nn.ModuleList, Branches)):
        yield module
        return
    for child in module.children():
        yield from _parts(child)
