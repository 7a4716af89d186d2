"""All proofs of passes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...engine.machine import Machine
from ...planning.plan import Plan
from ...stages import at_stage, noted
from ..against_whole import exact_twin, values
from ..kernel_settings import exact_kernels
from ..nets import Nets, measured
from ..result import Proof, Verification
from ..spread import unanswered
from .cover import cover
from .dependency import pass_dependency


def verify_passes(
    nets: Nets, plan: Plan, named: Mapping[str, Tensor], borders: Proof, own: torch.dtype | None, *, bit_exact: bool
) -> Verification:
    """The proofs of a plan of passes. borders: the proof of poisoned borders. own: the type of the figures."""
    with torch.no_grad(), exact_kernels():
        nets.check()
        spread = nets.spread(nets.inputs)
        machine = Machine(nets.wide, nets.variants, plan)
        at_stage("proving that every sample is counted once")
        proofs = [noted("proof", cover(machine, nets.inputs))]
        at_stage("proving what bands read")
        proofs += [noted("proof", pass_dependency(machine, nets.inputs)), borders]
        at_stage("proving with an exact twin")
        proofs.append(noted("proof", exact_twin(nets.wide, nets.variants, plan, named, nets.device)))
    at_stage("running passes and the whole")
    with torch.no_grad(), exact_kernels(cudnn=True):
        figures, precision, refused = measured(nets, own)
    proofs.append(noted("proof", values(figures, precision, bit_exact=bit_exact, refused=refused)))
    open_ends = unanswered(spread)
    proofs = [proof if proof.name == "exact twin" else proof.with_caveat(open_ends) for proof in proofs]
    return Verification(tuple(proofs), tuple(figures), plan, str(nets.device), torch.__version__, open_ends)
