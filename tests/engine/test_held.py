"""What a stream and a trimmed run hold: the tensors that are alive, looked at one by one while the net runs."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from shared.thorough import few
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import overlapcalc as oc
from overlapcalc.engine import weigh
from overlapcalc.engine.schedules.passes import PassRun
from overlapcalc.engine.spill.kept import KeptRows

WIDTH = 40
"""Of the image; whatever has this many columns or a few more is a tensor of full resolution."""


class Alive(TorchDispatchMode):
    """rows: the most rows of any tensor of full resolution. samples: the most that all tensors made have together."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self._known = {t.untyped_storage().data_ptr() for t in known}
        self._live: list[weakref.ref[Tensor]] = []
        self.rows = self.samples = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for t in tree_iter(result):
            if isinstance(t, Tensor) and t.dim() == 4 and t.untyped_storage().data_ptr() not in self._known:
                if WIDTH <= t.shape[3] <= WIDTH + 4:
                    self.rows = max(self.rows, t.shape[2])
                self._live.append(weakref.ref(t))
        alive = [t for t in (ref() for ref in self._live) if t is not None]
        self._live = [weakref.ref(t) for t in alive]
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
        self.samples = max(self.samples, sum(storages.values()) // 8)
        return result


def watched(model: nn.Module, x: Tensor, **options: Any) -> Alive:
    model = model.double().eval()
    net = oc.tiled(model, **options)
    with torch.no_grad():
        assert torch.allclose(net(x), model(x))  # and everything is traced now
    with Alive([x, *model.parameters()]) as alive:
        for _ in net.blocks(x):
            pass
    return alive


def chain(depth: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(depth)))


def image(rows: int) -> Tensor:
    return torch.randn(1, 2, rows, WIDTH, dtype=torch.float64)


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("band", few([4, 7], 1))
def test_a_layer_of_a_stream_holds_its_band_and_the_rows_by_which_its_reader_lags(band):
    """In the first band the first of six layers runs five rows ahead, and it fetches a row on each side; later every
    layer has its band and the two rows that are still to be read. How long the image is makes no difference."""
    for rows in (61, 122):
        alive = watched(chain(6), image(rows), schedule="stream", stream_axis="H", block=band)
        assert alive.rows == band + 5 + 2


def test_what_all_layers_hold_together_is_two_rows_each_and_a_few_bands():
    """A layer more adds its lag, two rows, and makes the first band one row longer, of which three are at hand."""
    few, many = (watched(chain(n), image(160), schedule="stream", stream_axis="H", block=16) for n in (4, 12))
    row = 2 * WIDTH
    assert 8 * 2 * row <= many.samples - few.samples <= 8 * 2 * row + 3 * 8 * row


class Skip(nn.Module):
    """One level of a U-Net: the skip waits for what goes down and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.top, self.bottom, self.out = (nn.Conv2d(n, 2, 3, padding=1) for n in (2, 2, 4))
        self.up = nn.ConvTranspose2d(2, 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.top(x)
        below = self.up(self.bottom(nn.functional.max_pool2d(y, 2)))
        return self.out(torch.cat([below, y], 1))


def test_a_skip_holds_the_rows_by_which_it_waits():
    """Outputs [0, e) read `below` to e + 1, which reads the bottom to e/2 + 1, that the pool to e/2 + 2, and so the top
    to e + 4, for which one row more is fetched on each side. Later there are the band and the four rows of waiting."""
    band = 8
    alive = watched(Skip(), image(96), schedule="stream", stream_axis="H", block=band)
    assert alive.rows == band + 4 + 2
    longer = watched(Skip(), image(192), schedule="stream", stream_axis="H", block=band)
    assert longer.samples == alive.samples


def test_trimmed_tensors_are_freed_at_their_last_use():
    """Of a chain the layer that is read, its padded copy, the layer that is made, and the block before: however deep."""
    for depth in (4, 12):
        alive = watched(chain(depth), image(48), schedule="trim", block={"H": 8})
        assert alive.samples <= (8 + 3 * (8 + 2 * depth)) * 2 * WIDTH


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("asked", few([{"schedule": "trim", "block": 16}, {"schedule": "trim", "block": (12, 40)},
                                   {"schedule": "stream", "block": (8, 48)}, {"schedule": "stream", "block": 4}], ({"schedule": "stream", "block": 4},)))  # fmt: skip
def test_memory_of_some_blocks_is_that_of_all(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one kind hold the same, and a stream goes in circles: looking at every block gives the same figure."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ConvTranspose2d(4, 3, 4, 2, 1)
    )
    shape = (1, 2, 112, 176)
    some = oc.plan(net, shape, **asked)
    looked = []
    monkeypatch.setattr(weigh, "_telling", lambda net, plan: looked.append(plan) or [(plan, plan.count)])
    assert oc.plan(net, shape, **asked).memory == some.memory
    assert looked[0].count == some.count > 24


def test_what_was_stored_is_freed_behind_its_last_reader(monkeypatch):
    """At once, and not when cycles of references are next looked for."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (nn.Conv1d(2, 8, 1) for _ in range(3))
            self.norms = nn.Sequential(
                *(nn.Sequential(nn.Conv1d(8, 8, 3, padding=1), nn.GroupNorm(2, 8)) for _ in "ab")
            )

        def forward(self, x):
            q, k, v = (part(x).transpose(1, 2) for part in (self.q, self.k, self.v))
            return self.norms(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2))

    rooms, alive = [], []
    room, one_pass = KeptRows._room, PassRun._pass

    def noted_room(self):
        made = room(self)
        rooms.append((self.form.name, StorageWeakRef(made.untyped_storage())))
        return made

    def noted_pass(self, one, most):
        yield from one_pass(self, one, most)
        alive.append({name for name, storage in rooms if not storage.expired()})

    tiled, x = oc.tiled(Twice(), (1, 2, 64), schedule="passes", block=8), torch.randn(1, 2, 64)
    tiled(x)  # planned now, which runs the passes on shapes alone
    monkeypatch.setattr(KeptRows, "_room", noted_room)
    monkeypatch.setattr(PassRun, "_pass", noted_pass)
    gc.disable()
    try:
        tiled(x)
    finally:
        gc.enable()
    assert len(alive[0]) == 2  # keys and values
    assert not alive[1] & alive[0]


@pytest.mark.parametrize(("schedule", "small"), [("trim", (16, 16)), ("stream", (16, 48))])
def test_the_memory_of_many_blocks_is_that_of_one_and_the_larger_output(schedule, small):
    """No block is held while the next one is computed."""
    options = {"block": 16, "schedule": schedule, **({"stream_axis": "H"} if schedule == "stream" else {})}
    many = oc.plan(nn.ReLU(), (1, 1, 48, 48), **options).memory
    one = oc.plan(nn.ReLU(), (1, 1, *small), **options).memory
    assert many.activations - one.activations == 4 * (48 * 48 - small[0] * small[1])
