"""Each claim: true at the value, false one sample below it; and who is to blame."""

from __future__ import annotations

import re

import pytest
import torch
from shared.causal import look_ahead
from shared.guarded import CHAIN, GLOBAL, HEAD, Project, entry
from shared.once import Traces
from shared.thorough import few

import overlapcalc as oc
from overlapcalc.guard import Checked, check
from overlapcalc.guard.claims import KINDS, Setting, Subject
from overlapcalc.guard.config import read_config

TRACES = Traces()


def judged(project: Project, source: str, more: str, **options: str) -> Checked:
    """The model `net.py:Net` with these claims."""
    project.write("net.py", source)
    text = entry(more=more)
    for key, value in options.items():
        text = text.replace('input = "1x1x32x32"', f"{key} = {value}") if key == "input" else text
    with TRACES.once(same=source):
        return check(project.configure(text), keep=False)["net"]


def holds(project: Project, source: str, more: str, **options: str) -> bool:
    found = judged(project, source, more, **options)
    assert not found.error
    assert not any(j.error for j in found.judgements), found.judgements
    return found.code == 0


# CHAIN: conv 3 (padding 1), then conv 5 stride 2 (padding 2). By hand: output o reads y[2o-2, 2o+3), so x[2o-3, 2o+4):
# 7 samples; a block [0, 1) over [0, 2) has context 3 before and 2 after; the tile adds whole steps of 2: 4 and 2.
LIMITS = [
    ("max-context = 3", "max-context = 2"),
    ("max-context = {before = 3, after = 2}", "max-context = {before = 3, after = 1}"),
    ("max-context = {after = 2}", "max-context = {before = 2}"),
    ("max-context = {W = {before = 3}}", "max-context = {W = {before = 2}}"),
    ("max-context = {H = 3, W = {after = 2}}", "max-context = {H = 2, W = {after = 2}}"),
    ("max-tile = {before = 4, after = 2}", "max-tile = {before = 3, after = 2}"),
    ("max-tile = {before = 4, after = 2}", "max-tile = {before = 4, after = 1}"),
    ("max-receptive-field = 7", "max-receptive-field = 6"),
    ("max-receptive-field = {W = 7}", "max-receptive-field = {W = 6}"),
    ("step = 2", "step = 1"),
    ("step = 2", "step = 4"),
    ("step = {H = 2}", "step = {H = 1}"),
    ("scale = 2", "scale = 1"),
    ('scale = {W = "2"}', 'scale = {W = "1/2"}'),
]


@pytest.fixture(scope="module")
def chain() -> Subject:
    namespace: dict = {}
    exec(CHAIN, namespace)
    net = namespace["Net"]()
    return Subject(net, oc.analyze(net, (1, 1, 32, 32)), Setting())


@pytest.mark.parametrize(("true", "false"), LIMITS, ids=lambda text: text)
def test_a_limit_holds_at_the_value_and_not_below(tmp_path, chain: Subject, true, false):
    for claim, expected in ((true, True), (false, False)):
        file = tmp_path / "pyproject.toml"
        file.write_text(entry(more=claim))
        assert read_config(file).models[0].claims[0].judge(chain).holds is expected


def test_the_layer_to_blame(project: Project):
    found = judged(project, CHAIN, "max-context = {before = 2}")
    failure = found.judgements[0].failures[0]
    assert (failure.where, failure.value, failure.layer) == ("H, before", "3", "b")
    assert failure.why == "adds 2 of the context of 3"
    assert failure.path == ("b (+2)", "a (+1)")
    line = CHAIN.splitlines().index("        return self.b(y)") + 1
    assert failure.source.endswith(f"net.py:{line}")  # a project like this may have been judged before


DOWN_AND_UP = HEAD + (
    "def Net():\n    return nn.Sequential(nn.Conv2d(1, 1, 2, 2), nn.AvgPool2d(3), nn.ReLU(), nn.Upsample(scale_factor=2))\n"
)


@pytest.mark.parametrize(
    ("wanted", "blamed", "factor"), few([('"3/2"', "0", "2"), ("1", "1", "3"), ("6", "3", "1/2")], 1)
)
def test_the_layer_to_blame_for_a_scale_is_the_one_too_many(project: Project, wanted, blamed, factor):
    """2 * 3 / 2 = 3; without one of the factors it would be what is wanted."""
    failure = judged(project, DOWN_AND_UP, f"scale = {wanted}").judgements[0].failures[0]
    assert (failure.value, failure.layer, failure.why) == ("3", blamed, f"multiplies it by {factor}")
    assert failure.path == ("3 (x1/2)", "1 (x3)", "0 (x2)")


