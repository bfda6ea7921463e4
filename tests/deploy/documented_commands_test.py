#!/usr/bin/env python3
"""The commands of docs/k8s.md that need no cluster do what they say: every `helm install` and `helm upgrade` renders valid objects with its flags, every
`kubectl apply -k` is a folder that kustomize builds."""
import pathlib
import re
import shlex
import subprocess
import unittest

import strict_schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/k8s.md").read_text()
ABOUT_THE_CLUSTER = {"--create-namespace", "--reset-then-reuse-values"}


def commands():
    """Every indented line that begins with a program, with those that a backslash joins to it, as words; comments left out."""
    for text in re.findall(r"^ {4,}((?:helm|kubectl|buildah|kind|scripts/)(?:\\\n|[^\n])*)$", PAGE, re.M):
        yield shlex.split(text.replace("\\\n", " "), comments=True)


def tool(name, *arguments):
    return subprocess.run([strict_schema.TOOLS / "bin" / name, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT)


class DocumentedCommandsTest(unittest.TestCase):
    def check(self, done, words):
        self.assertEqual(done.returncode, 0, f"{' '.join(words)}\n{done.stderr}")
        objects = strict_schema.load_all(done.stdout)
        self.assertGreater(len(objects), 8, words)
        for document in objects:
            self.assertEqual(strict_schema.problems(document), [], words)

    def test_helm(self):
        found = [words for words in commands() if words[0] == "helm"]
        self.assertGreater(len(found), 4)
        for words in found:
            self.assertIn(words[1], ("install", "upgrade"))
            self.check(tool("helm", "template", *(word for word in words[2:] if word not in ABOUT_THE_CLUSTER)), words)

    def test_kustomize(self):
        found = [words for words in commands() if words[:3] == ["kubectl", "apply", "-k"]]
        self.assertTrue(found)
        for words in found:
            self.check(tool("kustomize", "build", words[3]), words)

    def test_helm_knows_the_flags(self):
        known = set(re.findall(r"--[a-z-]+", tool("helm", "upgrade", "--help").stdout + tool("helm", "install", "--help").stdout))
        used = {word.split("=")[0] for words in commands() if words[0] == "helm" for word in words if word.startswith("--")}
        self.assertLessEqual(used, known)

    def test_named_files_are_there(self):
        for words in commands():
            for word in words:
                if re.match(r"(deploy|scripts)/", word):
                    self.assertTrue((ROOT / word).exists(), word)


if __name__ == "__main__":
    unittest.main()
