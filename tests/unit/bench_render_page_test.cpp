// Pictures and the HTML page: well formed, self-contained, safe for any text, and with every
// figure.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "bench/render.h"
#include "bench/svg.h"
#include "bench/svg_scale.h"
#include "text/text.h"
#include "unit/bench_render_python.h"
#include "unit/bench_sample_report.h"

namespace pagewire::bench {
namespace {

std::map<std::string, Report> samples() {
  return {{"run", sample::run()},         {"requests", sample::requests()},
          {"sweep", sample::sweep(13)},   {"crowd", sample::crowd()},
          {"awkward", sample::awkward()}, {"nothing", sample::nothing()}};
}

// ---------------------------------------------------------------- markup

TEST(Markup, EscapesAndReplaces) {
  EXPECT_EQ(escape_markup("a<b & \"c\" 'd'>"), "a&lt;b &amp; &quot;c&quot; &#39;d&#39;&gt;");
  EXPECT_EQ(escape_markup("é€\xf0\x9f\x98\x80"), "é€\xf0\x9f\x98\x80");
  EXPECT_EQ(escape_markup("a\n\t\rb"), "a   b");
  const std::string bad = "\xef\xbf\xbd";
  for (const char* text : {"\x1b", "\x7f", "\xff", "\xc3", "\xe2\x82", "\xc0\xaf", "\xed\xa0\x80",
                           "\xef\xbf\xbf", "\xf4\x90\x80\x80"}) {
    EXPECT_TRUE(escape_markup(text).starts_with(bad)) << testing::PrintToString(text);
  }
  EXPECT_EQ(escape_markup(std::string("\0", 1)), bad);
  EXPECT_EQ(escape_json_in_script("{\"a\":\"</script><!--\"}"),
            "{\"a\":\"\\u003c/script>\\u003c!--\"}");
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfe\xfd"), "//79");
}

// ---------------------------------------------------------------- axes

TEST(Scale, TicksAreRoundAndWithin) {
  for (const double most : {0.0, 1e-9, 0.07, 1.0, 4.99, 45.7, 100.0, 1234.0, 9.9e12}) {
    const Scale scale = linear_scale(most, {0, 100});
    EXPECT_GE(scale.values.high, most);
    const std::vector<double> ticks = ticks_of(scale);
    EXPECT_GE(ticks.size(), 3U) << most;
    EXPECT_LE(ticks.size(), 12U) << most;
    EXPECT_DOUBLE_EQ(scale.at(0), 0);
    EXPECT_DOUBLE_EQ(scale.at(scale.values.high), 100);
  }
  EXPECT_EQ(ticks_of(linear_scale(45, {0, 1})), (std::vector<double>{0, 10, 20, 30, 40, 50}));
}

TEST(Scale, LogarithmsNeedWhatIsAboveNothing) {
  EXPECT_FALSE(log_scale({0, 1}, {0, 1}));
  EXPECT_FALSE(log_scale({-1, 1}, {0, 1}));
  EXPECT_FALSE(log_scale({2, 1}, {0, 1}));
  for (const double high : {1.0, 1.5, 9.0, 1e3, 1e9, 1e40}) {
    const auto scale = log_scale({1, high}, {0, 100});
    ASSERT_TRUE(scale);
    EXPECT_GT(scale->at(1), 0);
    EXPECT_LT(scale->at(high), 100);
    const std::size_t count = ticks_of(*scale).size();
    EXPECT_GE(count, 1U) << high;
    EXPECT_LE(count, 13U) << high;
  }
}

// ---------------------------------------------------------------- pictures

TEST(BenchSvg, EachContenderIsToldByMoreThanColour) {
  const Report crowd = sample::crowd(20);
  std::map<std::string, std::string> seen;
  for (const Contender& contender : crowd.rows[0].contenders) {
    const Look look = look_of(crowd, contender.name);
    const std::string key = std::to_string(look.colour) + "/" + std::to_string(look.hatch) + "/" +
                            std::to_string(look.dash) + "/" + std::to_string(look.marker);
    EXPECT_EQ(seen.count(key), 0U) << contender.name << " looks like " << seen[key];
    seen[key] = contender.name;
  }
  const Look copy = look_of(sample::run(), "copy");
  const Look sendfile = look_of(sample::run(), "sendfile");
  EXPECT_EQ(copy.colour, 0U);
  EXPECT_NE(copy.hatch, sendfile.hatch);
  EXPECT_NE(copy.dash, sendfile.dash);
  EXPECT_NE(copy.marker, sendfile.marker);
}

TEST(BenchSvg, ShowsFiguresUnitsAndWhatIsNotThere) {
  const std::string svg = to_svg(sample::run());
  for (const char* part : {"45.2 ±0.5", "14.3 ±0.2", "throughput, Gbit/s", "CPU per Gbit, ms",
                           "not run", "role=\"img\"", "<title id=", "<desc id=",
                           "class=\"pw-whisker\"", "prefers-color-scheme:dark", "AMD EPYC"}) {
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(svg.find("Latency"), std::string::npos);
  const std::string requests = to_svg(sample::requests());
  EXPECT_NE(requests.find("Latency of an answer"), std::string::npos);
  EXPECT_NE(requests.find("286 / 1,173"), std::string::npos);
  const std::string sweep = to_svg(sample::sweep(13));
  for (const char* part : {"sendfile from 11.9 KiB", "splice from 37.1 KiB", "1 KiB", "copy = 1",
                           "size of the object", "mmap: dearer at every size"}) {
    EXPECT_NE(sweep.find(part), std::string::npos) << part;
  }
  EXPECT_NE(to_svg(sample::nothing()).find("no figures"), std::string::npos);
  EXPECT_NE(to_svg(sample::nothing()).find("PARTIAL"), std::string::npos);
}

/// No figure, one figure, figures of 0: none of these may divide by nothing.
TEST(BenchSvg, DrawsWhateverThereIs) {
  Report report = sample::sweep(1);
  for (Contender& contender : report.rows[0].contenders) {
    for (Round& round : contender.rounds) {
      for (auto& [metric, figure] : round.figures) figure = Figure::of(0, Source::Measured);
    }
  }
  for (const char* kind : {"run", "sweep"}) {
    report.kind = kind;
    summarise(report);
    const std::string svg = to_svg(report);
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
  }
  report = sample::sweep(2);
  report.rows[1].size_bytes = 0;
  EXPECT_EQ(to_svg(report).find("nan"), std::string::npos);
}

constexpr const char* check_pictures = R"py(
import glob, re, sys, xml.dom.minidom
bad = 0
def complain(*what):
    global bad
    bad += 1
    print(*what)
for name in sorted(glob.glob(sys.argv[1] + "/*.svg")):
    text = open(name, encoding="utf-8").read()
    try:
        document = xml.dom.minidom.parseString(text.encode())
    except Exception as error:
        complain(name, error)
        continue
    ids = [e.getAttribute("id") for e in document.getElementsByTagName("*") if e.hasAttribute("id")]
    if len(ids) != len(set(ids)):
        complain(name, "an id twice")
    for used in re.findall(r"url\(#([^)]*)\)", text):
        if used not in ids:
            complain(name, "no id", used)
    for element in document.getElementsByTagName("*"):
        if element.tagName in ("script", "image", "a", "foreignObject", "use"):
            complain(name, element.tagName)
        for key, value in element.attributes.items():
            if key.startswith("on") or "href" in key:
                complain(name, key)
            if "://" in value and (key, value) != ("xmlns", "http://www.w3.org/2000/svg"):
                complain(name, key, value)
    root = document.documentElement
    labels = root.getAttribute("aria-labelledby").split()
    if not labels or any(label not in ids for label in labels):
        complain(name, "is not labelled")
    # Nothing is drawn outside: x of a text within the picture.
    width = float(root.getAttribute("width"))
    for element in document.getElementsByTagName("text"):
        if not 0 <= float(element.getAttribute("x")) <= width:
            complain(name, "text outside", element.toxml())
print("bad", bad)
)py";

TEST(BenchSvg, IsWellFormedAndSelfContained) {
  const sample::Folder folder;
  for (const auto& [name, report] : samples()) folder.write(name + ".svg", to_svg(report));
  EXPECT_EQ(sample::ask_python(folder, check_pictures).text, "bad 0\n");
}

// ---------------------------------------------------------------- the page

constexpr const char* check_pages = R"py(
import base64, glob, html.parser, json, re, sys
VOID = {"meta", "link", "br", "img", "hr", "input"}
class Page(html.parser.HTMLParser):
    def __init__(self, name):
        super().__init__(convert_charrefs=True)
        self.name, self.open, self.ids, self.bad = name, [], [], []
        self.script, self.link, self.text = "", "", ""
    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("iframe", "img", "object", "embed", "form", "button", "base"):
            self.bad.append(tag)
        for key, value in attrs:
            value = value or ""
            if key.startswith("on"):
                self.bad.append(key)
            if key == "id":
                self.ids.append(value)
            if key in ("src", "href", "xlink:href", "action") and not value.startswith("data:"):
                self.bad.append((key, value))
            if "://" in value and (key, value) != ("xmlns", "http://www.w3.org/2000/svg"):
                self.bad.append((key, value))
            if tag == "a" and key == "href":
                self.link = value
        if tag == "script" and dict(attrs).get("type") != "application/json":
            self.bad.append("a script")
    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append(("end of", tag))
    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] == "style":
            if re.search(r"@import|url\((?!#)|://", data):
                self.bad.append("style refers to something")
        else:
            self.text += data
    def handle_comment(self, data):
        self.bad.append("a comment")
for name in sorted(glob.glob(sys.argv[1] + "/*.html")):
    page = Page(name)
    page.feed(open(name, encoding="utf-8").read())
    page.close()
    expected = json.load(open(name.replace(".html", ".json"), encoding="utf-8"))
    if page.open:
        page.bad.append(("never closed", page.open))
    if len(page.ids) != len(set(page.ids)):
        page.bad.append("an id twice")
    if json.loads(page.script) != expected:
        page.bad.append("the JSON inside is another")
    saved = base64.b64decode(page.link.split(",", 1)[1], validate=True)
    if json.loads(saved) != expected:
        page.bad.append("the JSON of the link is another")
    for row in expected["rows"]:
        for contender in row["contenders"]:
            for word in contender["name"].split():
                if word.isprintable() and word not in page.text:
                    page.bad.append(("is not shown", word))
    for what in page.bad:
        print(name, what)
print("done")
)py";

