"""What is checked on CUDA: proofs, random nets, exact codecs, and which kernels mix neighbours. See cuda.py."""

from __future__ import annotations

import copy
import importlib.util
import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

import overlapcalc as oc
from examples.codec import Codec
from examples.superres import SuperResolver
from examples.unet import UNet
from overlapcalc.testing import HAZARDS, hazard_net

from ..zoo.zoofile import OWN, load

Row = tuple[list[str], bool]
"""Cells, and whether all is well."""
SCHEDULES = ("crop", "trim", "stream")


def failed(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


# ---- proofs -------------------------------------------------------------------------------------------------


def proofs(device: str) -> Iterator[Row]:
    """The examples by every schedule; the nets of the zoo by one schedule each, by turns."""
    codec = Codec(8, 12)
    own = {"codec.g_a": codec.g_a, "codec.g_s": codec.g_s, "U-Net": UNet(), "super-resolver": SuperResolver()}
    for name, net in own.items():
        for schedule in SCHEDULES:
            yield _proof(name, net, None, device, schedule)
    zoo = load(OWN)
    for i, name in enumerate(zoo.names):
        net, inputs = zoo.build(name)
        yield _proof(name, net, inputs, device, SCHEDULES[i % len(SCHEDULES)])


def _proof(name: str, net: nn.Module, inputs: object, device: str, schedule: str) -> Row:
    try:
        given = None if inputs is None else [tuple(x.shape) for x in inputs]  # type: ignore[attr-defined]
        result = oc.verify(net, given, device=device, schedule=schedule)
    except oc.ObstacleError:
        return [name, schedule, "has obstacles: nothing to prove", "", ""], True
    except Exception as error:  # the other rows are wanted all the same
        return [name, schedule, failed(error), "", ""], False
    own = result.figures[-1]
    return [name, schedule, _states(result), f"{own.error:.1e}", f"{own.identical:.1%}"], result.proved


def _states(result: oc.Verification) -> str:
    others = [p for p in result.proofs if p.status != "proved"]
    return ", ".join(f"{p.name}: {p.status} ({'; '.join(p.failures) or p.reason})" for p in others) or "all proved"


# ---- random nets --------------------------------------------------------------------------------------------

MOST_DIFFERENT = 1e-4


def hazards(device: str, count: int) -> Iterator[Row]:
    """Nets with one layer that is easily taken for another, in float64 or as they are: by blocks against whole."""
    for kind in HAZARDS:
        tally = Counter(_judged(kind, seed, device) for seed in range(count))
        cells = [str(tally[word]) for word in ("same", "refused", "does not run", "differs")]
        yield [kind, str(count), *cells], not tally["differs"] and tally["does not run"] < count


def _judged(kind: str, seed: int, device: str) -> str:
    draw = random.Random(f"{kind} {seed}")
    try:
        net = hazard_net(kind, seed)
        x = net.image([max(least, draw.randint(17, 30)) for least in net.least]).to(device)
        module = net.build().to(device)
        whole = _plain(module, x)
    except Exception:  # it does not run at that size, or puts tensors on the CPU
        return "does not run"
    schedule = draw.choice(SCHEDULES)
    block = None if schedule == "crop" else draw.randint(5, 11)
    try:
        tiled = oc.tiled(copy.deepcopy(module), tuple(x.shape), schedule=schedule, block=block)
        blocks = tiled(x)
    except oc.OverlapcalcError:
        return "refused"
    except Exception:
        return "differs"
    apart = (whole.double() - blocks.double()).abs().nan_to_num(torch.inf).max()
    return "same" if float(apart) <= MOST_DIFFERENT * float(whole.double().abs().max()) else "differs"


def _plain(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        y: Tensor = net(x.clone())
    return y


# ---- exact codecs -------------------------------------------------------------------------------------------

PICTURE = (190, 250)
RUNS = ((None, "crop"), (64, "crop"), (96, "trim"), (20, "stream"))


def agreement(device: str) -> Iterator[Row]:
    """Coded and decoded on the device, whole and by blocks, against the bitstream and the picture of the CPU."""
    missing = [name for name in ("safetensors", "constriction") if importlib.util.find_spec(name) is None]
    if missing:
        yield [f"skipped: {' and '.join(missing)} not installed", "", "", ""], True
        return
    from examples.kim2026.checkpoint import load_coding, path_of
    from examples.kim2026.coding import CODECS
    from examples.lic.bitstream import BitstreamError
    from examples.lic.coding import decode, encode
    from examples.lic.pictures import dead_leaves
    from examples.lic.running import Running

    picture = dead_leaves(*PICTURE, seed=sum(PICTURE))
    for name in CODECS:
        coding = load_coding(path_of(name))
        data = encode(coding, picture)
        whole = decode(coding, data)
        same_bytes = same_pictures = 0
        for block, schedule in RUNS:
            running = Running(block, schedule, device)
            try:
                same_bytes += encode(coding, picture, running) == data
                same_pictures += np.array_equal(decode(coding, data, running), whole)
            except BitstreamError:  # of a decoder whose nets give other numbers
                continue
        runs = len(RUNS)
        yield [name, str(runs), str(same_bytes), str(same_pictures)], same_bytes == same_pictures == runs


# ---- kernels that mix neighbours ----------------------------------------------------------------------------

SIZE = (128, 160)
KERNELS = (3, 5, 7, 11)
CHANNELS = (3, 16, 64, 128)


def mixing(device: str) -> Iterator[Row]:
    """Half of the image is NaN: which outputs that read none of it are no longer the same? The same kernel runs both
    times. Only what changes is a row."""
    found = False
    for kernel in KERNELS:
        for channels in CHANNELS:
            for dtype in (torch.float64, torch.float32, torch.float16):
                conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2).to(device, dtype)
                half, clean = SIZE[1] // 2, SIZE[1] // 2 - kernel // 2
                x = torch.randn(1, channels, *SIZE, device=device, dtype=dtype)
                dirty = x.clone()
                dirty[..., half:] = torch.nan
                changed = _plain(conv, x)[..., :clean] != _plain(conv, dirty)[..., :clean]
                if bool(changed.any()):
                    found = True
                    columns = int(changed.flatten(0, 2).any(0).sum())
                    share = f"{float(changed.double().mean()):.0%}"
                    kind = str(dtype).removeprefix("torch.")
                    yield [f"{kernel}x{kernel}", str(channels), kind, share, f"{columns} of {clean}"], True
    if not found:
        yield ["none of those tried", "", "", "", ""], True
