#!/usr/bin/env python3
"""The chart's AlertmanagerConfig, translated as the Prometheus operator does and read by Alertmanager's own tool: every alert of the rendered rules
reaches the receiver that deploy/alertmanager names for it, and its address comes from the Secret alone."""
import functools
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

import strict_schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAIN = ROOT / "deploy/alertmanager/alertmanager.yaml"
KEYS = ["monitoring.alertmanager.keys.oncall=pager", "monitoring.alertmanager.keys.research-waiting=pager"]
if not shutil.which("amtool"):
    print("skipped: Alertmanager is not installed; scripts/setup installs it", file=sys.stderr)
    sys.exit(77)


@functools.lru_cache(maxsize=None)
def rendered(*settings, namespace="training"):
    flags = [flag for setting in ("monitoring.alertmanager.secret=hooks", *settings) for flag in ("--set", setting)]
    done = subprocess.run([strict_schema.TOOLS / "bin/helm", "template", "entrain", ROOT / "deploy/k8s/chart", "--namespace", namespace, *flags],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    objects = strict_schema.load_all(done.stdout)
    one = lambda kind: next(item for item in objects if item["kind"] == kind)
    return one("AlertmanagerConfig"), one("PrometheusRule")


def snake(name):
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


def matchers(items):
    return [f'{item["name"]}{item["matchType"]}"{item["value"]}"' for item in items]


def plain_route(route):
    """A route of the operator's in Alertmanager's words."""
    made = {snake(key): value for key, value in route.items()}
    if "matchers" in made:
        made["matchers"] = matchers(made["matchers"])
    if "routes" in made:
        made["routes"] = [plain_route(below) for below in made["routes"]]
    return made


def as_the_operator(config, secret):
    """The operator puts every AlertmanagerConfig below a root of its own, held to alerts with its namespace, and reads addresses from Secrets."""
    own = f'namespace="{config["metadata"]["namespace"]}"'
    route = plain_route(config["spec"]["route"])
    route["matchers"] = [own, *route.get("matchers", [])]
    route["continue"] = True
    return {
        "route": {"receiver": "null", "routes": [route]},
        "inhibit_rules": [{"source_matchers": [own, *matchers(rule["sourceMatch"])], "target_matchers": [own, *matchers(rule["targetMatch"])],
                           "equal": rule.get("equal", [])} for rule in config["spec"]["inhibitRules"]],
        "receivers": [{"name": "null"}] + [
            {"name": one["name"], "webhook_configs": [{"url": secret[hook["urlSecret"]["name"], hook["urlSecret"]["key"]],
                                                       "send_resolved": hook["sendResolved"]} for hook in one["webhookConfigs"]]}
            for one in config["spec"]["receivers"]]}


def amtool(configuration, *arguments, labels=()):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(configuration, file)
        return subprocess.run(["amtool", *(argument.replace("FILE", file.name) for argument in arguments), *labels], capture_output=True, text=True, timeout=30)


def receiver(configuration, labels):
    done = amtool(configuration, "config", "routes", "test", "--config.file=FILE", labels=[f"{key}={value}" for key, value in labels.items()])
    return done.stdout.strip()


class AlertmanagerConfigTest(unittest.TestCase):
    secret = {("hooks", "url"): "http://127.0.0.1:1/url", ("hooks", "pager"): "http://127.0.0.1:1/pager"}

    def test_valid(self):
        config, rule = rendered()
        self.assertEqual(strict_schema.problems(config) + strict_schema.problems(rule), [])

    def test_every_alert_goes_where_deploy_alertmanager_sends_it(self):
        config, rule = rendered()
        plain, operators = yaml.safe_load(PLAIN.read_text()), as_the_operator(config, self.secret)
        self.assertEqual(amtool(operators, "check-config", "FILE").returncode, 0)
        alerts = [one for group in rule["spec"]["groups"] for one in group["rules"] if "alert" in one]
        self.assertGreater(len(alerts), 10)
        for one in alerts:
            for action in ("stop", "pause"):
                labels = {"alertname": one["alert"], "action": action, **one["labels"]}
                self.assertEqual(labels["namespace"], "training")
                self.assertEqual(receiver(operators, labels), receiver(plain, labels), one["alert"])
                self.assertEqual(receiver(operators, {**labels, "namespace": "another"}), "null", one["alert"])

    def test_nothing_of_deploy_alertmanager_is_lost(self):
        config, _ = rendered()
        plain, own = yaml.safe_load(PLAIN.read_text()), as_the_operator(config, self.secret)
        spaceless = lambda route: {**route, **({"matchers": [text.replace(" ", "") for text in route["matchers"]]} if "matchers" in route else {}),
                                   **({"routes": [spaceless(below) for below in route["routes"]]} if "routes" in route else {})}
        route = dict(own["route"]["routes"][0])
        self.assertEqual((route.pop("continue"), route.pop("matchers")), (True, ['namespace="training"']))
        self.assertEqual(route, spaceless(plain["route"]))
        self.assertEqual([{key: value for key, value in rule.items() if key == "equal"} for rule in own["inhibit_rules"]],
                         [{"equal": rule.get("equal", [])} for rule in plain["inhibit_rules"]])
        for rule, theirs in zip(own["inhibit_rules"], plain["inhibit_rules"], strict=True):
            for key in ("source_matchers", "target_matchers"):
                self.assertEqual(rule[key][1:], [text.replace(" ", "") for text in theirs[key]])
        resolved = lambda receivers: {one["name"]: [hook["send_resolved"] for hook in one["webhook_configs"]] for one in receivers}
        self.assertEqual(resolved(own["receivers"][1:]), resolved(plain["receivers"]))

    def test_each_receiver_has_its_key_of_the_secret(self):
        addresses = {one["name"]: one["webhookConfigs"][0]["urlSecret"] for one in rendered(*KEYS)[0]["spec"]["receivers"]}
        self.assertEqual({name: address["key"] for name, address in addresses.items()},
                         {"oncall": "pager", "operators": "url", "research": "url", "research-waiting": "pager"})
        self.assertEqual({address["name"] for address in addresses.values()}, {"hooks"})


if __name__ == "__main__":
    unittest.main()
