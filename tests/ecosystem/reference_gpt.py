"""The models of tests/fixtures/README.md once more, in plain differentiable PyTorch and double precision: written from the definitions, to be read
beside them, and sharing nothing with the C++. Slow, and every step in the open."""
import math

import torch

GROUPS = {"qk": ["q", "k"], "qkv": ["q", "k", "v"], "qkvo": ["q", "k", "v", "o"], "ffn": ["ffn_in", "ffn_out"]}
DEFAULTS = {
    "n_inner": 0, "final_norm": True, "ln_eps": 1e-5, "reg": "none", "reg_lambda": 1e-5, "reg_gamma": 0.2, "theta_learnable": True,
    "reg_eps": 1e-9, "emax_context": 0, "layers": {}, "norm": "layernorm", "activation": "gelu", "leaky_mode": "fixed", "leaky_slope": 0.01,
    "bias": "all", "ffn": "two", "ffn_scale": False, "ffn_scale_learnable": True, "alpha_init": 1.0, "beta_init": 1.0, "reparam": "none",
    "reparam_targets": [], "temperature": "none", "temperature_init": 1.0, "theta_init": 0.5,
}


def layer_configs(model):
    """One dictionary of settings a layer, overrides ("3", "0-2") laid over the model's."""
    base = DEFAULTS | model
    layers = [dict(base) for _ in range(model["n_layer"])]
    for key, override in base["layers"].items():
        first, _, last = key.partition("-")
        for index in range(int(first), int(last or first) + 1):
            layers[index].update(override)
    for layer in layers:
        targets = set()
        for name in layer["reparam_targets"]:
            targets.update(GROUPS.get(name, [name]))
        if layer["ffn"] == "fused" and {"ffn_in", "ffn_out"} <= targets:
            targets.discard("ffn_out")
        layer["targets"] = targets if layer["reparam"] != "none" else set()
    return layers


def linears(layer, index):
    """(name, in, [(width, target)], has a bias) of a layer's linears."""
    d, inner = layer["n_embd"], layer["n_inner"] or 4 * layer["n_embd"]
    prefix, everywhere = f"transformer.h.{index}.", layer["bias"] == "all"
    yield prefix + "attn.c_attn", d, [(d, "q"), (d, "k"), (d, "v")], layer["bias"] != "none"
    yield prefix + "attn.c_proj", d, [(d, "o")], everywhere
    if layer["ffn"] == "two":
        yield prefix + "mlp.c_fc", d, [(inner, "ffn_in")], everywhere
        yield prefix + "mlp.c_proj", inner, [(d, "ffn_out")], everywhere
    else:
        yield prefix + "mlp.c_ffn", d, [(d, "ffn_in")], everywhere


def tensor_shapes(model):
    """Parameters and buffers by name, in two dictionaries."""
    base, parameters, buffers = DEFAULTS | model, {}, {}
    d, heads, positions = model["n_embd"], model["n_head"], model["n_positions"]
    parameters["transformer.wte.weight"] = (model["vocab_size"], d)
    parameters["transformer.wpe.weight"] = (positions, d)
    for index, layer in enumerate(layer_configs(model)):
        prefix = f"transformer.h.{index}."
        for name, width_in, blocks, bias in linears(layer, index):
            out = sum(width for width, _ in blocks)
            normalised = [width for width, target in blocks if target in layer["targets"]]
            parameters[name + ".weight"] = (width_in, out)
            if bias:
                parameters[name + ".bias"] = (out,)
            if normalised and layer["reparam"] == "weight_norm":
                parameters[name + ".weight_g"] = (sum(normalised),)
            if normalised and layer["reparam"] == "spectral_norm":
                buffers[name + ".weight_u"] = (len(normalised), normalised[0])
                buffers[name + ".weight_v"] = (len(normalised), width_in)
        if layer["norm"] == "layernorm":
            for norm in ("ln_1", "ln_2"):
                parameters[f"{prefix}{norm}.weight"] = parameters[f"{prefix}{norm}.bias"] = (d,)
        if layer["temperature"] != "none":
            parameters[prefix + "attn.temperature"] = (heads, positions)
        if base["reg"] != "none":
            (parameters if base["theta_learnable"] else buffers)[prefix + "attn.reg_threshold_weights"] = (heads,)
        if layer["ffn_scale"]:
            kind = parameters if layer["ffn_scale_learnable"] else buffers
            kind[prefix + "mlp.alpha"] = kind[prefix + "mlp.beta"] = (1,)
        leaky = layer["activation"] == "leaky_relu" and layer["ffn"] == "two"
        if leaky and layer["leaky_mode"] == "per_layer":
            parameters[prefix + "mlp.act.slope"] = (1,)
        if leaky and layer["leaky_mode"] == "global":
            parameters["transformer.lrelu_slope"] = (1,)
    if base["final_norm"]:
        parameters["transformer.ln_f.weight"] = parameters["transformer.ln_f.bias"] = (d,)
    return parameters, buffers


