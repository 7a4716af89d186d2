"""What forward may take besides tensors: containers, numbers, arguments by name. Runs are held against the net itself."""

from __future__ import annotations

import copy
import dataclasses
import enum
import gc
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from shared.thorough import few
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

import overlapcalc as oc
import overlapcalc.testing as kit
from overlapcalc.trace import arguments

SHAPE = (1, 3, 24, 20)
SMALL = (1, 3, 12, 10)


def image(shape: Sequence[int] = SHAPE, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = image(), image(seed=1)


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.conv, self.wide = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 5, padding=2)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator) / 5
        self.double().eval()


class Batch(Base):
    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return {"out": self.conv(batch["image"]) * self.wide(batch["more"]["mask image"])}


class Levels(Base):
    def forward(self, x: Tensor, feats: list[Tensor]) -> list[Tensor]:
        fine, coarse = feats
        return [self.conv(x) + self.wide(fine) + F.interpolate(coarse, scale_factor=2), self.conv(fine)]


class OneList(Base):
    def forward(self, feats: list[Tensor]) -> Tensor:
        return self.conv(feats[0]) + self.wide(feats[1])


class Scaled(Base):
    def forward(self, x: Tensor, scale: int) -> Tensor:
        return self.wide(F.interpolate(self.conv(x), scale_factor=scale))


class Noisy(Base):
    def forward(self, x: Tensor, noise: float) -> Tensor:
        return self.conv(torch.cat([x[:, :2], torch.full_like(x[:, :1], noise)], 1)) * noise


class Flagged(Base):
    def forward(self, x: Tensor, flag: bool) -> Tensor:
        return self.wide(x) if flag else self.conv(x)


class Masked(Base):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.wide(x)
        return self.conv(y) if mask is None else self.conv(y * mask)


class Mode(Base):
    def forward(self, x: Tensor, mode: str = "nearest") -> Tensor:
        kept = {} if mode == "nearest" else {"align_corners": False}
        return self.conv(F.interpolate(x, scale_factor=2, mode=mode, **kept))


class ByName(Base):
    def forward(self, x: Tensor, *, other: Tensor, times: int = 1) -> Tensor:
        return self.conv(x) + self.wide(other) * times


class Many(Base):
    def forward(self, times: int, *images: Tensor, **more: Any) -> Tensor:
        return sum((self.conv(one) for one in images), times * self.wide(more["last"]))


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class OfPairs(Base):
    def forward(self, pair: Pair, kept: OrderedDict[str, Tensor], size: tuple[int, int] = (2, 2)) -> Tensor:
        return F.avg_pool2d(self.conv(pair.left) - self.wide(pair.right) + kept["it"], size)


KINDS: dict[str, tuple[type[Base], Any, dict[str, Any], list[str], dict[str, Any]]] = {
    "dictionary": (Batch, {"image": X, "more": {"mask image": Y}}, {}, ["batch.image", "batch.more['mask image']"], {}),
    "list": (Levels, (X, [Y, image(SMALL)]), {}, ["x", "feats[0]", "feats[1]"], {}),
    "one list": (OneList, ([X, Y],), {}, ["feats[0]", "feats[1]"], {}),
    "one list as it is": (OneList, [X, Y], {}, ["feats[0]", "feats[1]"], {}),
    "number": (Scaled, (X, 2), {}, ["x"], {"scale": 2}),
    "fraction": (Noisy, (X, 0.25), {}, ["x"], {"noise": 0.25}),
    "true": (Flagged, (X, True), {}, ["x"], {"flag": True}),
    "none": (Masked, (X, None), {}, ["x"], {"mask": None}),
    "text": (Mode, (X, "bilinear"), {}, ["x"], {"mode": "bilinear"}),
    "number by name": (Scaled, X, {"scale": 2}, ["x"], {"scale": 2}),
    "by name alone": (ByName, X, {"other": Y, "times": 2}, ["x", "other"], {"times": 2}),
    "any number": (Many, (2, X, Y), {"last": X + Y}, ["images[0]", "images[1]", "last"], {"times": 2}),
    "tuple with names": (
        OfPairs, (Pair(X, Y), OrderedDict(it=X)), {}, ["pair.left", "pair.right", "kept.it"], {},
    ),
    "tuple of numbers": (
        OfPairs, (Pair(X, Y), OrderedDict(it=X), (4, 2)), {}, ["pair.left", "pair.right", "kept.it"],
        {"size[0]": 4, "size[1]": 2},
    ),
}  # fmt: skip