def test_a_scale_that_no_layer_changes_blames_none(project: Project):
    failure = (
        judged(project, HEAD + "def Net():\n    return nn.Conv2d(1, 1, 3)\n", "scale = 2").judgements[0].failures[0]
    )
    assert (failure.value, failure.layer, failure.why) == ("1", "", "no layer on the way changes it")


def test_a_tile_says_that_it_grows_by_whole_steps(project: Project):
    """Context 3, step 2, tile 4."""
    failure = judged(project, CHAIN, "max-tile = {before = 3}").judgements[0].failures[0]
    assert failure.why.endswith("must hold 3 beyond the block's own place, in whole steps of 2")


def test_an_obstacle_fails_every_claim_that_needs_none_and_is_named(project: Project):
    claims = [
        "blocking-free = true", "max-context = 99", "max-tile = 99", "max-receptive-field = 99", "step = 1", "scale = 1",
        "max-macs-ratio = 99.0", 'max-memory = "99GiB"', "causal = true", 'verify = "cpu"',
        "max-cone = 99", "max-skew = 99", "max-lookahead = 99", 'max-disk = "99GiB"',
    ]  # fmt: skip
    without = {"runs", "max-passes"}  # tests/guard/test_guard_passes.py
    assert {claim.split()[0] for claim in claims} == set(KINDS) - without
    found = judged(project, GLOBAL, "\n".join(["image = '32x32'", "schedule = 'crop'", *claims]))
    assert found.code == 1
    for judgement in found.judgements:
        assert not judgement.error
        assert [f.layer for f in judgement.failures] == ["mean", "mean"], judgement
    assert found.judgements[0].failures[0].path == ("x", "mean")


def test_without_a_claim_an_obstacle_is_only_locked(project: Project):
    found = judged(project, GLOBAL, "")
    assert found.code == 0
    assert found.needs is not None
    assert found.needs.net["blocking-free"] is False


@pytest.mark.parametrize(
    "claim", ["max-tile = {D = 3}", "step = {D = 3}", "causal = ['D']", "max-receptive-field = {D = 1}"]
)
def test_an_axis_that_the_net_does_not_have_cannot_be_judged(project: Project, claim):
    found = judged(project, CHAIN, f"max-context = 2\n{claim}")
    assert found.code == 2
    assert "analysed along H, W" in found.judgements[1].error
    assert not found.judgements[0].error  # and hides no other claim


CHECKER = HEAD + (
    "class Net(nn.Module):\n"
    "    def __init__(self):\n"
    "        super().__init__()\n"
    "        self.c = nn.Conv2d(1, 1, 3, padding=1)\n"
    "    def forward(self, x):\n"
    "        h, w = (torch.arange(n) for n in x.shape[-2:])\n"
    "        return self.c(x * ((h[:, None] + w) % 2 == 0))\n"
)
"""A mask that is no product of one per axis: what is read is known as a bound alone."""


def test_a_bound_over_the_limit_says_so(project: Project):
    assert holds(project, CHECKER, "max-context = 1")
    found = judged(project, CHECKER, "max-context = 0")
    assert {f.value for f in found.judgements[0].failures} == {"1 (an upper bound)"}


# ---- cost ---------------------------------------------------------------------------------------------------


def test_cost_of_blocks_of_an_image(project: Project):
    """Conv 3 with padding 1 on 32 columns in blocks of 8: tiles of 9, 10, 10 and 9 samples on either axis."""
    net = HEAD + "def Net():\n    return nn.Conv2d(1, 1, 3, padding=1)\n"
    ratio = (9 + 10 + 10 + 9) ** 2 / 32**2
    setting = "image = '32x32'\nblock = 8\n"
    assert holds(project, net, f"{setting}max-macs-ratio = {ratio}")
    assert not holds(project, net, f"{setting}max-macs-ratio = {ratio - 1e-6}")
    assert holds(project, net, f"{setting}schedule = 'stream'\nmax-macs-ratio = 1.0")


