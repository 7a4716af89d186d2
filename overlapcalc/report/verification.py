"""A Verification as tables, JSON and JUnit's XML."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from rich.console import Console, Group, RenderableType
from rich.text import Text

from ..planning.byte_size import bytes_text
from ..prove.result import NOT_APPLICABLE, PROVED, Proof, Verification
from .op_text import shape_text
from .tables import new_table

STYLES = {PROVED: "green", NOT_APPLICABLE: "yellow"}


def verification_json(verification: Verification) -> str:
    return json.dumps(verification.to_dict(), indent=2) + "\n"


def render_verification(verification: Verification, console: Console, *, note: str = "") -> None:
    """Print the proofs, what refutes them, and the figures."""
    plan = verification.plan
    inputs = ", ".join(f"{name} {shape_text(shape)}" for name, shape in plan.inputs.items())
    blocks = " x ".join(f"{strip.block} along {axis}" for axis, strip in plan.strips.items())
    head = f"{inputs} in {plan.count} blocks of {blocks}, schedule {plan.schedule}, on {verification.device}"
    notes = [str(text) for text in (note, plan.padding) if text]
    parts: list[RenderableType] = [Text("\n".join([head, *notes])), Text()]
    for proof in verification.proofs:
        parts += proof_lines(proof)
    parts += [Text(), *_figures(verification), Text()]
    parts += [Text(f"not reached: {place}", style="yellow") for place in verification.not_reached]
    parts.append(_verdict(verification))
    console.print(Group(*parts))


def proof_lines(proof: Proof) -> list[Text]:
    """What a proof came to, and what refutes it."""
    out = [_line(proof), *(Text(f"    {failure}", style="red") for failure in proof.failures[:MOST])]
    if len(proof.failures) > MOST:
        out.append(Text(f"    and {len(proof.failures) - MOST} more", style="red"))
    return out


MOST = 3


def _verdict(verification: Verification) -> Text:
    if not verification.proved:
        return Text("NOT proved", style="bold red")
    word = "proved: blocks give what the whole image gives"
    if verification.not_reached:
        return Text(f"{word}, where no branch decides that was not reached", style="bold yellow")
    return Text(word, style="bold green")


def _line(proof: Proof) -> Text:
    text = Text.assemble((f"{proof.status:<14}", STYLES.get(proof.status, "red")), f" {proof.name}: {proof.reason}")
    if proof.checks:
        text.append(f" ({proof.checks} checks)", style="dim")
    if proof.caveat:
        text.append(f", {proof.caveat}", style="yellow")
    return text


def _figures(verification: Verification) -> list[RenderableType]:
    if not verification.figures:
        return [Text("no figures: the blocks could not be run")]
    table = new_table("blocks against whole", *(f.dtype for f in verification.figures))
    rows = {
        "largest error": [f"{f.error:.2g}" for f in verification.figures],
        "largest difference in ulps": [f"{f.ulps:.3g}" for f in verification.figures],
        "bit-identical samples": [f"{f.identical:.2%}" for f in verification.figures],
        "memory held, whole": [bytes_text(f.full_bytes) for f in verification.figures],
        "memory held, blocks": [bytes_text(f.blocks_bytes) for f in verification.figures],
        "time, blocks over whole": [f"{f.blocks_seconds / f.full_seconds:.2f}" for f in verification.figures],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return [table]


def verification_junit(verification: Verification, *, spec: str = "") -> str:
    """One test case per proof; a proof that does not apply is skipped."""
    statuses = [proof.status for proof in verification.proofs]
    suite = ElementTree.Element(
        "testsuite",
        name="overlapcalc verify",
        tests=str(len(statuses)),
        failures=str(sum(s not in STYLES for s in statuses)),
        errors="0",
        skipped=str(statuses.count(NOT_APPLICABLE)),
    )
    for proof in verification.proofs:
        case = ElementTree.SubElement(suite, "testcase", classname=spec or "overlapcalc", name=proof.name)
        if proof.status == NOT_APPLICABLE:
            ElementTree.SubElement(case, "skipped", message=proof.reason)
        elif proof.status != PROVED:
            failure = ElementTree.SubElement(case, "failure", message=proof.failures[0])
            failure.text = "\n".join(proof.failures)
        elif proof.caveat:
            said = ElementTree.SubElement(case, "system-out")
            said.text = "\n".join([f"proved, {proof.caveat}", *map(str, verification.not_reached)])
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