def called(net: nn.Module, inputs: Any, kwargs: dict[str, Any]) -> Any:
    """What the net gives on the whole, called as its author calls it."""
    args = (
        (inputs,)
        if not isinstance(inputs, (list, tuple)) or (isinstance(net, OneList) and len(inputs) == 2)
        else inputs
    )
    with torch.no_grad():
        return net(*args, **kwargs)


def shapes_of(given: Any) -> Any:
    return torch.utils._pytree.tree_map(lambda x: tuple(x.shape) if isinstance(x, Tensor) else x, given)


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_give_what_the_whole_gives(kind: str) -> None:
    made, inputs, kwargs, names, fixed = KINDS[kind]
    net = made()
    expected = called(net, inputs, kwargs)
    analysis = oc.analyze(net, inputs, kwargs=kwargs)
    assert list(analysis.inputs) == names
    assert analysis.fixed == fixed
    assert [tuple(x.shape) for x in tree_leaves(expected)] == list(analysis.outputs.values())
    for schedule in ("crop", "trim", "stream"):
        close(oc.run(net, inputs, kwargs=kwargs, block=8, schedule=schedule), expected)
        plan = oc.plan(net, shapes_of(inputs), kwargs=shapes_of(kwargs), block=8, schedule=schedule)
        assert list(plan.inputs) == names
        assert plan.fixed == fixed
    net.conv.weight.data *= 2  # what was made for it sees its present weights
    close(oc.run(net, inputs, kwargs=kwargs, block=8), called(net, inputs, kwargs))


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("kind", few(list(KINDS), 3))
def test_they_are_proved(kind: str) -> None:
    made, inputs, kwargs, *_ = KINDS[kind]
    net = made()
    proved = oc.verify(net, inputs, kwargs=kwargs, block=8)
    assert proved.proved, [str(proof) for proof in proved.proofs]
    wrong = oc.verify(net, oc.analyze(net, shapes_of(inputs), kwargs=shapes_of(kwargs)), block=8, tile=0)
    assert not wrong.proved


def test_every_door_takes_them_in_one_way() -> None:
    net, inputs, kwargs = Batch(), ({"image": X, "more": {"mask image": Y}},), {}
    whole = called(net, inputs, kwargs)["out"]
    close(torch.cat([b.results["output"] for b in oc.blocks(net, *inputs, block={"H": 8})], 2), whole)
    close(oc.run(net, *inputs, block=8)["out"], whole)
    close(oc.tiled(net, shapes_of(inputs), block=8)(*inputs)["out"], whole)
    close(oc.tiled(net, *shapes_of(inputs), block=8)(inputs)["out"], whole)
    assert oc.tiled(net, block=8).plan(*shapes_of(inputs)).count == oc.plan(net, shapes_of(inputs), block=8).count
    assert oc.sizes(net, shapes_of(inputs))["W"].step == 1
    curve = oc.error_curve(net, ({"image": X, "more": {"mask image": SHAPE}},), block=8)
    assert curve.drawn == ("batch.more['mask image']",)
    assert curve.points[-1].largest < 1e-12 < curve.points[0].largest
    kit.assert_blocking_free(net, shapes_of(inputs), max_context=2)
    kit.assert_runs(net, shapes_of(inputs), "tiles")
    kit.assert_same_by_blocks(net, inputs, block=8)
    small = ({"image": image((1, 3, 7, 6)), "more": {"mask image": image((1, 3, 7, 6))}},)
    kit.assert_reads(net, small)
    assert kit.dependency(net, small, (3, 4), "W", input=1).span == (1, 6)


def test_lists_of_tensors_are_arguments_as_before() -> None:
    class Two(Base):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.conv(x) + self.wide(y)

    net = Two()
    whole = called(net, (X, Y), {})
    for found in (
        oc.run(net, X, Y, block=8), oc.run(net, (X, Y), block=8), oc.run(net, [X, Y], block=8),
        oc.run(net, X, kwargs={"y": Y}, block=8), oc.tiled(net, SHAPE, SHAPE, block=8)(X, y=Y),
        oc.tiled(net, [SHAPE, SHAPE], block=8)(X, Y),
    ):  # fmt: skip
        close(found, whole)
    for given in ([SHAPE, SHAPE], (X, Y), [X, SHAPE]):
        assert list(oc.analyze(net, given).inputs) == ["x", "y"]
    assert list(oc.analyze(net, kwargs={"y": SHAPE, "x": SHAPE}).inputs) == ["x", "y"]