def test_memory_of_blocks_of_an_image(project: Project):
    setting = "image = '64x48'\nblock = 16\n"
    project.write("net.py", CHAIN)
    namespace: dict = {}
    exec(CHAIN, namespace)
    total = oc.plan(namespace["Net"](), (1, 1, 48, 64), block=16).memory.total
    assert holds(project, CHAIN, f"{setting}max-memory = {total}")
    assert not holds(project, CHAIN, f"{setting}max-memory = {total - 1}")


TWO = HEAD + (
    "def Net():\n    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2))\n"
)


def test_work_beyond_the_whole_is_blamed_on_who_does_it(project: Project):
    """On 32 x 32 in blocks of 8, trimmed: the last layer computes no sample twice, the first on a margin of 2."""
    found = judged(project, TWO, "image = '32x32'\nblock = 8\nschedule = 'trim'\nmax-macs-ratio = 1")
    failure = found.judgements[0].failures[0]
    ratio = (10 + 12 + 12 + 10) ** 2 / 32**2
    assert (failure.layer, failure.path) == ("0", (f"0 (100%, x{ratio:.3g})",))
    assert failure.why == f"computes 100% of what is computed beyond the whole, x{ratio:.3g} its own share"
    cropped = judged(project, TWO, "image = '32x32'\nblock = 8\nmax-macs-ratio = 1").judgements[0].failures[0]
    tile = (11 + 14 + 14 + 11) ** 2 / 32**2  # both on tiles of 3 more: 200 MACs a sample of the second, 36 of the first
    assert cropped.path == (f"2 (85%, x{tile:.3g})", f"0 (15%, x{tile:.3g})")
    assert "trim" in cropped.help
    assert "trim" not in failure.help


def test_memory_is_blamed_on_who_holds_the_most(project: Project):
    """Inside, a block of 8 is fed 14 x 14 samples; the four channels before and behind the ReLU are the fullest."""
    found = judged(project, TWO, "image = '64x64'\nblock = 8\nmax-memory = '40KiB'")
    failure = found.judgements[0].failures[0]
    assert failure.layer == "0"
    assert failure.why == "holds 50% of the samples of a block when these are the most, which is while `1` runs"
    assert failure.path == ("0 (50%)", "1 (50%)")
    assert failure.help == "smaller blocks, which hold less"
    alone = 2 * 64 * 64 * 4 + (4 * 9 + 4 + 4 * 2 * 25 + 2) * 4
    for limit, helps in ((alone, "fewer weights or a smaller image"), (alone + 1, "smaller blocks")):
        (failure,) = judged(project, TWO, f"image = '64x64'\nblock = 8\nmax-memory = {limit}").judgements[0].failures
        assert failure.help.startswith(helps)


def test_an_image_that_the_net_does_not_take_cannot_be_judged(project: Project):
    found = judged(project, CHAIN, "image = '8x8x8'\nmax-memory = '1GiB'")
    assert found.code == 2
    assert "WIDTHxHEIGHT" in found.judgements[0].error


# ---- proofs -------------------------------------------------------------------------------------------------


def test_verify_proves_by_running(project: Project):
    found = judged(project, CHAIN, 'verify = "cpu"')
    assert found.code == 0
    assert found.judgements[0].value.startswith("5 of 5 proofs")


def test_verify_refutes_a_rule_that_is_wrong(project: Project):
    """A rule of one's own that forgets a tap: the analysis believes it, the proof does not."""
    wrong = HEAD + (
        "import overlapcalc\n"
        "from overlapcalc import IndexMap\n"
        "@torch.library.custom_op('guarded::blur', mutates_args=())\n"
        "def blur(x: torch.Tensor) -> torch.Tensor:\n"
        "    return F.avg_pool2d(x, 3, 1, 1)\n"
        "@blur.register_fake\n"
        "def _(x):\n"
        "    return torch.empty_like(x)\n"
        "@overlapcalc.rule('guarded::blur')\n"
        "def law(call):\n"
        "    return call.local({-1: IndexMap.window(1), -2: IndexMap.window(1)})\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return blur(x)\n"
    )
    found = judged(project, wrong, 'max-context = 0\nverify = "cpu"')
    assert found.judgements[0].holds
    assert found.judgements[1].failures[0].where == "dependency"
    assert found.code == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_verify_on_cuda_without_cuda_is_an_error(project: Project):
    found = judged(project, CHAIN, 'verify = "cuda"')
    assert found.code == 2
    assert "no CUDA device" in found.judgements[0].error


