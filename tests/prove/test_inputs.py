"""What `verify` is given: types, tiles and devices that mean something or not, values that hide differences, nets that
write to their input."""

from __future__ import annotations

import pytest
import torch
from shared.blockwise import Fn
from shared.thorough import few
from torch import nn

import overlapcalc as oc

pytestmark = pytest.mark.usefixtures("traced_once")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "gpu"}, "no such device"),
        ({"device": "meta"}, "cpu and cuda"),
        ({"dtype": "int8"}, "floating type"),
        ({"tile": 1.5}, "before, after"),
        ({"tile": (1, 2, 3)}, "before, after"),
        ({"tile": (1,)}, "before, after"),
        ({"tile": {"Q": 1}}, "no axis 'Q'"),
    ],
)
def test_options_of_verify_that_mean_nothing_are_refused(options, said):
    with pytest.raises(oc.InputError, match=said):
        oc.verify(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 24, 24), **options)


def test_tiles_by_axis_and_types_by_name():
    assert oc.verify(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 24, 24), dtype="bfloat16", tile={"W": 1, "H": (1, 1)}).proved


def test_inputs_of_whole_numbers_are_proved():
    model = Fn(lambda s, x: s.c(s.e(x).permute(0, 3, 1, 2)), c=nn.Conv2d(4, 1, 3, padding=1), e=nn.Embedding(9, 4))
    v = oc.verify(model, torch.randint(9, (1, 40, 40)), layout="NHW")
    assert v.proved
    assert v["exact twin"].status != "refuted"
    assert not oc.verify(model, torch.randint(9, (1, 40, 40)), layout="NHW", tile=0).proved


@pytest.mark.parametrize("bad", few([lambda x: 0 * x.log(), lambda x: torch.where(x > 1, torch.inf, 0.0)], 1))
def test_a_value_that_is_not_finite_hides_no_difference(bad):
    """Outputs with NaN or infinity in them, on tiles without context; the twin has no complex numbers."""
    model = Fn(lambda s, x: torch.complex(s.c(x), x).abs() + bad(x), c=nn.Conv2d(1, 1, 3, padding=1))
    assert oc.verify(model, (1, 1, 40, 40), tile=0)["values"].status == "refuted"
    v = oc.verify(model, (1, 1, 40, 40))
    assert v["values"].status == "proved"
    assert v["poisoned borders"].status == "not applicable"


def test_a_net_that_writes_to_its_input_is_proved():
    assert oc.verify(Fn(lambda s, x: s.conv(x.mul_(2)), conv=nn.Conv2d(1, 1, 3, padding=1)), (1, 1, 40, 40)).proved
