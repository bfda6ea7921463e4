"""Softmax attention that returns the entropy of every row's weights and back-propagates through it, at the cost of attention alone.

    from entrain_attention import entropy_attention
    out, entropy = entropy_attention(q, k, v)              # q, k, v: [batch, heads, tokens, head width]
    loss = task_loss(out) + 0.01 * (entropy - target).square().mean()
    loss.backward()                                        # gradients flow through out and entropy

The T x T weights are never held: memory is linear in the number of tokens. docs/kernel.md has the algorithm, its errors and its speed.
"""
import os
import pathlib

import torch

from . import _build

__all__ = ["entropy_attention", "library_path"]


def library_path():
    """The shared library behind the operator: $ENTRAIN_ATTENTION_LIBRARY, or the one installed with this package."""
    named = os.environ.get("ENTRAIN_ATTENTION_LIBRARY")
    if named:
        return pathlib.Path(named)
    # PREFIX/lib/entrain/python/entrain_attention/__init__.py
    return pathlib.Path(__file__).resolve().parents[3] / "libentrain_attention.so"


def _load():
    running = torch.__version__.split("+")[0]
    if running != _build.TORCH_VERSION:
        raise ImportError(f"entrain_attention was built for torch {_build.TORCH_VERSION}, and this is torch {running}: "
                          "C++ extensions work with the version that they were built for")
    path = library_path()
    if not path.exists():
        raise ImportError(f"entrain_attention: no library at {path}; set ENTRAIN_ATTENTION_LIBRARY to libentrain_attention.so")
    torch.ops.load_library(str(path))


_load()


def entropy_attention(q, k, v, *, temperature=None, causal=True, scale=None, deterministic=False):
    """softmax(scale q k^T / temperature) v and the Shannon entropy of every row's weights.

    q, k, v        [batch, heads, tokens, width], of one type: float32 or bfloat16 run on vector kernels (AVX-512, AVX2), float64, float16
                   and heads wider than 256 on stock operators, whose memory is quadratic in the tokens.
    temperature    divides the scores of query i of head h; anything that broadcasts to [batch, heads, tokens]. Differentiable.
    causal         query i looks at keys 0..i; else at all.
    scale          of the scores; 1 / sqrt(width) if None.
    deterministic  the backward pass gives the same bits every time. On the CPU it always does, with any number of threads.

    Returns (out, entropy): out like q; entropy [batch, heads, tokens] in nats, float32 for the reduced types, else q's type. Both carry
    gradients, and a row's entropy is exact to a few float32 roundings also where the row has collapsed to one key.
    """
    return torch.ops.entrain.entropy_attention(q, k, v, temperature, causal=causal, scale=scale, deterministic=deterministic)