def test_arrays_are_read_by_slices_where_they_lie() -> None:
    given = {"image": X.numpy(), "more": {"mask image": Y.numpy()}}
    out = np.zeros(SHAPE)
    oc.run(Batch(), given, block=8, schedule="stream", out=out)
    close(torch.from_numpy(out), called(Batch(), {"image": X, "more": {"mask image": Y}}, {})["out"])


def test_every_run_takes_the_number_that_it_is_given() -> None:
    net, tiles = Scaled(), oc.Tiled(Scaled(), block=16)
    for scale in (2, 3, 2):
        close(oc.run(net, X, scale, block=16), called(net, (X, scale), {}))
        close(tiles(X, scale), called(net, (X, scale), {}))
        close(tiles(X, scale=scale), called(net, (X, scale), {}))


@pytest.mark.parametrize(
    ("planned", "given", "said"),
    [
        (((SHAPE, 2), {}), ((X, 3), {}), r"^scale=3; this was planned for scale=2, which is part of the net: give the"),
        (((SHAPE,), {"scale": 2}), ((X,), {"scale": 3}), "^scale=3; this was planned for scale=2"),
        (((SHAPE, 2), {}), ((X, 2.0), {}), "^scale=2.0; this was planned for scale=2"),
        (((SHAPE, 2), {}), ((X, True), {}), "^scale=True; this was planned for scale=2"),
    ],
)
def test_a_run_that_was_planned_for_another_number_is_refused(planned: Any, given: Any, said: str) -> None:
    net = Scaled()
    tiles = oc.tiled(net, *planned[0], kwargs=planned[1], block=16)
    with pytest.raises(oc.InputError, match=said):
        tiles(*given[0], kwargs=given[1])
    close(tiles(X, 2), called(net, (X, 2), {}))


def test_what_is_left_out_is_what_forward_has_for_it() -> None:
    net = Mode()
    bilinear, plain = oc.tiled(net, SHAPE, "bilinear", block=8), oc.tiled(net, SHAPE, "nearest", block=8)
    close(plain(X), called(net, X, {}))
    with pytest.raises(oc.InputError, match=r"^mode='nearest'; this was planned for mode='bilinear'"):
        bilinear(X)
    with pytest.raises(oc.InputError, match=r"^mode='bilinear'; this was planned for mode='nearest'"):
        plain(X, mode="bilinear")


def test_a_plan_of_another_number_proves_nothing() -> None:
    net = Noisy()
    plan = oc.plan(net, (SHAPE, 0.5), block=8)
    assert plan.to_dict()["fixed"] == {"noise": 0.5}
    with pytest.raises(oc.InputError, match=r"^the plan is for a net with \[noise=0.5\], not \[noise=0.25\]"):
        oc.verify(net, (SHAPE, 0.25), plan=plan)


def test_reports_say_what_is_fixed() -> None:
    class Kind(enum.Enum):
        FULL = 1

    class Net(Base):
        def forward(self, batch: dict[str, Tensor], kind: Kind, dtype: torch.dtype, rate: float) -> Tensor:
            return self.conv(batch["image"]).to(dtype) * rate * kind.value

    found = oc.analyze(Net(), ({"image": SHAPE}, Kind.FULL, torch.float64, 0.5)).to_dict()
    assert found["inputs"] == {"batch.image": list(SHAPE)}
    assert found["fixed"] == {"kind": "<Kind.FULL: 1>", "dtype": "torch.float64", "rate": 0.5}
    assert "fixed" not in oc.analyze(Base().conv, SHAPE).to_dict()


def test_a_net_is_followed_in_its_own_words() -> None:
    """Layers have the same names, hooks see the arguments as they are, and the model stays as it is."""
    net, seen = Scaled(), []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    before = dict(vars(net))
    analysis = oc.analyze(net, (SHAPE, 2))
    assert [row.name for row in analysis.layers] == ["conv", "upsample_nearest2d", "wide"]
    assert "test_no_tensors.py" in (analysis.layers[0].source or "")
    assert set(seen) == {2}
    assert dict(vars(net)) == before
    assert type(net) is Scaled
    close(oc.run(copy.deepcopy(net), X, 2, block=16), called(net, (X, 2), {}))