class ReferenceGpt:
    def __init__(self, model, tensors):
        """`tensors`: every parameter and buffer by name; copied to double precision."""
        self.model = DEFAULTS | model
        self.layers = layer_configs(model)
        names, buffer_names = tensor_shapes(model)
        self.parameters = {name: tensors[name].double().clone().requires_grad_(True) for name in names}
        self.buffers = {name: tensors[name].double().clone() for name in buffer_names}

    def _get(self, name):
        return self.parameters[name] if name in self.parameters else self.buffers[name]

    def _weight(self, layer, name, blocks, training):
        raw, columns, begin, gain_at, block_at = self.parameters[name + ".weight"], [], 0, 0, 0
        for width, target in blocks:
            w = raw[:, begin : begin + width]
            begin += width
            if target in layer["targets"] and layer["reparam"] == "weight_norm":
                g = self.parameters[name + ".weight_g"][gain_at : gain_at + width]
                w = torch.stack([g[o] * w[:, o] / torch.sqrt((w[:, o] ** 2).sum()) for o in range(width)], dim=1)
                gain_at += width
            elif target in layer["targets"]:
                u, v = self.buffers[name + ".weight_u"], self.buffers[name + ".weight_v"]
                if training:
                    with torch.no_grad():
                        u[block_at] = torch.nn.functional.normalize(w.T @ v[block_at], dim=0, eps=1e-12)
                        v[block_at] = torch.nn.functional.normalize(w @ u[block_at], dim=0, eps=1e-12)
                sigma = v[block_at].clone() @ w @ u[block_at].clone()
                w = w / sigma
                block_at += 1
            columns.append(w)
        return torch.cat(columns, dim=1)

    def _linear(self, layer, index, suffix, x, training):
        for name, _, blocks, bias in linears(layer, index):
            if not name.endswith(suffix):
                continue
            y = x @ self._weight(layer, name, blocks, training)
            if bias:
                b = self.parameters[name + ".bias"]
                if suffix == "attn.c_attn" and layer["bias"] == "qk":
                    d = layer["n_embd"]
                    b = torch.cat([b[: 2 * d], torch.zeros(d, dtype=b.dtype)])
                y = y + b
            return y
        raise KeyError(suffix)

    def _norm(self, name, x):
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return (x - mean) / torch.sqrt(variance + self.model["ln_eps"]) * self.parameters[name + ".weight"] + self.parameters[name + ".bias"]

    def _activation(self, layer, index, x):
        kind = layer["activation"]
        if kind == "gelu":
            return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
        if kind == "gelu_new":
            return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        if kind == "relu":
            return torch.where(x > 0, x, torch.zeros_like(x))
        if kind == "identity":
            return x
        slope = {"fixed": lambda: layer["leaky_slope"], "per_layer": lambda: self.parameters[f"transformer.h.{index}.mlp.act.slope"],
                 "global": lambda: self.parameters["transformer.lrelu_slope"]}[layer["leaky_mode"]]()
        return torch.where(x >= 0, x, slope * x)

    def _attention(self, layer, index, x, training, trace):
        batch, tokens, d = x.shape
        heads, width = layer["n_head"], d // layer["n_head"]
        q, k, v = self._linear(layer, index, "attn.c_attn", x, training).split(d, dim=2)
        q, k, v = (part.view(batch, tokens, heads, width).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(2, 3) / math.sqrt(width)
        if layer["temperature"] != "none":
            t = self.parameters[f"transformer.h.{index}.attn.temperature"][:, :tokens].view(1, heads, tokens, 1)
            scores = scores / t if layer["temperature"] == "divide" else scores * t
        causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
        trace["max_abs_score"].append(scores.detach().abs()[..., causal].max())
        shifted = (scores - scores.masked_fill(~causal, -math.inf).amax(-1, keepdim=True).detach()).masked_fill(~causal, 0.0)
        weights = torch.where(causal, shifted.exp(), torch.zeros_like(shifted))
        total = weights.sum(-1, keepdim=True)
        a = weights / total
        trace["entropy"].append(total.log().squeeze(-1) - (a * shifted).sum(-1))
        trace["entropy_eps"].append(-(a * (a + self.model["reg_eps"]).log()).sum(-1))
        joined = (a @ v).transpose(1, 2).reshape(batch, tokens, d)
        return self._linear(layer, index, "attn.c_proj", joined, training)

    def _layer(self, layer, index, x, training, trace):
        prefix = f"transformer.h.{index}."
        normed = layer["norm"] == "layernorm"
        x = x + self._attention(layer, index, self._norm(prefix + "ln_1", x) if normed else x, training, trace)
        h = self._norm(prefix + "ln_2", x) if normed else x
        if layer["ffn"] == "two":
            f = self._linear(layer, index, "mlp.c_proj", self._activation(layer, index, self._linear(layer, index, "mlp.c_fc", h, training)), training)
        else:
            f = self._linear(layer, index, "mlp.c_ffn", h, training)
        if not layer["ffn_scale"]:
            return x + f
        return self._get(prefix + "mlp.beta") * x + f / self._get(prefix + "mlp.alpha")

    def forward(self, tokens, labels, training=True):
        batch, count = tokens.shape
        trace = {"entropy": [], "entropy_eps": [], "max_abs_score": []}
        x = self.parameters["transformer.wte.weight"][tokens] + self.parameters["transformer.wpe.weight"][:count]
        for index, layer in enumerate(self.layers):
            x = self._layer(layer, index, x, training, trace)
        if self.model["final_norm"]:
            x = self._norm("transformer.ln_f", x)
        out = {"logits": x @ self.parameters["transformer.wte.weight"].T}
        out["entropy"], entropy_eps = torch.stack(trace["entropy"]), torch.stack(trace["entropy_eps"])
        out["entropy_head"] = out["entropy"].mean((1, 3))
        out["entropy_query"] = out["entropy"].mean(1)
        out["entropy_eps_head"] = entropy_eps.mean((1, 3))
        out["max_abs_score"] = torch.stack(trace["max_abs_score"])
        counted = labels != -100
        log_p = out["logits"] - out["logits"].logsumexp(-1, keepdim=True)
        out["ce"] = -log_p.gather(-1, labels.clamp_min(0).unsqueeze(-1)).squeeze(-1)[counted].mean()
        self._regularisers(out, entropy_eps, count)
        out["total"] = out["ce"]
        if self.model["reg"] != "none":
            out["total"] = out["ce"] + self.model["reg_lambda"] * out["reg_" + self.model["reg"]]
        return out

    def _regularisers(self, out, entropy_eps, context):
        layers, heads = len(self.layers), self.model["n_head"]
        emax, gamma = math.log(self.model["emax_context"] or context), self.model["reg_gamma"]
        if self.model["reg"] == "none":
            theta = torch.tensor([[layer["theta_init"]] * heads for layer in self.layers], dtype=torch.float64)
        else:
            theta = torch.stack([self._get(f"transformer.h.{i}.attn.reg_threshold_weights") for i in range(layers)])

        def penalty(entropy, threshold):
            delta = entropy - threshold * emax
            return torch.where(delta.abs() > gamma * emax, delta**2, torch.zeros_like(delta))

        out["reg_mean"] = penalty(out["entropy_head"], theta).mean(1).mean()
        out["reg_mean_seq"] = penalty(out["entropy"].mean(3), theta.unsqueeze(1)).mean(1).mean(1).mean()
        each = penalty(entropy_eps, theta.view(layers, 1, heads, 1))
        out["reg_sum"] = each.sum((1, 3)).sum(1).div(heads).sum() / layers
        first = penalty(entropy_eps, theta[:1].expand(layers, heads).reshape(layers, 1, heads, 1))
        out["reg_authors"] = first.sum((1, 3)).sum(1).div(heads).sum() / layers

    def decays(self, name, rule):
        norm_gain = name.endswith((".ln_1.weight", ".ln_2.weight", ".ln_f.weight"))
        if rule == "linear":
            return name.endswith(".weight") and not norm_gain
        return not name.endswith(".bias") and not norm_gain

    def steps(self, tokens, labels, optimiser, count):
        """AdamW on the same batch: the total before every step and after the last, the norms before clipping, the buffers after the steps."""
        totals, norms = [], []
        moments = {name: [torch.zeros_like(p), torch.zeros_like(p)] for name, p in self.parameters.items()}
        beta1, beta2 = optimiser["betas"]
        for step in range(1, count + 1):
            total = self.forward(tokens, labels)["total"]
            gradients = torch.autograd.grad(total, list(self.parameters.values()), allow_unused=True)
            totals.append(total.item())
            gradients = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, self.parameters.values())]
            norm = math.sqrt(sum((g**2).sum().item() for g in gradients))
            norms.append(norm)
            clip = min(1.0, optimiser["clip"] / (norm + 1e-6)) if optimiser["clip"] else 1.0
            with torch.no_grad():
                for (name, p), g in zip(self.parameters.items(), gradients):
                    g = g * clip
                    if self.decays(name, optimiser["decay_rule"]):
                        p *= 1 - optimiser["lr"] * optimiser["weight_decay"]
                    m, v = moments[name]
                    m.mul_(beta1).add_((1 - beta1) * g)
                    v.mul_(beta2).add_((1 - beta2) * g**2)
                    p -= optimiser["lr"] * (m / (1 - beta1**step)) / (torch.sqrt(v / (1 - beta2**step)) + optimiser["eps"])
        # One more forward gives the last total; it iterates spectral norm, which is not part of the steps.
        buffers = {name: value.clone() for name, value in self.buffers.items()}
        totals.append(self.forward(tokens, labels)["total"].item())
        return torch.tensor(totals, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64), buffers


def expected(model, tensors, tokens, labels, optimiser, steps):
    """Everything that tests/fixtures/README.md lists, by its names."""
    result = {}
    gpt = ReferenceGpt(model, tensors)
    if any(name.endswith(".weight_u") for name in gpt.buffers):
        with torch.no_grad():
            result["eval_logits"] = gpt.forward(tokens, labels, training=False)["logits"]
    out = gpt.forward(tokens, labels)
    names = list(gpt.parameters)
    gradients = torch.autograd.grad(out["total"], list(gpt.parameters.values()), allow_unused=True)
    for name, gradient, parameter in zip(names, gradients, gpt.parameters.values()):
        result["grad." + name] = torch.zeros_like(parameter) if gradient is None else gradient
    result.update({name: value.detach() for name, value in out.items()})
    result.update({"buf_after_forward." + name: value.clone() for name, value in gpt.buffers.items()})
    gpt = ReferenceGpt(model, tensors)
    result["step_total"], result["grad_norm"], buffers = gpt.steps(tokens, labels, optimiser, steps)
    result.update({"buf_after." + name: value for name, value in buffers.items()})
    result.update({"after." + name: value.detach() for name, value in gpt.parameters.items()})
    return result
