#!/usr/bin/env python3
"""Makes the files beside it with the `tokenizers` package of Hugging Face (0.23.3 made those committed):

    python3 -m venv /tmp/v && /tmp/v/bin/pip install tokenizers==0.23.3
    /tmp/v/bin/python tests/data/byte_level/make_expected.py

tokenizer.json, vocab.json, merges.txt: a byte-level BPE of 1,000 tokens trained on this repository's own text.
expected.json: texts with their token ids, and, as runs [first, last], the code points that the package takes for letters, for
numbers and for white space (found by what each joins).
"""
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]


def train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    texts = [(ROOT / name).read_text() for name in ("README.md", "docs/ARCHITECTURE.md", "docs/GLOSSARY.md", "CONTRIBUTING.md")]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def texts():
    chosen = [
        "", " ", "\n", "a", "Hello, world!", "don't we'll I'M they've 'tis ''s 'll", "  two  spaces   and\ttabs\t\t\n\n lines \r\n end  ",
        "x = [1, 2, 3]\n    return x**2  # 42nd\n", "naïve café Ünïcödé ÆØÅ ß", "Привет, мир! 你好,世界。 こんにちは 안녕하세요 مرحبا",
        "½ ² Ⅷ ٣ ४ 𝟘 ①", "e\u0301 a\u0308 \u200b\u200d \ufeff", "😀👩‍👩‍👧 🇩🇪", "a\u00a0b\u2003c\u3000d\u0085e\u2028f\u180eg",
        "!!!???...---___'''\"\"\"", "<|endoftex|> <| endoftext |>", "0123456789" * 8, "a" * 100, "ab" * 200, " " * 70 + "x", "\n" * 65,
        "\U0001fbf0\U00010d40 \u1c89 \ua7cb \u0558 \u2c2f", "ǅ ʰ ª ـ", "entropy " * 30, "The entropies of every head, 1234.5e-6!", "'s's't'd'm're've'll'x",
    ]
    rng = random.Random(20240520)
    pieces = ["the", " of", "Entropy", "'s", "'re", " ", "  ", "\n", "\t", "1", "23", "½", "é", "ß", "世", "🙂", "!", "--", "'", "\u00a0", "\u3000", "e\u0301", "Z"]
    for _ in range(200):
        chosen.append("".join(rng.choice(pieces) for _ in range(rng.randrange(1, 40))))
    return chosen


def runs(classes, wanted):
    found, start = [], None
    for code in range(0x110001):
        inside = code < 0x110000 and classes[code] == wanted
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            found.append([start, code - 1])
            start = None
    return found


def class_of(cut, character):
    for kind, neighbour in (("letters", "a"), ("numbers", "1"), ("others", "!")):
        if len(cut.pre_tokenize_str(neighbour + character)) == 1:
            return kind
    return "spaces"


def main():
    tokenizer = train()
    tokenizer.save(str(HERE / "tokenizer.json"))
    tokenizer.model.save(str(HERE))
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    classes = ["others" if 0xD800 <= code < 0xE000 else class_of(cut, chr(code)) for code in range(0x110000)]
    expected = {kind: runs(classes, kind) for kind in ("letters", "numbers", "spaces")}
    expected["texts"] = [{"text": text, "tokens": tokenizer.encode(text).ids} for text in texts()]
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    sys.exit(main())
