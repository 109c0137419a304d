"""What `pagewire bench` writes: JSON that keeps to its schema, CSV that says the same, pictures and
a page that are well formed and refer to nothing, whatever names and reasons a report holds."""

import copy
import csv
import glob
import html.parser
import json
import os
import subprocess
import unittest
import xml.etree.ElementTree

from support import SANITIZER, SOURCE, TestFolder, run_pagewire
from support.whole_rounds import run_bench

SCHEMA = os.path.join(SOURCE, "docs/bench.schema.json")
# Debian's python3-jsonschema belongs to Debian's python3; the first one in PATH may be another.
PYTHON = "/usr/bin/python3"
SVG = "{http://www.w3.org/2000/svg}"
GUARD_S = 600 if SANITIZER else 300
TINY = ("-t", "0.1", "--warmup", "0.05", "--repeat", "2", "-P", "2")
FILES = ("json", "csv", "html", "svg", "md")
AWKWARD = "a<b & \"c\", 'd' | `e`\n</script><!-- é€ \x1b[31m]]> {} %s \\ =1+1"

VALIDATE = """
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for name in sys.argv[2:]:
    error = jsonschema.exceptions.best_match(validator.iter_errors(json.load(open(name))))
    if error:
        print(name, list(error.absolute_path), error.message[:500])
"""


