"""The configuration: what is read, and how every mistake is refused."""

from __future__ import annotations

import pytest
from shared.guarded import CHAIN, HEAD, Project, entry

import overlapcalc as oc
from overlapcalc.guard.config import find_config, read_config
from overlapcalc.planning.options import Blocking

WRONG = [  # a line of the entry, the key that is named, what is said to be allowed
    ("max_tile = 3", "models.net.max_tile", "did you mean max-tile?"),
    ("frob = 3", "models.net.frob", "allowed: name, spec, kwargs"),
    ("max-tile = '3'", "models.net.max-tile", "a whole number for every side and axis"),
    ("max-tile = 3.0", "models.net.max-tile", "a whole number"),
    ("max-tile = true", "models.net.max-tile", "a whole number"),
    ("max-tile = {}", "models.net.max-tile", "or a table such as"),
    ("max-tile = {X = 3}", "models.net.max-tile", "or a table such as"),
    ("max-tile = {W = 3, before = 2}", "models.net.max-tile", "or a table such as"),
    ("max-context = {W = {left = 3}}", "models.net.max-context", "before"),
    ("max-receptive-field = {W = {before = 3}}", "models.net.max-receptive-field", "a field has no sides"),
    ("max-receptive-field = -1", "models.net.max-receptive-field", "a whole number"),
    ("step = 0", "models.net.step", "at least 1"),
    ("scale = 0.0625", "models.net.scale", "1/16"),
    ("scale = '1/0'", "models.net.scale", "1/16"),
    ("scale = '-2'", "models.net.scale", "1/16"),
    ("blocking-free = false", "models.net.blocking-free", "expected true"),
    ("blocking-free = 1", "models.net.blocking-free", "expected true"),
    ("causal = false", "models.net.causal", "list of axes"),
    ("causal = []", "models.net.causal", "list of axes"),
    ("causal = ['X']", "models.net.causal", "list of axes"),
    ("verify = true", "models.net.verify", '"cpu" or "cuda"'),
    ("max-memory = '2GiB'", "models.net.max-memory", 'add image = "3840x2160"'),
    ("max-memory = 'much'\nimage = '8x8'", "models.net.max-memory", "2GiB"),
    ("max-macs-ratio = 0.5\nimage = '8x8'", "models.net.max-macs-ratio", "at least 1"),
    ("max-macs-ratio = inf\nimage = '8x8'", "models.net.max-macs-ratio", "at least 1"),
    ("max-macs-ratio = nan\nimage = '8x8'", "models.net.max-macs-ratio", "at least 1"),
    ("image = '8x8'", "models.net.image", "none is claimed"),
    ("max-memory = 9\nimage = '8by8'", "models.net.image", "3840x2160"),
    ("max-memory = 9\nimage = '8x8'\nblock = 0", "models.net.block", "at least 1"),
    ("max-memory = 9\nimage = '8x8'\nschedule = 'tile'", "models.net.schedule", '"crop"'),
    ("kwargs = 3", "models.net.kwargs", "a table"),
    ("axes = 'Q'", "models.net.axes", "D, H, W, L"),
    ("layout = 3", "models.net.layout", "NHWC"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "key", "allowed"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_key_or_value_is_refused_with_file_key_and_what_is_allowed(project: Project, line, key, allowed):
    file = project.configure(entry(more=line))
    with pytest.raises(oc.InputError) as refused:
        read_config(file)
    said = str(refused.value)
    assert str(file) in said
    assert key in said
    assert allowed in said


@pytest.mark.parametrize("wrong", ["'1x3x'", "3", "[0, 3]", "[]", "'1x3x0'", "[true, 3]", "[[1, 3, 8], 3]"])
def test_a_wrong_input_is_refused(project: Project, wrong):
    text = entry().replace('input = "1x1x32x32"', f"input = {wrong}")
    with pytest.raises(oc.InputError, match=r"models\.net\.input: .*1x3x256x256"):
        read_config(project.configure(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no .tool.overlapcalc. table"),
        ("[tool.overlapcalc]\n", "expected one table"),
        ("[tool]\noverlapcalc = 3\n", "expected one table"),
        ("[tool.overlapcalc]\nmodels = 3\n", "expected one table"),
        ("[tool.overlapcalc]\nmodels = []\n", "expected one table"),
        ("[tool.overlapcalc]\nmodel = []\n", "did you mean models"),
        ("tool = 3\n", "no .tool.overlapcalc. table"),
        ("[tool.overlapcalc\n", "not TOML"),
        ("[[tool.overlapcalc.models]]\nspec = 'a.py:B'\n", r"models\[0\]\.name: it is missing"),
        ("[[tool.overlapcalc.models]]\nname = 'a'\n", r"models\.a\.spec: it is missing"),
        ("[[tool.overlapcalc.models]]\nname = ''\nspec = 'a.py:B'\n", r"models\[0\]\.name: '' .* a text, not empty"),
        ("[[tool.overlapcalc.models]]\nname = 'a'\nspec = 'b\tc'\n", r"models\.a\.spec: 'b"),
        (
            '[[tool.overlapcalc.models]]\nname = "a\\nb"\nspec = "a.py:B"\n',
            r"models\[0\]\.name: 'a\\nb' .* in one line$",
        ),
        (entry() * 2, "two models are called 'net'"),
    ],
)
def test_a_wrong_file_is_refused(project: Project, text, said):
    with pytest.raises(oc.InputError, match=said):
        read_config(project.configure(text))


def test_all_mistakes_are_said_at_once(project: Project):
    file = project.configure(entry(more="max_tile = 3\nstep = 0"), entry("other", more="verify = 1"))
    with pytest.raises(oc.InputError) as refused:
        read_config(file)
    assert len(str(refused.value).splitlines()) == 3


def test_what_is_read(project: Project):
    more = 'kwargs = {k = 7}\naxes = "W"\nimage = [8, 6]\nblock = {W = 4}\nschedule = "trim"\nmax-memory = "1KiB"\nstep = 2'
    model = read_config(project.configure("# one line\n", entry(more=more))).models[0]
    assert (model.name, model.spec, model.kwargs, model.line) == ("net", "net.py:Net", {"k": 7}, 2)
    assert model.inputs == ((1, 1, 32, 32),)
    assert model.axes == ("W",)
    assert (model.setting.image, model.setting.blocking) == ((8, 6), Blocking(block={"W": 4}, schedule="trim"))
    assert [claim.key for claim in model.claims] == ["max-memory", "step"]


@pytest.mark.parametrize("written", ['["1x2x8", "1x3x8"]', "[[1, 2, 8], [1, 3, 8]]", '[[1, 2, 8], "1x3x8"]'])
def test_several_inputs(project: Project, written):
    text = entry().replace('"1x1x32x32"', written)
    assert read_config(project.configure(text)).models[0].inputs == ((1, 2, 8), (1, 3, 8))


def test_the_nearest_configuration_upward_that_speaks_of_models(project: Project):
    file = project.configure(entry())
    project.write("a/pyproject.toml", "[tool.other]\n")
    inner = project.write("a/b/x.py", "").parent
    assert find_config(inner) == file
    with pytest.raises(oc.InputError, match=r"name another file: config='models.toml'"):
        find_config(project.root.parent)


def test_a_file_of_an_editor_of_windows_is_read(project: Project):
    text = entry().replace("\n", "\r\n").encode()
    file = project.configure()
    file.write_bytes(b"\xef\xbb\xbf" + text)
    assert [(model.name, model.line) for model in read_config(file).models] == [("net", 1)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Net(nn.Module):\n    def forward(self, x, y):\n        return x\n", 'such as input = ["1x3x256x256", "1x3x256x256"]'),
        ("class Net(nn.Module):\n    def forward(self, x):\n        return x\n", 'give it with input = "1x3x256x256"'),
        ("def Net(N, M=2):\n    return nn.Conv2d(N, M, 3)\n", "give them with kwargs = {N = ...}"),
    ],
)  # fmt: skip
def test_the_way_out_is_said_in_keys(project: Project, source, said):
    project.write("net.py", HEAD + source)
    error = oc.check(project.configure(entry().replace('input = "1x1x32x32"\n', "")), keep=False)["net"].error
    assert said in error
    assert "--input" not in error
    assert "--kwargs" not in error


def test_an_unknown_model_is_refused_with_those_there_are(project: Project):
    project.write("net.py", CHAIN)
    project.configure(entry())
    said = project.check("--model", "nett")
    assert said.code == 2
    assert "no model 'nett' (did you mean net?); it has net" in said.err


def test_a_model_that_is_not_there_is_said_with_file_and_key(project: Project):
    project.configure(entry(spec="nothing.py:Net"), entry("other", spec="nomodule.here:Net"))
    said = project.check("--debug")
    assert said.code == 2
    assert "Traceback" in said.err
    flat = " ".join(said.out.split())  # lines break where the directory's name ends
    for words in (
        "pyproject.toml",
        "models.net.spec",
        "models.other.spec",
        "is no file nothing.py",
        "no module 'nomodule'",
    ):
        assert words in flat
