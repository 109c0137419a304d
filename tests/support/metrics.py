"""Reads Prometheus text (format 0.0.4) strictly."""

import re
import urllib.request

from .server import PATIENCE_S, wait_until

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([-+0-9.eE]+|NaN|[-+]Inf)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')
COMMENT = re.compile(r"# (HELP [a-zA-Z_:][a-zA-Z0-9_:]* .*|"
                     r"TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (counter|gauge|histogram))")


class Metrics:
    """`samples` is a list of (name, labels, value), `types` maps a name to its type."""

    def __init__(self, text):
        self.samples = []
        self.types = {}
        for line in text.split("\n"):
            if line.startswith("#"):
                if not COMMENT.fullmatch(line):
                    raise AssertionError(f"bad comment: {line!r}")
                if line.startswith("# TYPE "):
                    name, kind = line.split(" ")[2:]
                    self.types[name] = kind
            elif line:
                self.samples.append(self.parse(line))

    @staticmethod
    def parse(line):
        sample = SAMPLE.fullmatch(line)
        if not sample:
            raise AssertionError(f"bad sample: {line!r}")
        labels, text = {}, sample[2] or ""
        place = 0
        while place < len(text):
            label = LABEL.match(text, place)
            if not label:
                raise AssertionError(f"bad labels: {line!r}")
            labels[label[1]] = label[2]
            place = label.end()
        return sample[1], labels, float(sample[3])

    def total(self, pattern, **labels):
        """The sum of the samples whose name matches and that have these labels."""
        return sum(value for name, its, value in self.samples
                   if re.search(pattern, name) and labels.items() <= its.items())

    def find(self, pattern, **labels):
        return [(name, its, value) for name, its, value in self.samples
                if re.search(pattern, name) and labels.items() <= its.items()]


def fetch_metrics(server):
    host, port = server.admin
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE_S) as answer:
        return Metrics(answer.read().decode())


def settle(server):
    """Waits until each worker has ended the round that it is in. A worker counts after the call
    that sends or closes, so a client may know before the metrics do; they know from here on."""
    def rounds():
        return {labels["worker"]: value for _, labels, value in
                fetch_metrics(server).find("^pagewire_worker_wakeups_total$")}
    for _ in range(2):  # what a tick stores is stored one figure after the other
        before = rounds()
        wait_until(lambda before=before: not before.items() & rounds().items(), "a tick of each")


def wait_until_it_stands(server, count):
    """Until count() is not 0 and stays what it is while each worker has been through its rounds: no
    socket takes more. Returns it."""
    def stands():
        before = count()
        settle(server)
        return before if before == count() else 0
    return wait_until(stands, "it stands", 60)