# ---- causal -------------------------------------------------------------------------------------------------


def causal_net(body: str, layers: str = "        self.c = nn.Conv1d(1, 1, 5)\n") -> str:
    return HEAD + (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        f"        super().__init__()\n{layers}"
        f"    def forward(self, x):\n        {body}\n"
    )


OF_STEP_4 = "F.pad(F.interpolate(F.avg_pool1d(x, 4), scale_factor=4.0), (4, 0))[..., : x.shape[-1]]"
CAUSAL = {
    "zeros before": "return self.c(F.pad(x, (4, 0)))",
    "repeated before": "return self.c(F.pad(x, (4, 0), mode='replicate'))",
    "a delay": "return F.pad(x, (3, 0))[..., :-3]",
    "mirrored behind and cut off": "return self.c(F.pad(x, (4, 2), mode='constant'))[..., : x.shape[-1]]",
    "ahead, then back": "return F.pad(F.pad(x, (0, 3))[..., 3:], (3, 0))[..., :-3]",
    "coarser": "return F.avg_pool1d(x, 4)",
    "mirrored behind": "return F.pad(x, (0, 5), mode='reflect')",
}
NOT_CAUSAL = {
    "one sample too few": "return self.c(F.pad(x, (3, 1)))",
    "mirrored before": "return self.c(F.pad(x, (4, 0), mode='reflect'))",
    "mirrored to a multiple before": "return self.c(F.pad(x, (4 + (-x.shape[-1]) % 4, 0), mode='reflect'))",
    "coarser and finer again": "return F.interpolate(F.avg_pool1d(x, 4), scale_factor=4.0)",
    "ahead, repeated before, then back": "return F.pad(F.pad(x, (0, 3))[..., 3:], (3, 0), mode='replicate')[..., :-3]",
    "ahead at odd sizes": f"y = {OF_STEP_4}; return self.c(F.pad(y, (4, 0) if x.shape[-1] % 2 == 0 else (2, 2)))",
    "global at odd sizes": f"y = {OF_STEP_4}; return y if x.shape[-1] % 2 == 0 else y - y.mean(-1, keepdim=True)",
}


def looks_ahead(source: str, size: int, *, scale: int | None = None) -> bool:
    """Brute force: whether some output depends on a sample behind its own place."""
    return look_ahead(source, size, scale=scale) > 0


@pytest.mark.parametrize("name", few([*CAUSAL, *NOT_CAUSAL], [*list(CAUSAL)[:2], *list(NOT_CAUSAL)[:2]]))
def test_causal_is_what_brute_force_finds(project: Project, name):
    source = causal_net({**CAUSAL, **NOT_CAUSAL}[name])
    expected = not any(looks_ahead(source, size) for size in (24, 25, 27))
    assert expected is (name in CAUSAL)
    assert holds(project, source, "causal = true", input='"1x1x24"') is expected


LOCAL_AHEAD = ["one sample too few", "mirrored before", "coarser and finer again", "ahead at odd sizes", "zeros before"]


@pytest.mark.parametrize("name", few(LOCAL_AHEAD, 3))
def test_max_lookahead_is_what_brute_force_finds(project: Project, name):
    """At the configured size, one sample more, and one step less one."""
    source = causal_net({**CAUSAL, **NOT_CAUSAL}[name])
    most = max(look_ahead(source, size) for size in (24, 25, 27))
    assert holds(project, source, f"max-lookahead = {most}", input='"1x1x24"')
    if most:
        assert not holds(project, source, f"max-lookahead = {most - 1}", input='"1x1x24"')
        assert holds(project, source, "max-lookahead = {L = 99}", input='"1x1x24"')


@pytest.mark.parametrize("name", ["zeros before", "repeated before", "ahead, repeated before, then back"])
def test_causal_where_an_image_is_all_border(project: Project, name):
    source = causal_net({**CAUSAL, **NOT_CAUSAL}[name])
    assert looks_ahead(source, 4) is (name in NOT_CAUSAL)
    assert holds(project, source, "causal = true", input='"1x1x4"') is (name in CAUSAL)


