"""docs/numerics.md: how far the program's numbers are from those of independent implementations. Written by combinations_test.py --write."""
import json
import tempfile
import pathlib

from safetensors.torch import load_file

GROUPS = [
    ("logits", ("logits", "eval_logits")), ("loss", ("ce", "total", "step_total")), ("entropies", ("entropy",)), ("regulariser", ("reg_",)),
    ("largest score", ("max_abs_score",)), ("gradients", ("grad.", "grad_norm")), ("after 3 steps", ("after.",)), ("spectral vectors", ("buf_",)),
]

HEAD = """# Numerical exactness

An implementation is right when an independent one gives the same numbers. Three hold this one:

1. **Stored cases.** `tests/fixtures` has 16 small models with inputs and results, made in double precision by an independent PyTorch
   implementation; its README defines every tensor. `parity_test` compares all of them in float32 (within ten times the noise that a float32 run of
   that implementation has, stored with each case) and in double precision (within the rounding of the stored results).
2. **A second reference.** `tests/ecosystem/reference_gpt.py` is the same definitions in plain PyTorch, written to be read. It is held against the stored
   cases, then against this program in double precision over {combinations} further combinations (below), among them {random} of settings drawn at random, with
   gradients of every parameter and the state after three AdamW steps.
3. **transformers.** `tests/ecosystem/transformers_test.py` loads our checkpoints into Hugging Face's GPT-2 and theirs into the probe; see
   [checkpoints.md](checkpoints.md).

Beside them `model_test` checks gradients by finite differences and identities that need no reference. The tables are written by
`tests/ecosystem/combinations_test.py BIN_DIR --write docs/numerics.md`; deviations are the largest absolute ones of any entry. Left out after optimiser steps, as the README of
the cases says: the key third of `c_attn.bias` and the temperature of the first query, whose gradients are zero by symmetry, so that Adam
turns rounding into steps.

"""


def group_of(name):
    for title, prefixes in GROUPS:
        if name.startswith(prefixes):
            return title
    return None


def worst_of_groups(rows):
    worst = {}
    for name, difference, _ in rows:
        title = group_of(name)
        if title is not None and difference >= worst.get(title, (-1.0, ""))[0]:
            worst[title] = (difference, name)
    return worst


def table(lines, cases):
    titles = [title for title, _ in GROUPS]
    lines.append("| case | " + " | ".join(titles) + " | tensors |\n")
    lines.append("|---|" + "---|" * (len(titles) + 1) + "\n")
    for name, rows in cases:
        worst = worst_of_groups(rows)
        cells = [f"{worst[title][0]:.1e}" if title in worst else "" for title in titles]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {len(rows)} |\n")


def write(document, binary, combinations, random_count):
    from combinations_test import FIXTURES, compare, probe

    fixtures = {True: [], False: []}
    each = []
    for folder in sorted(path.parent for path in FIXTURES.glob("*/expected.safetensors")):
        width = json.loads((folder / "config.json").read_text())["model"]["n_embd"]
        stored = load_file(folder / "expected.safetensors")
        floors = json.loads((folder / "scalars.json").read_text())["fp32_floor"]
        for float64 in (False, True):
            with tempfile.TemporaryDirectory() as temporary:
                rows = compare(probe(binary, folder, float64, pathlib.Path(temporary)), stored, width)
            fixtures[float64].append((folder.name, rows))
            if not float64:
                for title, (difference, name) in worst_of_groups(rows).items():
                    each.append((folder.name, title, name, difference, floors.get(name)))
    lines = [HEAD.format(combinations=len(combinations), random=random_count)]
    lines.append("## Stored cases, float32\n\n")
    table(lines, fixtures[False])
    lines.append("\n## Stored cases, double precision\n\nThe stored results are rounded to float32: a deviation of half a unit of their last place is theirs.\n\n")
    table(lines, fixtures[True])
    lines.append("\n## Further combinations, double precision, against the second reference\n\n")
    table(lines, [(name, rows) for name, rows, _ in combinations])
    lines.append("\n## The tensors behind the first table\n\nFor each stored case and kind the tensor that deviates most in float32, and the noise that the independent implementation's own "
                 "float32 run has there.\n\n| case | kind | tensor | deviation | its own noise |\n|---|---|---|---|---|\n")
    for case, title, name, difference, floor in each:
        lines.append(f"| {case} | {title} | `{name}` | {difference:.1e} | {'' if floor is None else f'{floor:.1e}'} |\n")
    document.write_text("".join(lines))
    print(f"wrote {document}")
