"""Debian's Prometheus beside the servers of a test: it scrapes them, and is asked over HTTP."""

import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from .ports import free_port
from .server import PATIENCE_S, wait_until

SCRAPE = "500ms"


class Prometheus:
    """Scrapes `servers`, and evaluates the rules of the file `rules`. close() ends it."""

    def __init__(self, servers, rules):
        self.folder = tempfile.TemporaryDirectory(prefix="pagewire-prometheus-")
        config = {
            "global": {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "pagewire", "static_configs": [
                {"targets": ["{}:{}".format(*server.admin) for server in servers]}]}]}
        path = os.path.join(self.folder.name, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)  # JSON is YAML
        self.address = f"127.0.0.1:{free_port()}"
        self.log = open(os.path.join(self.folder.name, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file", path, "--web.listen-address", self.address,
             "--storage.tsdb.path", os.path.join(self.folder.name, "data"), "--log.level=warn"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            wait_until(self.is_ready, "Prometheus is ready")
        except AssertionError:
            self.close()
            raise

    def is_ready(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise AssertionError("Prometheus ended:\n" + self.log.read())
        try:
            return self.get("/-/ready", parse=False)
        except OSError:
            return False

    def get(self, path, parse=True, **parameters):
        url = f"http://{self.address}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if not parse:
                raise
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        return json.loads(text)["data"] if parse else text

    def query(self, expression):
        """[(labels, value), ...] of an expression whose value is a vector."""
        return [(sample["metric"], float(sample["value"][1]))
                for sample in self.get("/api/v1/query", query=expression)["result"]]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()
