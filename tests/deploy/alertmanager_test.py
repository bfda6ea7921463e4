#!/usr/bin/env python3
"""deploy/alertmanager: accepted by Alertmanager's own tool, and every alert of the rules goes to the receiver that it should, by the tool and by
a real Alertmanager that delivers to a real address."""
import http.server
import json
import pathlib
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "deploy/alertmanager/alertmanager.yaml"
SERVER = "prometheus-alertmanager"
if not (shutil.which("amtool") and shutil.which(SERVER)):
    print("skipped: Alertmanager is not installed; scripts/setup installs it", file=sys.stderr)
    sys.exit(77)

RULES = yaml.safe_load((ROOT / "deploy/prometheus/entrain.rules.yaml").read_text())
ALERTS = {rule["alert"]: rule["labels"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
EXPECTED = {
    "EntrainEntropyCollapse": "research", "EntrainEntropyOverload": "research", "EntrainLossNonFinite": "research",
    "EntrainVerdict": "research", "EntrainRunStalled": "oncall", "EntrainWorkerLost": "oncall", "EntrainCoordinatorDown": "oncall",
    "EntrainDiskNearlyFull": "oncall", "EntrainQueueStuck": "operators", "EntrainCommitSlow": "operators", "EntrainLimitReached": "operators",
    "EntrainPoolRefused": "operators",
}
VERDICT = {"run": "r1", "sweep": "s", "label": "SM", "reason": "collapse", "rule": "collapse.cascade"}


def amtool(*arguments):
    return subprocess.run(["amtool", *map(str, arguments)], capture_output=True, text=True, timeout=30)


def receiver(labels, config=CONFIG):
    done = amtool("config", "routes", "test", f"--config.file={config}", *(f"{key}={value}" for key, value in labels.items()))
    return done.stdout.strip()


class Configuration(unittest.TestCase):
    def test_the_tool_accepts_it_and_refuses_a_broken_one(self):
        self.assertEqual(amtool("check-config", CONFIG).returncode, 0)
        for wrong, right in (("receiver: oncal\n", "receiver: oncall\n"), ("grup_by:", "group_by:"), ("'alertname ~ \"", "'alertname = \"")):
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                text = CONFIG.read_text()
                self.assertIn(right, text)
                file.write(text.replace(right, wrong))
                file.flush()
                self.assertNotEqual(amtool("check-config", file.name).returncode, 0, wrong)

    def test_every_alert_goes_where_it_should(self):
        self.assertEqual(set(ALERTS), set(EXPECTED))
        for alert, labels in ALERTS.items():
            self.assertEqual(receiver({"alertname": alert, **labels}), EXPECTED[alert], alert)

    def test_a_verdict_goes_by_its_action(self):
        for action in ("stop_and_keep", "stop", "notify", "rescue", "pause"):
            labels = {"alertname": "EntrainVerdict", **ALERTS["EntrainVerdict"], **VERDICT, "action": action}
            self.assertEqual(receiver(labels), "research-waiting" if action == "pause" else "research", action)

    def test_others_go_to_the_operators(self):
        self.assertEqual(receiver({"alertname": "SomethingElse", "severity": "warning"}), "operators")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Puts (path, notification) into the server's queue."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.put((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Delivery(unittest.TestCase):
    def setUp(self):
        self.receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.receiver.heard = queue.Queue()
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self.folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.folder.name, "alertmanager.yaml")
        config.write_text(CONFIG.read_text().replace("127.0.0.1:9099", f"127.0.0.1:{self.receiver.server_address[1]}"))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.server = subprocess.Popen(
            [SERVER, f"--config.file={config}", f"--storage.path={self.folder.name}/data", "--cluster.listen-address=",
             f"--web.listen-address={self.url[7:]}", "--log.level=error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.eventually(lambda: self.get("/-/ready") is not None)

    def tearDown(self):
        self.server.kill()
        self.server.wait()
        self.receiver.shutdown()
        self.receiver.server_close()
        self.folder.cleanup()

    def eventually(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def get(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.read()
        except OSError:
            return None

    def fire(self, *alerts):
        body = json.dumps([{"labels": {"alertname": name, **ALERTS[name], **labels}} for name, labels in alerts]).encode()
        request = urllib.request.Request(self.url + "/api/v2/alerts", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=5).close()

    def test_verdicts_arrive_each_at_its_receiver(self):
        self.fire(("EntrainVerdict", {**VERDICT, "action": "stop_and_keep"}),
                  ("EntrainVerdict", {**VERDICT, "label": "SM+G", "run": "r2", "action": "pause"}))
        heard = dict(self.receiver.heard.get(timeout=30) for _ in range(2))
        self.assertEqual(set(heard), {"/research", "/research-waiting"})
        alert, = heard["/research"]["alerts"]
        self.assertEqual((alert["labels"]["rule"], alert["labels"]["label"], alert["status"]), ("collapse.cascade", "SM", "firing"))
        alert, = heard["/research-waiting"]["alerts"]
        self.assertEqual((alert["labels"]["action"], alert["labels"]["run"]), ("pause", "r2"))

    def test_a_verdict_silences_the_alert_of_its_run_alone(self):
        self.fire(("EntrainVerdict", {**VERDICT, "action": "notify"}), ("EntrainEntropyCollapse", {"run": "r1"}),
                  ("EntrainEntropyCollapse", {"run": "r2"}))

        def inhibited():
            alerts = json.loads(self.get("/api/v2/alerts") or "[]")
            return {one["labels"]["run"] for one in alerts
                    if one["labels"]["alertname"] == "EntrainEntropyCollapse" and one["status"]["inhibitedBy"]}

        self.eventually(lambda: inhibited() == {"r1"})


if __name__ == "__main__":
    unittest.main()
