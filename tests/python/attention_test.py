#!/usr/bin/env python3
"""entrain_attention from Python: values and gradients against plain PyTorch, gradcheck, opcheck, torch.compile.

    attention_test.py PACKAGE_ROOT LIBRARY
"""
import math
import os
import pathlib
import sys
import unittest

PACKAGE_ROOT, os.environ["ENTRAIN_ATTENTION_LIBRARY"] = sys.argv[1:3]
sys.path.insert(0, PACKAGE_ROOT)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "ecosystem"))
from torch_on_cpu import import_torch  # noqa: E402

torch = import_torch()
from entrain_attention import entropy_attention  # noqa: E402

torch.set_num_threads(1)


def inputs(shape, dtype, seed=0, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(count)]


def plain(q, k, v, temperature=None, causal=True, scale=None):
    """The same mathematics with the weights held."""
    scores = q @ k.transpose(-1, -2) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if temperature is not None:
        scores = scores / temperature.unsqueeze(-1)
    mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1) if causal else torch.zeros(1, 1, dtype=torch.bool)
    log_p = scores.masked_fill(mask, -1e300 if q.dtype == torch.float64 else -1e30).log_softmax(-1)
    p = log_p.exp()
    return p @ v, -(p * log_p.masked_fill(mask, 0.0)).sum(-1)


def gradients(function, tensors, **options):
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    temperature = options.pop("temperature", None)
    if temperature is not None:
        temperature = temperature.detach().clone().requires_grad_()
        leaves.append(temperature)
        options["temperature"] = temperature
    out, entropy = function(*leaves[:3], **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    ((out * weight).sum() + (entropy * torch.linspace(-1, 2, entropy.numel(), dtype=entropy.dtype).view_as(entropy)).sum()).backward()
    return [out.detach(), entropy.detach()] + [x.grad for x in leaves]


class Attention(unittest.TestCase):
    def expect_near(self, got, expected, share):
        for index, (a, b) in enumerate(zip(got, expected)):
            largest = max(1.0, b.abs().max().item())
            deviation = (a.double() - b.double()).abs().max().item()
            self.assertLessEqual(deviation, share * largest, f"result {index}, largest {largest}")

    def test_values_and_gradients(self):
        for shape in [(2, 3, 1, 16), (1, 2, 37, 20), (2, 2, 130, 32), (1, 1, 97, 64)]:
            for options in [{}, {"causal": False}, {"scale": 0.7}]:
                q, k, v = inputs(shape, torch.float32)
                expected = gradients(plain, [x.double() for x in (q, k, v)], **options)
                self.expect_near(gradients(entropy_attention, (q, k, v), **options), expected, 2e-5)

    def test_temperature(self):
        q, k, v = inputs((2, 3, 33, 16), torch.float32)
        temperature = torch.linspace(0.5, 2.0, 3 * 33).view(3, 33)
        expected = gradients(plain, [x.double() for x in (q, k, v)], temperature=temperature.double())
        self.expect_near(gradients(entropy_attention, (q, k, v), temperature=temperature), expected, 2e-5)

    def test_bfloat16(self):
        tensors = inputs((2, 2, 65, 32), torch.bfloat16)
        got = gradients(entropy_attention, tensors)
        self.assertEqual(got[0].dtype, torch.bfloat16)
        self.assertEqual(got[1].dtype, torch.float32)
        expected = gradients(plain, [x.double() for x in tensors])
        self.expect_near(got, expected, 2e-2)
        # The entropy comes from float32 arithmetic on the given numbers.
        self.expect_near(got[1:2], expected[1:2], 2e-6)

    def test_strided_inputs(self):
        packed = torch.randn(2, 21, 3, 4, 16, generator=torch.Generator().manual_seed(5))
        q, k, v = (packed.select(2, i).transpose(1, 2) for i in range(3))
        apart = [x.contiguous() for x in (q, k, v)]
        for a, b in zip(entropy_attention(q, k, v), entropy_attention(*apart)):
            self.assertTrue(torch.equal(a, b))
        across = q.transpose(2, 3).contiguous().transpose(2, 3)  # numbers of a row apart
        self.assertTrue(torch.equal(entropy_attention(across, k, v)[1], entropy_attention(q, k, v)[1]))

    def test_gradcheck(self):
        tensors = inputs((1, 2, 5, 3), torch.float64)
        for causal in (True, False):
            self.assertTrue(torch.autograd.gradcheck(lambda q, k, v: entropy_attention(q, k, v, causal=causal), tensors))
        temperature = torch.linspace(0.7, 1.4, 10, dtype=torch.float64).view(2, 5).requires_grad_()
        self.assertTrue(torch.autograd.gradcheck(lambda q, t: entropy_attention(q, *tensors[1:], temperature=t), (tensors[0], temperature)))

    def test_opcheck(self):
        q, k, v = inputs((1, 2, 9, 16), torch.float32)
        torch.library.opcheck(torch.ops.entrain.entropy_attention.default, (q, k, v))
        scale = 0.25
        torch.library.opcheck(torch.ops.entrain.entropy_attention_forward.default, (q, k, v, scale, True, True, False, ""))

    def test_compile_traces_it(self):
        def loss(q, k, v):
            out, entropy = entropy_attention(q * 2.0, k, v)
            return out.square().sum() + entropy.sum()

        tensors = inputs((2, 2, 19, 16), torch.float32)
        expected = torch.autograd.grad(loss(*tensors), tensors)
        got = torch.autograd.grad(torch.compile(loss, backend="aot_eager", fullgraph=True)(*tensors), tensors)
        for a, b in zip(got, expected):
            torch.testing.assert_close(a, b)

    def test_the_kernel_without_entropy_gives_the_same_output(self):
        q, k, v = inputs((2, 2, 70, 32), torch.float32)
        forward = torch.ops.entrain.entropy_attention_forward
        with_entropy, without = (forward(q, k, v, 0.2, True, wanted, False, "") for wanted in (True, False))
        self.assertTrue(torch.equal(with_entropy[0], without[0]))
        self.assertEqual(without[1].numel(), 0)

    def test_uniform_rows(self):
        zero = torch.zeros(1, 1, 50, 32)
        entropy = entropy_attention(zero, zero, zero)[1][0, 0]
        for i in range(50):
            self.assertAlmostEqual(entropy[i].item(), math.log(i + 1), places=6)

    def test_wrong_shapes_are_named(self):
        q = torch.zeros(1, 2, 4, 16)
        with self.assertRaisesRegex(RuntimeError, "must have one shape"):
            entropy_attention(q, q[:, :, :3], q)
        with self.assertRaisesRegex(RuntimeError, "must have one type"):
            entropy_attention(q, q.double(), q)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