@pytest.mark.parametrize(
    ("name", "value", "layer"),
    few(
        [
            (
                "one sample too few",
                "inside an image, output 0 stands over sample 0 of the input, and reads on up to 1",
                "c",
            ),
            (
                "ahead at odd sizes",
                "inside an image of 25 samples, output 2 stands over sample 2 of the input, and reads on up to 3",
                "",
            ),
            ("global at odd sizes", "at 25 samples an obstacle stands in the way", "mean"),
        ],
        1,
    ),
)
def test_what_looks_ahead_is_said(project: Project, name, value, layer):
    (failure,) = judged(project, causal_net(NOT_CAUSAL[name]), "causal = true", input='"1x1x24"').judgements[0].failures
    assert (failure.value, failure.layer) == (value, layer)


def test_a_border_that_brings_what_comes_later_is_said(project: Project):
    source = causal_net(NOT_CAUSAL["mirrored before"])
    failure = judged(project, source, "causal = ['L']", input='"1x1x24"').judgements[0].failures[0]
    assert failure.value == "at 24 samples, output 0 stands over sample 0 of the input, and reads on up to 4"
    assert failure.help == "zeros there"


def padded(before: int, padding: int, k: int, s: int, d: int) -> str:
    layer = f"        self.c = nn.Conv1d(1, 1, {k}, {s}, {padding}, {d})\n"
    return causal_net(f"return self.c(F.pad(x, ({before}, 0)))", layer)


@pytest.mark.parametrize(
    ("k", "s", "d", "padding"), few([(5, 1, 1, 2), (5, 2, 1, 2), (4, 2, 1, 1), (3, 3, 4, 4), (7, 4, 1, 2)], 2)
)
def test_why_a_strided_layer_looks_ahead_and_the_padding_that_helps(project: Project, k, s, d, padding):
    """The padding that is advised is enough, by brute force, and one zero less is not."""
    wrong = padded(0, padding, k, s, d)
    assert looks_ahead(wrong, 24, scale=s)
    failure = judged(project, wrong, "causal = true", input='"1x1x24"').judgements[0].failures[0]
    place = "sample 0" if s == 1 else f"samples [0, {s})"
    last = d * (k - 1) - padding
    assert failure.value == f"inside an image, output 0 stands over {place} of the input, and reads on up to {last}"
    assert f"reads on up to {'o' if s == 1 else f'{s}*o'} + {last}, so it adds {last - s + 1} of" in failure.why
    advised = int(re.fullmatch(r"pad ([0-9]+) before it and nothing after", failure.help)[1])
    for before, holding in ((advised, True), (advised - 1, False)):
        source = padded(before, 0, k, s, d)
        assert looks_ahead(source, 24, scale=s) is not holding
        assert holds(project, source, "causal = true", input='"1x1x24"') is holding


def test_looking_ahead_that_is_a_bound_says_so(project: Project):
    failure = judged(project, CHECKER, "causal = true").judgements[0].failures[0]
    assert failure.value.endswith(" (an upper bound)")


def test_causal_along_one_axis(project: Project):
    masked = HEAD + "def Net():\n    return nn.Sequential(nn.ZeroPad2d((1, 1, 2, 0)), nn.Conv2d(1, 1, 3))\n"
    assert holds(project, masked, "causal = ['H']")
    assert not holds(project, masked, "causal = ['W']")
    assert not holds(project, masked, "causal = true")


def test_a_pad_of_its_own_holds_back_the_layer_behind_it(project: Project):
    """Only the last layer looks ahead: what the pad holds back is none of the first one's."""
    layers = "        self.c, self.d = nn.Conv1d(1, 1, 7), nn.Conv1d(1, 1, 3, padding=1)\n"
    source = causal_net("return self.d(self.c(F.pad(x, (6, 0))))", layers)
    failure = judged(project, source, "causal = true", input='"1x1x24"').judgements[0].failures[0]
    assert (failure.layer, failure.help) == ("d", "pad 2 before it and nothing after")
    assert "adds 1 of the context of 1 after" in failure.why
    cut = causal_net("return self.c(F.pad(x, (5, 0)))", "        self.c = nn.Conv1d(1, 1, 7)\n")
    failure = judged(project, cut, "causal = true", input='"1x1x24"').judgements[0].failures[0]
    assert (failure.layer, failure.help) == ("c", "pad 1 more before it, and as much less behind")
