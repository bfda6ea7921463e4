"""The real transformers and the real trainer read each other's folders, and compute the same numbers. No network.

    transformers_test.py BIN_DIR      the folder of entrain and entrain-trainer
"""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
from torch_on_cpu import import_torch  # noqa: E402

torch = import_torch()
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel  # noqa: E402

BIN = pathlib.Path(sys.argv.pop()).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[2]
# A float32 sum in another order; logits of these models reach a few units.
LOGIT_TOLERANCE = 2e-5
GRADIENT_SHARE = 2e-5
deviations = []


def run(*command, expect=0):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != expect:
        raise AssertionError(f"{command[0]} ended with {done.returncode}, not {expect}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def deviation(name, got, expected):
    largest = (got.double() - expected.double()).abs().max().item()
    deviations.append((name, largest))
    return largest


class RoundTrip(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.temporary.name)
        prepared = run(BIN / "entrain", "data", "prepare", SOURCE / "model", "--artifacts", cls.root / "artifacts", "--max-bytes",
                       100000, "-o", "json")
        cls.dataset = json.loads(prepared[: prepared.rindex("}") + 1])

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def folder(self, name):
        path = self.root / self.id().rsplit(".", 1)[-1] / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def train(self, model, name, *arguments, expect=0, **train):
        folder = self.folder(name)
        name, content_hash = self.dataset["reference"].split("@")
        settings = {"steps": 3, "batch_size": 4, "context": 32, "lr": 3e-3, "eval_batches": 1}
        config = {"version": 1, "dataset": {"name": name, "hash": content_hash}, "model": model, "train": settings | train}
        (folder / "run.json").write_text(json.dumps(config))
        output = run(BIN / "entrain-trainer", folder / "run.json", "--dataset", self.dataset["folder"], "--out", folder, *arguments,
                     expect=expect)
        if expect:
            return output
        return max((folder / "attempt-0001" / "checkpoints").iterdir())

    def probe(self, weights, tokens, *arguments):
        folder = self.folder("probe")
        save_file({"tokens": tokens.to(torch.int32)}, folder / "tokens.safetensors")
        run(BIN / "entrain-trainer", "probe", "--config", weights / "config.json", "--weights", weights, "--tokens",
            folder / "tokens.safetensors", "--out", folder / "out.safetensors", *arguments)
        return load_file(folder / "out.safetensors")

    def load(self, folder):
        """As a user does, and nothing may be missing, left over or of another shape."""
        model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
        self.assertIsInstance(model, GPT2LMHeadModel)
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
            self.assertFalse(info[kind], kind)
        self.assertEqual(model.lm_head.weight.data_ptr(), model.transformer.wte.weight.data_ptr(), "the head is tied")
        return model.eval()

    def expect_same_logits(self, model, weights, tokens):
        ours = self.probe(weights, tokens)
        with torch.no_grad():
            theirs = model(tokens).logits
        self.assertGreater(theirs.std().item(), 0.05)
        self.assertLess(deviation(f"{self.id().rsplit('.', 1)[-1]} logits", ours["logits"], theirs), LOGIT_TOLERANCE)

    def hugging_face(self, name, **settings):
        torch.manual_seed(11)
        shape = dict(vocab_size=300, n_positions=48, n_embd=64, n_layer=3, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                     initializer_range=0.15)
        model = GPT2LMHeadModel._from_config(GPT2Config(**(shape | settings)), attn_implementation="eager")
        folder = self.folder(name)
        model.save_pretrained(folder)
        return model.eval(), folder

    def test_our_checkpoints_load_unchanged(self):
        tokens = torch.randint(0, 256, (3, 32), generator=torch.Generator().manual_seed(5))
        for activation, steps in (("gelu", 30), ("gelu_new", 3), ("relu", 3), ("identity", 3)):
            with self.subTest(activation):
                model = {"n_layer": 3, "n_head": 4, "n_embd": 64, "n_positions": 32, "vocab_size": 256, "bias": "all", "norm": "layernorm",
                         "activation": activation, "init_std": 0.08}
                checkpoint = self.train(model, activation, steps=steps)
                loaded = self.load(checkpoint)
                self.expect_same_logits(loaded, checkpoint, tokens)
                again = self.folder(f"{activation}-saved-by-transformers")
                loaded.save_pretrained(again)
                self.expect_same_logits(loaded, again, tokens)

    def test_their_checkpoints_give_the_same_numbers(self):
        tokens = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(6))
        for activation in ("gelu_new", "gelu", "relu"):
            with self.subTest(activation):
                model, folder = self.hugging_face(activation, activation_function=activation)
                ours = self.probe(folder, tokens, "--gradients")
                theirs = model(tokens, labels=tokens, output_attentions=True)
                self.assertLess(deviation(f"{activation} logits", ours["logits"], theirs.logits), LOGIT_TOLERANCE)
                self.assertLess(deviation(f"{activation} loss", ours["ce"], theirs.loss.detach().reshape(1)), 2e-6)
                entropy = torch.stack([-(a.double() * a.double().clamp_min(1e-300).log()).sum(-1) for a in theirs.attentions])
                self.assertLess(deviation(f"{activation} entropies", ours["entropy"], entropy), 2e-5)
                theirs.loss.backward()
                for name, parameter in model.named_parameters():
                    size = parameter.grad.abs().max().item()
                    difference = deviation(f"{activation} gradients", ours[f"grad.{name}"], parameter.grad)
                    self.assertLess(difference, GRADIENT_SHARE * max(size, 1e-2), name)

    def test_reduced_precision_files_are_read(self):
        tokens = torch.randint(0, 300, (2, 40), generator=torch.Generator().manual_seed(7))
        for dtype in (torch.bfloat16, torch.float16):
            model, folder = self.hugging_face(str(dtype))
            rounded = model.to(dtype)
            rounded.save_pretrained(folder)
            self.expect_same_logits(rounded.to(torch.float32), folder, tokens)

    def test_training_starts_from_theirs_and_comes_back(self):
        model, folder = self.hugging_face("start")
        ours = {"n_layer": 3, "n_head": 4, "n_embd": 64, "n_positions": 48, "vocab_size": 300, "activation": "gelu_new"}
        # A step of AdamW moves a weight by about the rate: this one stays where it was.
        checkpoint = self.train(ours, "run", "--init", folder, steps=1, lr=1e-9, weight_decay=0.0)
        loaded = self.load(checkpoint)
        before = dict(model.named_parameters())
        for name, parameter in loaded.named_parameters():
            self.assertLess(deviation("weights after a step of rate 1e-9", parameter, before[name]), 1e-8, name)
        tokens = torch.randint(0, 300, (2, 48), generator=torch.Generator().manual_seed(8))
        self.expect_same_logits(model, checkpoint, tokens)

    def test_shorter_contexts_and_other_variants_start_from_theirs(self):
        _, folder = self.hugging_face("start")
        shorter = {"n_layer": 3, "n_head": 4, "n_embd": 64, "n_positions": 32, "vocab_size": 300, "norm": "none", "bias": "qk",
                   "activation": "identity", "reparam": "weight_norm", "reparam_targets": ["ffn_in", "ffn_out"]}
        checkpoint = self.train(shorter, "run", "--init", folder, steps=1, lr=1e-9, weight_decay=0.0)
        saved, theirs = load_file(checkpoint / "model.safetensors"), load_file(folder / "model.safetensors")
        table = "transformer.wpe.weight"
        self.assertTrue(torch.allclose(saved[table], theirs[table][:32], atol=1e-8))
        raw = theirs["transformer.h.1.mlp.c_fc.weight"]
        # Weight norm takes the given weights' own lengths as its gains, so that nothing changes at the start.
        self.assertTrue(torch.allclose(saved["transformer.h.1.mlp.c_fc.weight_g"], raw.norm(dim=0), rtol=1e-5))

    def test_what_is_another_model_is_refused(self):
        _, folder = self.hugging_face("start")
        heads = {"n_layer": 3, "n_head": 8, "n_embd": 64, "n_positions": 48, "vocab_size": 300}
        self.assertIn("n_head 4, the run 8", self.train(heads, "heads", "--init", folder, expect=78))
        fewer = {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 48, "vocab_size": 300}
        self.assertIn("n_layer 3, the run 2", self.train(fewer, "layers", "--init", folder, expect=78))
        untied, other = self.hugging_face("untied", tie_word_embeddings=False)
        self.assertIn("tie_word_embeddings", self.train(fewer, "untied-run", "--init", other, expect=78))


if __name__ == "__main__":
    program = unittest.main(argv=[sys.argv[0], "-v"], exit=False)
    worst = {}
    for name, value in deviations:
        worst[name] = max(value, worst.get(name, 0.0))
    for name, value in worst.items():
        print(f"largest deviation: {name:60} {value:.2e}")
    assert all(math.isfinite(value) for value in worst.values())
    sys.exit(0 if program.result.wasSuccessful() else 1)