def test_a_forward_that_was_replaced_is_the_one_that_runs() -> None:
    net = Base()
    net.forward = lambda x, times: net.conv(x) * times  # type: ignore[method-assign, assignment]
    close(oc.run(net, X, 3, block=8), called(net, (X, 3), {}))


def test_a_net_in_passes() -> None:
    class Net(Base):
        def forward(self, batch: dict[str, Tensor], eps: float) -> Tensor:
            y = self.conv(batch["image"])
            return self.wide((y - y.mean((2, 3), keepdim=True)) * eps)

    net = Net()
    close(oc.run(net, {"image": X}, 0.5, schedule="passes", block=5), called(net, ({"image": X}, 0.5), {}))


def test_padded_to_fit() -> None:
    class Net(Base):
        def forward(self, batch: dict[str, Tensor], times: int) -> Tensor:
            return self.conv(F.pixel_unshuffle(batch["image"], 8)[:, :3]) * times

    net, x = Net(), image((1, 3, 21, 30))
    whole = called(net, ({"image": F.pad(x, (0, 2, 0, 3))}, 2), {})
    found = oc.run(net, {"image": x}, 2, block=1, pad_to_fit="constant")
    close(found, whole[:, :, : found.shape[2], : found.shape[3]])


class Own:
    def __init__(self, x: Tensor) -> None:
        self.x = x


@pytest.mark.parametrize(
    ("net", "given", "kwargs", "said"),
    [
        (Batch(), {"image": object()}, {}, r"^batch\.image is a builtins\.object, which is no tensor, no shape, no"),
        (Scaled(), (Own(X), 2), {}, r"^x is a test_no_tensors\.Own, which is no tensor"),
        (
            Scaled(),
            [SHAPE],
            {},
            "^Scaled.forward takes 2 inputs, 1 given; give each: a tensor, a shape in its place, or",
        ),
        (
            Scaled(),
            (SHAPE, 2, 3),
            {},
            r"^Scaled\.forward\(x, scale\): too many positional arguments; give its positional",
        ),
        (Scaled(), SHAPE, {"scal": 2}, r"^Scaled\.forward\(x, scale\): missing a required argument: 'scale'; give"),
        (Scaled(), (1, 2), {}, "^Scaled.forward takes 2 inputs, 1 given"),
        (
            Scaled(),
            None,
            {"scale": 2},
            r"^scale=2 given: expected a shape such as \(1, 3, 256, 256\), or a tensor, among",
        ),
        (Scaled(), SHAPE, ["scale"], r"^kwargs=\['scale'\]: expected the arguments of forward by name"),
        (ByName(), SHAPE, None, r"^ByName\.forward takes other by name only; give it in kwargs=\{'other': \.\.\.\}"),
        (Batch(), {"image": (1, 3, 0, 4)}, {}, r"^input shape \(1, 3, 0, 4\): expected sizes of at least 1"),
        (Batch(), {"image": SHAPE, "more": {}}, {}, "KeyError: 'mask image'"),
        (
            Base().conv,
            [SHAPE, SHAPE],
            {},
            r"takes 1 input, 2 given; .* list of them, give \(\[\.\.\.\],\), with the comma",
        ),
    ],
)
def test_what_does_not_fit_is_refused(net: nn.Module, given: Any, kwargs: Any, said: str) -> None:
    with pytest.raises(oc.OverlapcalcError, match=said) as refused:
        oc.analyze(net, given, kwargs=kwargs)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("given", "kwargs", "said"),
    [
        ((5,), {}, "^x=5 given: expected a tensor, or an array with shape, dtype and slicing, among"),
        ((X[:, :, :0], 2), {}, r"^x of shape \(1, 3, 0, 20\): it holds nothing"),
        ((Own(X), 2), {}, "^x is a test_no_tensors.Own, which is no tensor"),
        ((X,), {"scal": 2}, r"^Scaled\.forward\(x, scale\): missing a required argument"),
        ((X.to("meta"), 2), {}, "^x is on meta, the model on cpu"),
    ],
)
def test_runs_refuse_it_too(given: Any, kwargs: Any, said: str) -> None:
    with pytest.raises(oc.InputError, match=said):
        oc.run(Scaled(), *given, kwargs=kwargs, block=8)


