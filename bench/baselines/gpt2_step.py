#!/usr/bin/env python3
"""Training steps of our SM+LN+G model in Python's PyTorch, served on command (bench/servers.py).

    gpt2_step.py --form FORM [--context T] [--batch B] [--layers L] [--heads H] [--width C] [--vocabulary V] [--threads N] [--device D] [--precision P]

FORM says how attention is computed, forward and backward:
    entropy   probabilities materialised, the entropy of every head, and the regulariser, as the paper's authors compute them
    compiled  the same under torch.compile
    eager     probabilities materialised, no entropy
    sdpa      torch.nn.functional.scaled_dot_product_attention, no entropy

The model is GPT-2 with pre-LN blocks, exact GELU and tied output matrix; fused AdamW with clipping at 1, as our trainer has it. Deterministic
algorithms are not asked of it: it runs at its fastest.
"""
import argparse
import json
import math
import os
import pathlib
import resource
import sys
import time

# As our trainer does.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "ecosystem"))
try:
    import torch
except ImportError:
    # What the attempt left would hide its own submodules from the next one.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        del sys.modules[name]
    from torch_on_cpu import import_torch

    torch = import_torch()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
import torch.nn.functional as F  # noqa: E402

REG_LAMBDA, REG_GAMMA, EPS = 1e-5, 0.2, 1e-9


class Attention(torch.nn.Module):
    def __init__(self, width, heads, context, form):
        super().__init__()
        self.heads, self.form = heads, form
        self.c_attn, self.c_proj = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.threshold = torch.nn.Parameter(torch.full((heads,), 0.5)) if form in ("entropy", "compiled") else None
        mask = torch.triu(torch.ones(context, context, dtype=torch.bool), 1)
        self.register_buffer("mask", mask if form != "sdpa" else None)

    def forward(self, x):
        batch, context, width = x.shape
        q, k, v = (part.view(batch, context, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(width, 2))
        entropy = None
        if self.form == "sdpa":
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(2, 3)) / math.sqrt(width // self.heads)
            weights = scores.masked_fill(self.mask, float("-inf")).softmax(-1)
            if self.form != "eager":
                entropy = -(weights * (weights + EPS).log()).sum(-1)
            out = weights @ v
        return self.c_proj(out.transpose(1, 2).reshape(batch, context, width)), entropy


class Block(torch.nn.Module):
    def __init__(self, width, heads, context, form):
        super().__init__()
        self.ln_1, self.ln_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.attention = Attention(width, heads, context, form)
        self.c_fc, self.c_proj = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        attended, entropy = self.attention(self.ln_1(x))
        x = x + attended
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x)))), entropy


class Gpt2(torch.nn.Module):
    def __init__(self, options):
        super().__init__()
        self.options = options
        self.wte = torch.nn.Embedding(options.vocabulary, options.width)
        self.wpe = torch.nn.Embedding(options.context, options.width)
        self.blocks = torch.nn.ModuleList(
            Block(options.width, options.heads, options.context, options.form) for _ in range(options.layers))
        self.ln_f = torch.nn.LayerNorm(options.width)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=0.02)

    def regulariser(self, entropies, context):
        """The authors': summed over batch and queries, zero within the band, divided by heads and layers."""
        largest, total = math.log(context), 0.0
        for block, entropy in zip(self.blocks, entropies):
            deviation = entropy - (block.attention.threshold * largest).view(1, -1, 1)
            total = total + (deviation.square() * (deviation.abs() > REG_GAMMA * largest)).sum() / self.options.heads
        return total / self.options.layers

    def forward(self, tokens, labels):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        entropies = []
        for block in self.blocks:
            x, entropy = block(x)
            entropies.append(entropy)
        loss = F.cross_entropy(F.linear(self.ln_f(x), self.wte.weight).flatten(0, 1).float(), labels.flatten())
        if entropies[0] is None:
            return loss, None
        # Every head's entropy is reported at every step, as a monitored run does.
        means = torch.stack([entropy.detach().mean((0, 2)) for entropy in entropies])
        return loss + REG_LAMBDA * self.regulariser(entropies, tokens.shape[1]), means


class Server:
    def __init__(self, options):
        torch.manual_seed(1)
        if options.threads:
            torch.set_num_threads(options.threads)
        self.options = options
        self.device = torch.device(options.device)
        self.model = Gpt2(options).to(self.device)
        self.forward = torch.compile(self.model) if options.form == "compiled" else self.model
        decayed = [p for p in self.model.parameters() if p.dim() == 2]
        others = [p for p in self.model.parameters() if p.dim() != 2]
        self.optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                           lr=1e-3, betas=(0.9, 0.95), fused=True)
        generator = torch.Generator().manual_seed(2)
        shape = (options.batch, options.context)
        self.tokens = torch.randint(0, options.vocabulary, shape, generator=generator).to(self.device)
        self.labels = torch.randint(0, options.vocabulary, shape, generator=generator).to(self.device)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        reduced = self.options.precision != "fp32"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=reduced):
            loss, entropies = self.forward(self.tokens, self.labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        if entropies is not None:
            entropies = entropies.cpu()
        return loss.item()

    def profile(self, steps):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            for _ in range(steps):
                self.step()
        rows = sorted(profiler.key_averages(), key=lambda row: -row.self_cpu_time_total)
        total = sum(row.self_cpu_time_total for row in rows)
        return [[row.key, row.self_cpu_time_total / total, row.count / steps] for row in rows[:40]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=("entropy", "compiled", "eager", "sdpa"), required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    for name, value in (("context", 128), ("batch", 16), ("layers", 6), ("heads", 6), ("width", 192), ("vocabulary", 4096), ("threads", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    server = Server(parser.parse_args())
    parameters = sum(p.numel() for p in server.model.parameters())
    print(json.dumps({"ready": True, "torch": torch.__version__, "threads": torch.get_num_threads(), "parameters": parameters}), flush=True)
    for line in sys.stdin:
        command, _, count = line.strip().partition(" ")
        if command == "profile":
            print(json.dumps(server.profile(int(count or 3))), flush=True)
            continue
        cpu, wall = time.process_time(), time.monotonic()
        for _ in range(int(count or 1)):
            loss = server.step()
        print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall, "loss": loss,
                          "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), flush=True)


if __name__ == "__main__":
    main()
