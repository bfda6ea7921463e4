"""Combinations that have no stored numerical case: the probe in double precision against reference_gpt.py, number by number. The same
reference is held against the stored cases first.

    combinations_test.py BIN_DIR [--write FILE]    --write also renews docs/numerics.md
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

from torch_on_cpu import import_torch

torch = import_torch()
from safetensors.torch import load_file, save_file  # noqa: E402

from reference_gpt import expected, layer_configs, tensor_shapes  # noqa: E402

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"
STEPS = 3
OPTIMISER = {"lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0, "decay_rule": "hf"}
# Of the largest number of a tensor; both sides compute in double precision, in different orders.
SHARE = 1e-10
# The reference against the stored results, which are rounded to float32.
STORED_SHARE = 2e-7
RANDOM_CASES = 16


def small(**settings):
    model = {"vocab_size": 19, "n_positions": 13, "n_layer": 3, "n_head": 2, "n_embd": 12, "n_inner": 20, "reg_gamma": 0.05,
             "reg_lambda": 0.3}
    return model | settings


def norm_free(**settings):
    return small(norm="none", activation="identity", bias="qk", **{key: value for key, value in settings.items()})


def named_cases():
    """What the README of the fixtures wants to hold besides the stored cases, and the settings that those leave out."""
    cases = {}
    for activation in ("gelu", "gelu_new", "relu", "identity"):
        cases[f"ln_{activation}"] = small(activation=activation)
        cases[f"ln_{activation}_fused"] = small(activation=activation, ffn="fused", ffn_scale=True)
    for mode in ("fixed", "per_layer", "global"):
        cases[f"ln_leaky_{mode}"] = small(activation="leaky_relu", leaky_mode=mode, leaky_slope=0.2)
        cases[f"nf_leaky_{mode}"] = small(norm="none", bias="qk", activation="leaky_relu", leaky_mode=mode, leaky_slope=0.2)
    for norm in ("layernorm", "none"):
        for bias in ("all", "qk", "none"):
            for ffn in ("two", "fused"):
                cases[f"{norm}_bias_{bias}_{ffn}"] = small(norm=norm, bias=bias, ffn=ffn, activation="gelu")
    cases["no_final_norm"] = norm_free(final_norm=False)
    cases["no_final_norm_ln"] = small(final_norm=False)
    targets = {"q": ["q"], "k": ["k"], "v": ["v"], "o": ["o"], "ffn_in": ["ffn_in"], "ffn_out": ["ffn_out"], "qv": ["q", "v"], "qk_ffn": ["qk", "ffn"],
               "all": ["qkvo", "ffn"]}
    for kind in ("weight_norm", "spectral_norm"):
        for name, chosen in targets.items():
            cases[f"{kind}_{name}"] = norm_free(reparam=kind, reparam_targets=chosen)
        cases[f"{kind}_ln"] = small(reparam=kind, reparam_targets=["qkvo", "ffn"])
        cases[f"{kind}_fused"] = norm_free(reparam=kind, reparam_targets=["k", "ffn"], ffn="fused", ffn_scale=True)
    for form in ("mean", "mean_seq", "sum", "authors"):
        cases[f"reg_{form}"] = norm_free(reg=form)
        cases[f"reg_{form}_gamma_0"] = norm_free(reg=form, reg_gamma=0.0)
        cases[f"reg_{form}_fixed_theta"] = norm_free(reg=form, theta_learnable=False, temperature="divide")
        cases[f"reg_{form}_emax_64"] = norm_free(reg=form, emax_context=64, temperature="multiply")
        cases[f"reg_{form}_ln"] = small(reg=form, reg_eps=1e-6)
    cases["temperature_divide"] = norm_free(temperature="divide")
    cases["temperature_multiply"] = norm_free(temperature="multiply")
    cases["temperature_ln"] = small(temperature="divide")
    cases["scaled_fixed"] = norm_free(ffn_scale=True, ffn_scale_learnable=False)
    cases["scaled_ln"] = small(ffn_scale=True)
    cases["per_layer"] = small(reg="sum", layers={
        "0": {"norm": "none", "bias": "qk", "activation": "relu"},
        "1": {"ffn": "fused", "ffn_scale": True, "temperature": "multiply", "reparam": "weight_norm", "reparam_targets": ["q", "ffn_in"]},
        "2": {"activation": "leaky_relu", "leaky_mode": "per_layer", "reparam": "spectral_norm", "reparam_targets": ["v", "o", "ffn_out"]}})
    cases["per_layer_ranges"] = norm_free(layers={"0-1": {"ffn_scale": True}, "2": {"norm": "layernorm", "bias": "all", "activation": "gelu"}})
    cases["ignored_labels"] = small(activation="gelu_new") | {"ignored": True}
    cases["ignored_labels_reg"] = norm_free(reg="mean") | {"ignored": True}
    # Heads of an entropy around 0.01; scores beyond exp's range, whose rounding the gradient multiplies.
    cases["peaked_heads"] = norm_free(reg="mean") | {"query_factor": 3.0}
    cases["huge_scores"] = norm_free(reg="mean") | {"query_factor": 1e5, "share": 1e-6}
    cases["decay_linear"] = norm_free(reg="mean", temperature="divide", reparam="weight_norm", reparam_targets=["ffn"]) | {
        "optimiser": {"decay_rule": "linear", "weight_decay": 0.5}}
    cases["no_clipping"] = small(activation="gelu") | {"optimiser": {"clip": 0.0, "lr": 1e-2}}
    cases["one_token"] = norm_free(reg="mean") | {"context": 1}
    return cases


def random_case(seed):
    """Any settings together, layer by layer."""
    choose = random.Random(seed)

    def layer():
        settings = {
            "norm": choose.choice(["layernorm", "none"]), "bias": choose.choice(["all", "qk", "none"]), "ffn": choose.choice(["two", "two", "fused"]),
            "activation": choose.choice(["gelu", "gelu_new", "relu", "identity", "leaky_relu"]),
            "leaky_mode": choose.choice(["fixed", "per_layer", "global"]), "leaky_slope": 0.1, "ffn_scale": choose.random() < 0.5,
            "temperature": choose.choice(["none", "divide", "multiply"]), "reparam": choose.choice(["none", "weight_norm", "spectral_norm"])}
        linears = ["q", "k", "v", "o", "ffn_in"] + (["ffn_out"] if settings["ffn"] == "two" else [])
        settings["reparam_targets"] = choose.sample(linears, choose.randint(1, len(linears)))
        return settings

    model = small(**layer())
    model |= {"reg": choose.choice(["none", "mean", "mean_seq", "sum", "authors"]), "theta_learnable": choose.random() < 0.7,
              "final_norm": choose.random() < 0.8, "emax_context": choose.choice([0, 0, 50]), "layers": {str(choose.randrange(3)): layer()}}
    model["optimiser"] = {"decay_rule": choose.choice(["hf", "linear"])}
    return model


def values(name, shape, generator):
    """Random, away from where a parameter would be special: no gain is 1, no bias 0, no divisor small. Rounded to float32, as files hold them."""
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    if name.endswith((".weight_u", ".weight_v")):
        noise = noise / noise.norm(dim=-1, keepdim=True)
    elif name.endswith((".temperature", ".alpha", ".beta", ".weight_g")):
        noise = 1.0 + 0.3 * torch.tanh(noise)
    elif name.endswith("reg_threshold_weights"):
        noise = 0.5 + 0.15 * torch.tanh(noise)
    elif name.endswith(".slope") or name.endswith("lrelu_slope"):
        noise = 0.2 + 0.05 * noise
    elif ".ln_" in name and name.endswith(".weight"):
        noise = 1.0 + 0.2 * noise
    else:
        noise = (0.35 if name.endswith(".weight") else 0.1) * noise
    return noise.float()


def make_case(case, seed):
    model = {key: value for key, value in case.items() if key not in ("ignored", "query_factor", "optimiser", "context", "share")}
    generator = torch.Generator().manual_seed(seed)
    parameters, buffers = tensor_shapes(model)
    tensors = {name: values(name, shape, generator) for name, shape in (parameters | buffers).items()}
    for index, layer in enumerate(layer_configs(model)):
        if layer["bias"] == "qk":
            tensors[f"transformer.h.{index}.attn.c_attn.bias"][2 * model["n_embd"] :] = 0.0
        tensors[f"transformer.h.{index}.attn.c_attn.weight"][:, : model["n_embd"]] *= case.get("query_factor", 1.0)
    context = case.get("context", 11)
    tokens = torch.randint(0, model["vocab_size"], (3, context), generator=generator)
    labels = torch.randint(0, model["vocab_size"], (3, context), generator=generator)
    if case.get("ignored"):
        labels[0, :5] = labels[2] = -100
    return model, tensors, tokens, labels, OPTIMISER | case.get("optimiser", {})


def probe(binary, folder, float64, out_folder=None):
    out = (out_folder or folder) / "out.safetensors"
    done = subprocess.run([binary, "probe", "--config", folder / "config.json", "--weights", folder, "--tokens", folder / "tokens.safetensors",
                           "--out", out, "--gradients", "--steps", str(STEPS)] + (["--float64"] if float64 else []),
                          capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        raise AssertionError(f"{folder}: probe ended with {done.returncode}: {done.stderr}")
    return load_file(out)


def well_conditioned(name, tensor, width):
    """Without what rounding alone decides after a step of Adam: entries whose gradient is 0 by symmetry."""
    if name.startswith("after.") and name.endswith("c_attn.bias"):
        return torch.cat([tensor[:width], tensor[2 * width :]])
    if name.startswith("after.") and name.endswith("attn.temperature"):
        return tensor[:, 1:]
    return tensor


def compare(got, want, width):
    """(name, largest deviation, its share of the tensor's largest number), the largest share first."""
    rows = []
    for name, reference in want.items():
        if name not in got:
            raise AssertionError(f"the probe writes no {name}")
        reference = well_conditioned(name, reference.double().reshape(got[name].shape), width)
        ours = well_conditioned(name, got[name].double(), width)
        if not ours.isfinite().all():
            raise AssertionError(f"{name} is not finite")
        difference = (ours - reference).abs().max().item() if ours.numel() else 0.0
        scale = max(1e-3, reference.abs().max().item() if reference.numel() else 0.0)
        rows.append((name, difference, difference / scale))
    return sorted(rows, key=lambda row: -row[2])


def reference_against_the_stored_cases():
    failed = 0
    for folder in sorted(path.parent for path in FIXTURES.glob("*/expected.safetensors")):
        config = json.loads((folder / "config.json").read_text())
        batch = load_file(folder / "tokens.safetensors")
        got = expected(config["model"], load_file(folder / "model.safetensors"), batch["tokens"].long(), batch["labels"].long(), config["optimiser"], STEPS)
        stored = load_file(folder / "expected.safetensors")
        got = {name: value.reshape(stored[name].shape) for name, value in got.items() if name in stored}
        worst = compare(got, {name: stored[name] for name in got}, config["model"]["n_embd"])[0]
        missing = {name for name in stored if name not in got}
        good = worst[2] <= STORED_SHARE and not missing
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} reference against {folder.name:18} {worst[0]:45} {worst[1]:.1e}  {sorted(missing)[:3] if missing else ''}")
    return failed


