"""Reads Prometheus text (format 0.0.4) strictly."""

import re
import urllib.request

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
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
        return Metrics(answer.read().decode())
