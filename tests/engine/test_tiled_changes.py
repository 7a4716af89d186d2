"""A tiled net that is changed afterwards runs as it is now: whatever its forward can see is looked at on every call."""

from __future__ import annotations

import contextvars
import ctypes
import enum
import string
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

import overlapcalc as oc
from overlapcalc.engine.fingerprint import Fingerprint, fingerprint
from overlapcalc.engine.run import Tiled

IMAGE = torch.linspace(-1, 1, 64).sin().reshape(1, 1, 64)
FACTOR = 1.0
TAPS = {"kernel": torch.ones(1, 1, 3)}
SETTINGS = types.SimpleNamespace(factor=1.0)
PLACE = types.ModuleType("place")
PLACE.factor = 1.0  # type: ignore[attr-defined]


class Meta(type):
    factor = 1


class Made(metaclass=Meta):
    pass


class Level(enum.Enum):
    LOW = 1


Level.LOW.factor = 1  # type: ignore[attr-defined]
IN_CONTEXT = contextvars.ContextVar("IN_CONTEXT", default=1)
PER_THREAD = threading.local()
PER_THREAD.factor = 1
NUMBER = ctypes.c_int(1)
string.factors = {"by": 1}  # type: ignore[attr-defined]


@dataclass
class Options:
    dilation: int = 1
    inner: dict[str, list[int]] = field(default_factory=lambda: {"dilations": [1]})