def test_a_loop_takes_them() -> None:
    class Next(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, (1, 2))

        def forward(self, seen: dict[str, Tensor], times: int) -> Tensor:
            return self.conv(F.pad(seen["image"], (2, -1, 0, 0))) * times + seen["given"]

    net, given = Next(), image((1, 1, 4, 6)).float()
    stages = [oc.Stage(("output",), lambda cells: cells["output"], feeds="seen.image")]
    loop = oc.Loop(net, stages, {"image": (1, 1, 4, 6), "given": (1, 1, 4, 6)}, 2)
    assert loop.given == ("seen.given",)
    made = loop.run(given)["seen.image"]
    with torch.no_grad():
        torch.testing.assert_close(net({"image": made, "given": given}, 2), made, rtol=1e-5, atol=1e-5)
    assert oc.verify(loop).proved


@dataclasses.dataclass
class Sample:
    image: Tensor
    scale: int


def test_a_registered_class_is_a_container() -> None:
    torch.export.register_dataclass(Sample, serialized_type_name=f"{__name__}.Sample")

    class Net(Base):
        def forward(self, sample: Sample) -> Tensor:
            return F.interpolate(self.conv(sample.image), scale_factor=sample.scale)

    analysis = oc.analyze(Net(), Sample(SHAPE, 2))  # type: ignore[arg-type]
    assert (analysis.inputs, analysis.fixed) == ({"sample.image": SHAPE}, {"sample.scale": 2})
    close(oc.run(Net(), Sample(X, 2), block=16), called(Net(), Sample(X, 2), {}))


def test_layers_that_hold_their_net_see_one_net() -> None:
    class Part(nn.Module):
        def __init__(self, whole: Any) -> None:
            super().__init__()
            self.whole = [whole]

        def forward(self, x: Tensor) -> Tensor:
            return self.whole[0].conv(x)

    class Net(Base):
        def __init__(self) -> None:
            super().__init__()
            self.part = Part(self)

        def forward(self, x: Tensor, times: int) -> Tensor:
            return self.part(x) * times

    net = Net()
    close(oc.run(net, X, 2, block=8, schedule="stream"), called(net, (X, 2), {}))
    assert oc.verify(net, (SHAPE, 2), block=8).proved


def test_a_class_with_a_copy_of_its_own() -> None:
    class Net(Base):
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.width = width

        def __deepcopy__(self, memo: Any) -> Net:
            twin = Net(self.width).train(self.training)
            twin.load_state_dict(self.state_dict())
            return twin

        def forward(self, x: Tensor, times: int) -> Tensor:
            return self.conv(x) * times

    net = Net().train()
    close(oc.run(net, X, 2, block=8), called(net, (X, 2), {}))
    assert net.training


def test_a_model_that_is_gone_leaves_nothing_behind() -> None:
    net = Scaled()
    oc.run(net, X, 2, block=16)
    gone, held = weakref.ref(net), len(arguments._known)
    del net
    gc.collect()
    assert gone() is None
    assert len(arguments._known) == held - 1


def test_a_copy_of_a_net_that_was_planned_is_a_net_of_its_own() -> None:
    net = Batch()
    given = {"image": X, "more": {"mask image": Y}}
    tiles = oc.tiled(net, shapes_of(given), block=8)
    twin = copy.deepcopy(tiles)
    assert type(twin.model) is Batch
    twin.model.conv.weight.data *= 2  # type: ignore[union-attr, operator]
    close(tiles(given)["out"], called(net, given, {})["out"])
    close(twin(given)["out"], called(twin.model, given, {})["out"])


def test_a_saved_program_has_its_numbers_in_it() -> None:
    class Net(Base):
        def forward(self, batch: dict[str, Tensor], scale: int) -> Tensor:
            return F.interpolate(self.conv(batch["image"]), scale_factor=scale)

    program = torch.export.export(Net(), ({"image": X}, 2))
    for given in (SHAPE, {"image": SHAPE}, ({"image": X}, 2)):
        assert list(oc.analyze(program, given).inputs.values()) == [SHAPE]
    with pytest.raises(oc.InputError, match=r"^scale=3: the program was exported with 2"):
        oc.analyze(program, ({"image": X}, 3))