def run_case(binary, case, seed):
    model, tensors, tokens, labels, optimiser = make_case(case, seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "config.json").write_text(json.dumps({"model": model, "optimiser": optimiser}))
        save_file(tensors, folder / "model.safetensors")
        save_file({"tokens": tokens.int(), "labels": labels.int()}, folder / "tokens.safetensors")
        want = expected(model, tensors, tokens, labels, optimiser, STEPS)
        rows = compare(probe(binary, folder, True), want, model["n_embd"])
    return rows, want["entropy_head"].min().item()


def main():
    binary = pathlib.Path(sys.argv[1]).resolve() / "entrain-trainer"
    document = pathlib.Path(sys.argv[3]) if sys.argv[2:3] == ["--write"] else None
    failed = reference_against_the_stored_cases()
    cases = named_cases() | {f"random_{seed}": random_case(seed) for seed in range(RANDOM_CASES)}
    rows = []
    for seed, (name, case) in enumerate(cases.items()):
        found, lowest = run_case(binary, case, seed)
        worst_name, worst, share = found[0]
        good = share <= case.get("share", SHARE)
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name:28} {len(found):3} tensors, worst {worst_name:45} {worst:.1e} ({share:.1e} of its largest), "
              f"lowest head entropy {lowest:.2e}", flush=True)
        rows.append((name, found, lowest))
    print(f"{len(cases)} combinations, {failed} failures")
    if document is not None:
        from numerics_document import write

        write(document, binary, rows, RANDOM_CASES)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
