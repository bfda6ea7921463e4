#!/usr/bin/env python3
"""Whole training steps of gpt2_step.py's model on one GPU at PyTorch's fastest documented settings; prints one JSON line.

bf16 autocast, fused capturable AdamW, foreach clipping, static inputs, the whole step in a CUDA graph (torch.cuda.graphs); `--form sdpa` and
`--form compiled` run under torch.compile first. At least 200 replays between events, in five rounds; the median is told.
"""
import argparse
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import gpt2_step  # noqa: E402


class GraphedStep:
    def __init__(self, options):
        torch.manual_seed(1)
        torch.backends.cuda.matmul.allow_tf32 = True
        device = torch.device("cuda")
        self.model = gpt2_step.Gpt2(options).to(device)
        compiled = options.form in ("compiled", "sdpa") and not options.no_compile
        self.forward = torch.compile(self.model, mode="max-autotune-no-cudagraphs") if compiled else self.model
        decayed = [p for p in self.model.parameters() if p.dim() == 2]
        others = [p for p in self.model.parameters() if p.dim() != 2]
        self.optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                           lr=torch.tensor(1e-4, device=device), betas=(0.9, 0.95), fused=True, capturable=True)
        shape = (options.batch, options.context)
        self.tokens = torch.randint(0, options.vocabulary, shape, device=device)
        self.labels = torch.randint(0, options.vocabulary, shape, device=device)
        self.loss = self.entropies = None

    def eager(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            self.loss, self.entropies = self.forward(self.tokens, self.labels)
        self.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
        self.optimizer.step()

    def capture(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                self.eager()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.eager()
        return graph.replay


def time_rounds(run, steps):
    rounds = []
    for _ in range(5):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(max(1, steps // 5)):
            run()
        end.record()
        end.synchronize()
        rounds.append(begin.elapsed_time(end) / max(1, steps // 5))
    return sorted(rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", choices=("entropy", "compiled", "eager", "sdpa"), required=True)
    for name, value in (("context", 1024), ("batch", 8), ("layers", 12), ("heads", 12), ("width", 768), ("vocabulary", 50304), ("steps", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("gpt2_gpu_step: no CUDA device: not measured", file=sys.stderr)
        return 69
    step = GraphedStep(options)
    graphed = True
    try:
        run = step.capture()
    except RuntimeError as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        print(f"gpt2_gpu_step: not captured ({error}); eager steps are timed", file=sys.stderr)
        graphed, run = False, step.eager
    for _ in range(10):
        run()
    rounds = time_rounds(run, options.steps)
    print(json.dumps({"ms": rounds[2], "fastest_ms": rounds[0], "slowest_ms": rounds[-1], "graphed": graphed, "loss": step.loss.item(),
                      "peak_mib": torch.cuda.max_memory_allocated() / 2**20, "device": torch.cuda.get_device_name(),
                      "torch": torch.__version__}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