class Page(html.parser.HTMLParser):
    """What a browser would run, fetch and show."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.references, self.shown, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.open.append(tag)
        if tag == "script":
            self.scripts.append((attrs.get("type"), ""))
        for name, value in attrs.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "poster", "data"):
                self.references.append(value)
            elif name.startswith("on"):
                self.scripts.append((name, value))

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif self.open and self.open[-1] != "style":
            self.shown.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.shown).split())


class FormatsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.written = {
            "run": ("run", "--size", "1M", *TINY),
            "request": ("run", "--mode", "request", "--size", "100K", *TINY),
            "sweep": ("sweep", "--sizes", "1K,16K,256K", *TINY, "--path",
                      "sendfile,tee,zerocopy,mmap,copy"),
        }
        cls.tables = {name: cls.bench(*command, *cls.outputs(name),
                                      report_of=lambda _, n=name: cls.load(f"{n}.json")).stdout
                      for name, command in cls.written.items()}

    @classmethod
    def outputs(cls, name):
        """The flags that write NAME.json, NAME.csv ..."""
        return [part for kind in FILES for part in (f"--{kind}", f"{name}.{kind}")]

    @classmethod
    def bench(cls, *arguments, code=0, **others):
        done = run_bench(*arguments, timeout=GUARD_S, cwd=cls.folder.root, **others)
        if done.returncode != code:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.root, name)

    @classmethod
    def read(cls, name):
        with open(cls.path(name), encoding="utf-8", newline="") as file:
            return file.read()

    @classmethod
    def load(cls, name):
        return json.loads(cls.read(name))

    def render(self, name, report):
        """Every format of a report that this test made up; returns the table."""
        with open(self.path(f"{name}.in.json"), "w", encoding="utf-8") as file:
            json.dump(report, file)
        return self.bench("report", f"{name}.in.json", *self.outputs(name)).stdout

    # -------------------------------------------------------------- JSON

    def test_keeps_to_the_schema(self):
        found = subprocess.run([PYTHON, "-c", "import jsonschema"], capture_output=True,
                               check=False)
        if found.returncode:
            self.skipTest(f"{PYTHON} has no jsonschema: apt-get install python3-jsonschema")
        names = [self.path(f"{name}.json") for name in self.written]
        # Results that are older than the schema have another shape.
        for name in sorted(glob.glob(os.path.join(SOURCE, "docs/results/*.json"))):
            with open(name, encoding="utf-8") as file:
                if "schema_version" in json.load(file):
                    names.append(name)
        said = subprocess.run([PYTHON, "-W", "ignore", "-c", VALIDATE, SCHEMA, *names],
                              capture_output=True, text=True, check=True)
        self.assertEqual(said.stdout, "")

    def test_every_figure_has_a_value_or_a_reason(self):
        for name in self.written:
            for row in self.load(f"{name}.json")["rows"]:
                for contender in row["contenders"]:
                    self.assertEqual(contender["unavailable"] is None, bool(contender["rounds"]))
                    for figures in ([contender["summary"]]
                                    + [it["figures"] for it in contender["rounds"]]):
                        for metric, figure in figures.items():
                            value = figure.get("value", figure.get("median"))
                            self.assertEqual(value is None, bool(figure["reason"]), metric)

    def test_what_was_stored_renders_the_same(self):
        for name in self.written:
            table = self.bench("report", f"{name}.json", *self.outputs("again")).stdout
            self.assertEqual(table, self.tables[name])
            for kind in FILES:
                self.assertEqual(self.read(f"again.{kind}"), self.read(f"{name}.{kind}"), kind)

    def test_what_is_no_report(self):
        text = self.read("run.json")
        for number, (wrong, naming) in enumerate((
                ("", "line 1"), ("[]", "object"), ("{}", "schema_version"),
                (text[:len(text) // 2], "not JSON"), ("[" * 100_000, "nested"),
                (text.replace('"schema_version": 1', '"schema_version": 2'), "reads 1"),
                (text.replace('"cpu_percent":', '"cpu_per_mille":', 1), "cpu_per_mille"),
                (text.replace('"kind": "run"', '"kind": 5'), "kind is number"))):
            with open(self.path(f"bad{number}.json"), "w", encoding="utf-8") as file:
                file.write(wrong)
            done = run_pagewire("bench", "report", f"bad{number}.json", "--svg", "bad.svg",
                                cwd=self.folder.root)
            self.assertGreater(done.returncode, 0, wrong[:80])
            self.assertEqual(done.stdout, "")
            self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
            self.assertIn(naming, done.stderr)
            self.assertFalse(os.path.exists(self.path("bad.svg")))

    # -------------------------------------------------------------- CSV

    def test_csv_says_what_json_says(self):
        for name in self.written:
            report = self.load(f"{name}.json")
            expected = {}
            for row in report["rows"]:
                for contender in row["contenders"]:
                    for one in contender["rounds"]:
                        for metric, figure in one["figures"].items():
                            key = (row["title"], contender["name"], str(one["number"]), metric)
                            expected[key] = (figure["value"], figure["source"] or "",
                                             figure["reason"] or "", one["instrumented"])
            lines = list(csv.DictReader(self.read(f"{name}.csv").splitlines(keepends=True)))
            found = {(line["row"], line["contender"], line["round"], line["metric"]):
                     (float(line["value"]) if line["value"] else None, line["source"],
                      line["reason"], line["instrumented"] == "true")
                     for line in lines if line["metric"]}
            self.assertEqual(found, expected)
            self.assertEqual({line["kind"] for line in lines}, {report["kind"]})

    # -------------------------------------------------------------- for people

    def test_table_and_markdown_name_everyone(self):
        for name in self.written:
            report = self.load(f"{name}.json")
            markdown = self.read(f"{name}.md")
            for text in (self.tables[name], markdown.replace("\\", "")):
                for part in (report["environment"]["kernel"], report["environment"]["cpu_model"],
                             "IRQ_TIME_ACCOUNTING", "loopback", "saturation"):
                    self.assertIn(part, text)
                for contender in report["rows"][0]["contenders"]:
                    self.assertRegex(text, rf"(?m)\b{contender['name']}\b")
                self.assertNotIn("partial", text.lower())
            self.assertIn("| measured |", markdown)

    def test_pictures(self):
        for name in self.written:
            root = xml.etree.ElementTree.parse(self.path(f"{name}.svg")).getroot()
            self.assertEqual((root.tag, root.get("role")), (f"{SVG}svg", "img"))
            shown = " ".join("".join(it.itertext()) for it in root.iter(f"{SVG}text"))
            report = self.load(f"{name}.json")
            for contender in report["rows"][0]["contenders"]:
                self.assertIn(contender["name"], shown)
            self.assertIn("CPU per Gbit", shown)
            for element in root.iter():
                self.assertNotIn(element.tag, (f"{SVG}script", f"{SVG}image", f"{SVG}a"))
                for value in element.attrib.values():
                    self.assertNotIn("://", value)
        self.assertIn("Latency", self.read("request.svg"))
        self.assertIn("1 KiB", self.read("sweep.svg"))

    def test_page_is_one_file(self):
        for name in self.written:
            page = Page(self.read(f"{name}.html"))
            self.assertEqual([it for it in page.references if not it.startswith("data:")], [])
            self.assertEqual([kind for kind, _ in page.scripts], ["application/json"])
            self.assertEqual(json.loads(page.scripts[0][1]), self.load(f"{name}.json"))
            rest = self.read(f"{name}.html").replace("http://www.w3.org/2000/svg", "")
            self.assertNotRegex(rest, r"https?://|@import|url\((?!#)")

    # -------------------------------------------------------------- names that mean something

    def awkward(self):
        report = copy.deepcopy(self.load("run.json"))
        report["title"] = AWKWARD
        report["partial"], report["partial_reason"] = True, f"interrupted: {AWKWARD}"
        report["environment"]["kernel"] = AWKWARD
        report["environment"]["notes"] = [AWKWARD]
        report["settings"][AWKWARD] = AWKWARD
        report["remarks"] = [AWKWARD]
        row = report["rows"][0]
        row["title"] = AWKWARD
        row["contenders"][0]["name"] = AWKWARD
        row["contenders"][1]["rounds"][0]["failed"] = AWKWARD
        row["contenders"][2]["unavailable"], row["contenders"][2]["rounds"] = AWKWARD, []
        return report

    def test_text_stays_text(self):
        report = self.awkward()
        table = self.render("awkward", report)
        self.assertNotIn("\x1b", table)
        self.assertIn("PARTIAL: interrupted", table)
        self.assertEqual(self.load("awkward.json")["rows"][0]["contenders"][0]["name"], AWKWARD)

        lines = list(csv.reader(self.read("awkward.csv").splitlines(keepends=True)))
        self.assertEqual({len(line) for line in lines}, {16})
        self.assertIn(AWKWARD, {line[6] for line in lines})

        xml.etree.ElementTree.parse(self.path("awkward.svg"))
        page = Page(self.read("awkward.html"))
        self.assertEqual([kind for kind, _ in page.scripts], ["application/json"])
        self.assertEqual(json.loads(page.scripts[0][1]), self.load("awkward.json"))
        self.assertIn("a<b & \"c\", 'd' | `e` </script><!-- é€", page.text)
        self.assertIn("Partial: interrupted", page.text)
        self.assertIn("**Partial: interrupted", self.read("awkward.md"))

    def test_nothing_measured(self):
        report = self.load("run.json")
        report["rows"] = []
        report["partial"], report["partial_reason"] = True, "interrupted before the first round"
        self.assertIn("PARTIAL", self.render("nothing", report))
        xml.etree.ElementTree.parse(self.path("nothing.svg"))
        self.assertIn("interrupted before", Page(self.read("nothing.html")).text)


if __name__ == "__main__":
    unittest.main()