class Slots:
    __slots__ = ("__weakref__", "dilation")

    def __init__(self) -> None:
        self.dilation = 1


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Net(nn.Module):
    """A convolution, and whatever `function(net, y)` makes of its result."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)
        self.inner = Inner()
        self.function = function
        self.register_buffer("taps", torch.tensor([[[0.0, 1, 0]]]))
        self.register_buffer("unused", torch.zeros(1), persistent=False)
        self.tensor = torch.ones(1, 1, 3)
        self.array = np.ones(3, np.float32)
        self.table = {"dilation": 1, "deep": [{"taps": torch.ones(1, 1, 3)}]}
        self.dilations = [1]
        self.queue = deque([1])
        self.names = {"plain"}
        self.options, self.slots = Options(), Slots()
        self.shift = lambda y: y
        self.made = types.SimpleNamespace(bias=0.0)
        self.weak, self.proxy = weakref.ref(self.slots), weakref.proxy(self.options)
        self.parent = weakref.ref(self)
        self.get, self.item = self.table.get, self.dilations.__getitem__

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.inner(self.conv(x)))

    def extra(self, y: Tensor) -> Tensor:
        return y


def dilated(y: Tensor, by: int) -> Tensor:
    return F.conv1d(F.pad(y, (by, by)), torch.ones(1, 1, 3), dilation=by)


def convolved(y: Tensor, taps: Any) -> Tensor:
    return F.conv1d(y, torch.as_tensor(taps).reshape(1, 1, 3), padding=1)


def helper(y: Tensor) -> Tensor:
    return y


def other(y: Tensor) -> Tensor:
    return y.neg()


def closure(taps: Tensor) -> Callable[[Any, Tensor], Tensor]:
    return lambda net, y: convolved(y, taps)


HELD = torch.ones(1, 1, 3)


def set_global(name: str, value: Any) -> None:
    globals()[name] = value


def moved(x: Tensor) -> Tensor:
    return F.pad(x, (1, 0))[..., :-1]


class Doubled(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w * 2


def halve(module: nn.Module, given: Any, y: Tensor) -> Tensor | None:
    return y / 2 if isinstance(module, Inner) else None


def first_tap(t: Any) -> None:
    t[..., 0] = 5


CHANGES: dict[str, tuple[Callable[[Any, Tensor], Tensor], Callable[[Any], object]]] = {
    "the data of a buffer": (lambda n, y: convolved(y, n.taps), lambda n: n.taps.data.fill_(3)),
    "a buffer through numpy": (lambda n, y: convolved(y, n.taps), lambda n: first_tap(n.taps.numpy())),
    "a buffer in place": (lambda n, y: convolved(y, n.taps), lambda n: n.taps.add_(2)),
    "another buffer": (lambda n, y: convolved(y, n.taps), lambda n: setattr(n, "taps", torch.zeros(1, 1, 3))),
    "loaded state": (
        lambda n, y: convolved(y, n.taps),
        lambda n: n.load_state_dict({**n.state_dict(), "taps": torch.ones(1, 1, 3)}),
    ),
    "a tensor attribute": (lambda n, y: convolved(y, n.tensor), lambda n: n.tensor.data.fill_(3)),
    "an array": (lambda n, y: convolved(y, n.array), lambda n: first_tap(n.array)),
    "an entry of a dict": (lambda n, y: dilated(y, n.table["dilation"]), lambda n: n.table.update(dilation=2)),
    "a tensor in a list in a dict": (
        lambda n, y: convolved(y, n.table["deep"][0]["taps"]),
        lambda n: first_tap(n.table["deep"][0]["taps"].data),
    ),
    "an entry of a list": (lambda n, y: dilated(y, n.dilations[0]), lambda n: n.dilations.__setitem__(0, 3)),
    "a longer list": (lambda n, y: dilated(y, n.dilations[-1]), lambda n: n.dilations.append(2)),
    "a queue": (lambda n, y: dilated(y, n.queue[0]), lambda n: n.queue.appendleft(2)),
    "a set": (lambda n, y: y * len(n.names), lambda n: n.names.add("other")),
    "a plain attribute": (lambda n, y: y if not hasattr(n, "k") else y * n.k, lambda n: setattr(n, "k", 4)),
    "an attribute of an object": (lambda n, y: dilated(y, n.options.dilation), lambda n: setattr(n.options, "dilation", 2)),
    "a list in a dict of an object": (
        lambda n, y: dilated(y, n.options.inner["dilations"][0]),
        lambda n: n.options.inner["dilations"].insert(0, 2),
    ),
    "a slot": (lambda n, y: dilated(y, n.slots.dilation), lambda n: setattr(n.slots, "dilation", 2)),
    "a namespace": (lambda n, y: y + n.made.bias, lambda n: setattr(n.made, "bias", 1.0)),
    "a function attribute": (lambda n, y: n.shift(y), lambda n: setattr(n, "shift", moved)),
    "a hook of a layer": (lambda n, y: y, lambda n: n.inner.register_forward_hook(lambda m, given, y: moved(y))),
    "a hook before a layer": (lambda n, y: y, lambda n: n.inner.register_forward_pre_hook(lambda m, given: moved(*given))),
    "a layer": (lambda n, y: y, lambda n: setattr(n, "inner", nn.Identity())),
    "a kernel of another size": (lambda n, y: y, lambda n: setattr(n, "conv", nn.Conv1d(1, 1, 5, padding=2))),
    "an attribute of a layer": (lambda n, y: y, lambda n: (setattr(n.conv, "dilation", (2,)), setattr(n.conv, "padding", (2,)))),
    "the forward of a layer": (lambda n, y: y, lambda n: setattr(n.inner, "forward", lambda x: x * 3)),
    "the method of a net": (lambda n, y: n.extra(y), lambda n: setattr(n, "extra", types.MethodType(lambda self, y: moved(y), n))),
    "a parametrization": (lambda n, y: y, lambda n: parametrize.register_parametrization(n.conv, "weight", Doubled())),
    "through a weak reference": (lambda n, y: dilated(y, n.weak().dilation), lambda n: setattr(n.slots, "dilation", 2)),
    "through a weak proxy": (lambda n, y: dilated(y, n.proxy.dilation), lambda n: setattr(n.options, "dilation", 2)),
    "of a weak parent": (lambda n, y: y * getattr(n.parent(), "k", 1), lambda n: setattr(n, "k", 4)),
    "through a bound method of a dict": (lambda n, y: dilated(y, n.get("dilation")), lambda n: n.table.update(dilation=2)),
    "through a bound method of a list": (lambda n, y: dilated(y, n.item(0)), lambda n: n.dilations.__setitem__(0, 2)),
    "weights": (lambda n, y: y, lambda n: n.conv.weight.data.mul_(2)),
}  # fmt: skip
PATCHES: dict[str, tuple[Callable[[Any, Tensor], Tensor], Callable[[pytest.MonkeyPatch], object]]] = {
    "the forward of a class": (lambda n, y: y, lambda m: m.setattr(Inner, "forward", lambda self, x: moved(x))),
    "the forward of a class of torch": (lambda n, y: y, lambda m: m.setattr(nn.Conv1d, "forward", lambda self, x: moved(x))),
    "an attribute of a class": (lambda n, y: y * getattr(n, "size", 1), lambda m: m.setattr(Net, "size", 5, raising=False)),
    "a function of torch": (lambda n, y: F.relu(y), lambda m: m.setattr(F, "relu", lambda y, inplace=False: y.neg())),
    "a method of tensors": (lambda n, y: y.relu(), lambda m: m.setattr(torch.Tensor, "relu", lambda y: y.neg(), raising=False)),
    "a function of the project": (lambda n, y: helper(y), lambda m: m.setitem(globals(), "helper", other)),
    "the code of a function": (lambda n, y: helper(y), lambda m: m.setattr(helper, "__code__", other.__code__)),
    "a global": (lambda n, y: y * FACTOR, lambda m: m.setitem(globals(), "FACTOR", 2.0)),
    "a tensor in a global": (lambda n, y: convolved(y, TAPS["kernel"]), lambda m: m.setitem(TAPS, "kernel", torch.zeros(1, 1, 3))),
    "an object in a global": (lambda n, y: y * SETTINGS.factor, lambda m: m.setattr(SETTINGS, "factor", 2.0)),
    "a value of another module": (lambda n, y: y * PLACE.factor, lambda m: m.setattr(PLACE, "factor", 2.0)),
    "an attribute of a metaclass": (lambda n, y: y * Made.factor, lambda m: m.setattr(Meta, "factor", 2)),
    "an attribute of a member of an enumeration": (lambda n, y: y * Level.LOW.factor, lambda m: m.setattr(Level.LOW, "factor", 2)),
    "a variable of a thread": (lambda n, y: y * PER_THREAD.factor, lambda m: m.setattr(PER_THREAD, "factor", 2)),
    "a number of C": (lambda n, y: y * NUMBER.value, lambda m: m.setattr(NUMBER, "value", 2)),
    "a dict in a module of Python": (lambda n, y: y * string.factors["by"], lambda m: m.setitem(string.factors, "by", 2)),
    "a tensor in a closure": (closure(HELD), lambda m: m.setattr(HELD, "data", torch.zeros(1, 1, 3))),
}  # fmt: skip


def whole(net: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = net.eval()(IMAGE)
    return result


def tiled(net: nn.Module, schedule: str = "trim") -> Tiled:
    made = oc.tiled(net, block=16, schedule=schedule)
    assert torch.allclose(made(IMAGE), whole(net), atol=1e-6)
    return made


def changed(name: str, monkeypatch: pytest.MonkeyPatch, first: Callable[[nn.Module], Any]) -> tuple[Any, nn.Module]:
    """What `first` made of a net, and the net after its change, which gives something else."""
    torch.manual_seed(0)
    function, change = (CHANGES | PATCHES)[name]
    net = Net(function)
    made, before = first(net), whole(net)
    change(net if name in CHANGES else monkeypatch)  # type: ignore[arg-type]
    after = whole(net)
    assert before.shape != after.shape or not torch.allclose(before, after)
    return made, net


@pytest.mark.parametrize("name", CHANGES | PATCHES)
def test_a_change_is_seen(name, monkeypatch):
    before, net = changed(name, monkeypatch, fingerprint)
    after = fingerprint(net)
    assert after is not None
    assert before.same(after) is (name == "weights")
    assert after.same(fingerprint(net))


TRIED = ("the data of a buffer", "an entry of a dict", "a hook of a layer", "a global", "a function of torch")


@pytest.mark.parametrize("name", [*TRIED, "weights", "a parametrization"])
def test_a_changed_net_runs_as_it_is_now(name, monkeypatch):
    made, net = changed(name, monkeypatch, tiled)
    assert torch.allclose(made(IMAGE), whole(net), atol=1e-6)


@pytest.mark.parametrize("name", TRIED[:2])
def test_without_a_look_changes_are_missed(name, monkeypatch):
    """The test above can fail: it does where nothing is compared."""
    monkeypatch.setattr(Fingerprint, "same", lambda self, other: True)
    made, net = changed(name, monkeypatch, tiled)
    assert not torch.allclose(made(IMAGE), whole(net), atol=1e-6)


def test_hooks_of_all_modules_are_seen():
    net = Net(lambda n, y: y)
    made, before = tiled(net), whole(net)
    handle = nn.modules.module.register_module_forward_hook(halve)
    try:
        assert torch.allclose(made(IMAGE), whole(net), atol=1e-6)
        assert not torch.allclose(whole(net), before)
    finally:
        handle.remove()
    assert torch.allclose(made(IMAGE), before, atol=1e-6)


def test_the_default_type_of_torch_is_seen():
    net = Net(lambda n, y: y + torch.zeros(1).element_size())
    made = tiled(net)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.allclose(made(IMAGE).double(), whole(net).double(), atol=1e-6)
    finally:
        torch.set_default_dtype(torch.float32)


def test_another_type_of_weights_and_images():
    net = Net(lambda n, y: y)
    made = tiled(net)
    net.double()
    assert made(IMAGE.double()).dtype == torch.float64


def test_what_is_no_change_costs_no_plan(monkeypatch):
    """Modes, weights, attributes that are set to what they were, and buffers that are copied."""
    net = Net(lambda n, y: convolved(y, n.taps))
    made = tiled(net)
    monkeypatch.setattr("overlapcalc.engine.run.analyze", lambda *a, **k: pytest.fail("it is planned again"))
    net.train()
    net.conv.weight.data.mul_(2)
    net.table = {"dilation": 1, "deep": [{"taps": torch.ones(1, 1, 3)}]}
    net.get = net.table.get
    net.taps = net.taps.clone()
    result = made(IMAGE)
    assert net.training
    assert torch.allclose(result, whole(net), atol=1e-6)


def test_a_net_that_holds_too_much_is_never_taken_for_the_same(monkeypatch):
    net = Net(lambda n, y: dilated(y, n.dilations[0]))
    assert fingerprint(net) is not None
    net.everything = list(range(300_000))
    assert fingerprint(net) is None
    made = tiled(net)
    net.dilations[0] = 2
    assert torch.allclose(made(IMAGE), whole(net), atol=1e-6)


def test_cycles_and_shared_parts_have_an_end():
    net = Net(lambda n, y: y)
    net.table["self"], net.options.net = net.table, net  # type: ignore[attr-defined]
    first, again = fingerprint(net), fingerprint(net)
    assert first is not None
    assert again is not None
    assert first.same(again)


def test_a_variable_of_the_context_is_seen():
    net = Net(lambda n, y: y * IN_CONTEXT.get())
    made, before = tiled(net), whole(net)
    token = IN_CONTEXT.set(3)
    try:
        assert torch.allclose(made(IMAGE), whole(net), atol=1e-6)
        assert not torch.allclose(whole(net), before)
    finally:
        IN_CONTEXT.reset(token)