TEST(BenchHtml, IsOneFileThatRefersToNothing) {
  const sample::Folder folder;
  for (const auto& [name, report] : samples()) {
    folder.write(name + ".html", to_html(report));
    folder.write(name + ".json", to_json(report));
  }
  EXPECT_EQ(sample::ask_python(folder, check_pages).text, "done\n");
}

TEST(BenchHtml, SaysWhatItMeans) {
  const std::string html = to_html(sample::run());
  for (const char* part :
       {"sendfile costs 0.34 of copy&#39;s CPU per Gbit", "What the columns mean", "@media print",
        "prefers-color-scheme:dark", "LLC load misses per Gbit", "Every metric with its source",
        "--repeat", "zerocopy was not run", "the client used 31% of a core",
        "softirq time is charged to whoever was interrupted"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(html.find("class=\"partial\""), std::string::npos);
  EXPECT_NE(to_html(sample::nothing()).find("class=\"partial\""), std::string::npos);
}

/// Also bytes that are not UTF-8, as a file name may have them.
TEST(BenchHtml, IsUtf8WhateverTheNames) {
  Report report = sample::run();
  report.title = "big\xff\xc3.bin";
  report.rows[0].contenders[1].name = "\xe2\x82";
  report.environment.filesystem = "\xed\xa0\x80";
  summarise(report);
  const sample::Folder folder;
  folder.write("bytes.html", to_html(report));
  folder.write("bytes.json", to_json(report));
  folder.write("bytes.svg", to_svg(report));
  EXPECT_EQ(sample::ask_python(folder, check_pages).text, "done\n");
  EXPECT_EQ(sample::ask_python(folder, check_pictures).text, "bad 0\n");
}

}  // namespace
}  // namespace pagewire::bench
