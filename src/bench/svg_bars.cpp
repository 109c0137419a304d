// Bars with whiskers, and latencies, one line a contender. Horizontal, so that names are read
// without turning the head and any number of contenders finds room.
#include <fmt/format.h>

#include <algorithm>

#include "bench/format_number.h"
#include "bench/sheet.h"
#include "bench/svg.h"
#include "bench/svg_scale.h"

namespace pagewire::bench {

namespace {

constexpr double panel_width = 430;
constexpr double names_top = 48;
constexpr double line_height = 28;
constexpr double bar_height = 16;
constexpr double axis_height = 44;
constexpr double shortest_name = 50;
constexpr double longest_name = 170;
constexpr double gap = 8;
constexpr double text_size = 12;

struct Layout {
  double left = 0;   ///< where the axis begins
  double right = 0;  ///< where it ends
  double bottom = 0;

  double height() const { return bottom + axis_height; }
};

/// `widest` is the longest text that stands to the right of a bar.
Layout layout_of(const Row& row, double widest) {
  double names = shortest_name;
  for (const Contender& contender : row.contenders) {
    names = std::max(names, width_of_text(contender.name, text_size));
  }
  return {.left = std::min(names, longest_name) + gap,
          .right = panel_width - widest - gap,
          .bottom = names_top + line_height * static_cast<double>(row.contenders.size())};
}

void draw_titles(Drawing& drawing, std::string_view title, std::string_view below) {
  drawing.text({0, 14}, Anchor::Start, "pw-h2", title);
  drawing.text({0, 32}, Anchor::Start, "pw-soft pw-small", below);
}

/// As many labels as fit side by side.
void draw_axis(Drawing& drawing, const Scale& scale, const Layout& layout, std::string_view unit) {
  double free_from = -1;
  for (const double tick : ticks_of(scale)) {
    const double x = scale.at(tick);
    drawing.line({x, names_top - 4}, {x, layout.bottom}, "pw-rule");
    const std::string label = format_tick(tick);
    const double half = width_of_text(label, 11) / 2;
    if (x - half < free_from) continue;
    drawing.text({x, layout.bottom + 15}, Anchor::Middle, "pw-soft pw-small", label);
    free_from = x + half + 4;
  }
  drawing.line({layout.left, layout.bottom}, {layout.right, layout.bottom}, "pw-axis");
  drawing.text({(layout.left + layout.right) / 2, layout.bottom + 32}, Anchor::Middle,
               "pw-soft pw-small", unit);
}

/// An end that lies outside the axis has no cap: the interval goes on.
void draw_whisker(Drawing& drawing, const Bounds& interval, const Scale& scale, double y) {
  constexpr double cap = 4;
  const double low = scale.at(std::max(interval.low, scale.values.low));
  const double high = scale.at(std::min(interval.high, scale.values.high));
  for (const char* classes : {"pw-halo", "pw-whisker"}) {
    drawing.line({low, y}, {high, y}, classes);
    if (interval.low >= scale.values.low) drawing.line({low, y - cap}, {low, y + cap}, classes);
    if (interval.high <= scale.values.high) drawing.line({high, y - cap}, {high, y + cap}, classes);
  }
}

/// Why there is no bar, in a word; the sentence stands in the lists.
const char* absence_of(const Contender& contender) {
  return contender.unavailable.empty() ? "no figure" : "not run";
}

void draw_name(Drawing& drawing, const Layout& layout, const Contender& contender, double middle) {
  drawing.text_within({layout.left - gap, middle + 4}, Anchor::End, longest_name, contender.name);
}

double highest_of(const Summary& summary) {
  double highest = *summary.median;
  if (summary.ci95) highest = std::max(highest, summary.ci95->high);
  return summary.range ? std::max(highest, summary.range->high) : highest;
}

/// Where the axis has to reach. Two rounds far apart have an interval of many times the value; the
/// bars would be nothing beside it.
double most_of(const Row& row, Metric metric) {
  constexpr double room_for_intervals = 1.6;
  double median = 0;
  double highest = 0;
  for (const Contender& contender : row.contenders) {
    const Summary* const summary = summary_with_value(contender, metric);
    if (summary == nullptr) continue;
    median = std::max(median, *summary->median);
    highest = std::max(highest, highest_of(*summary));
  }
  return std::min(highest, room_for_intervals * median);
}

const char* better_of(Better better) {
  switch (better) {
    case Better::Lower:
      return "less is better";
    case Better::Higher:
      return "more is better";
    case Better::Neither:
      break;
  }
  return "neither way is better";
}

std::string capital(std::string_view text) {
  std::string changed(text);
  if (!changed.empty() && changed[0] >= 'a' && changed[0] <= 'z') {
    changed[0] = static_cast<char>(changed[0] - 'a' + 'A');
  }
  return changed;
}

/// "throughput in Gbit/s: copy 18.5 ±0.2, sendfile 45.2 ±0.5."
std::string described(const Row& row, Metric metric) {
  std::string text =
      fmt::format("{}: {} in {}: ", row.title, info(metric).title, info(metric).unit);
  const char* separator = "";
  for (const Contender& contender : row.contenders) {
    const Summary* const summary = summary_with_value(contender, metric);
    text += fmt::format("{}{} {}", separator, contender.name,
                        summary ? format_summary(metric, *summary) : absence_of(contender));
    separator = ", ";
  }
  return text + ".";
}

}  // namespace

Panel bars(const Report& report, const Row& row, Metric metric, const std::string& prefix) {
  double widest = width_of_text("not run", text_size);
  for (const Contender& contender : row.contenders) {
    const Summary* const summary = summary_with_value(contender, metric);
    if (summary == nullptr) continue;
    widest = std::max(widest, width_of_text(format_summary(metric, *summary), text_size));
  }
  const Layout layout = layout_of(row, widest);
  const Scale scale = linear_scale(most_of(row, metric), {layout.left, layout.right});

  Drawing drawing(prefix);
  draw_titles(
      drawing, capital(info(metric).title),
      fmt::format("median and 95% interval of the mean; {}", better_of(info(metric).better)));
  draw_axis(drawing, scale, layout, fmt::format("{}, {}", info(metric).title, info(metric).unit));
  double middle = names_top + line_height / 2;
  for (const Contender& contender : row.contenders) {
    draw_name(drawing, layout, contender, middle);
    if (const Summary* const summary = summary_with_value(contender, metric)) {
      const double end = scale.at(*summary->median);
      drawing.bar({layout.left, middle - bar_height / 2, end - layout.left, bar_height},
                  look_of(report, contender.name));
      if (summary->ci95) draw_whisker(drawing, *summary->ci95, scale, middle);
      const double edge = scale.at(std::min(highest_of(*summary), scale.values.high));
      drawing.text({edge + gap, middle + 4}, Anchor::Start, "", format_summary(metric, *summary));
    } else {
      drawing.text({layout.left + gap, middle + 4}, Anchor::Start, "pw-soft",
                   absence_of(contender));
    }
    middle += line_height;
  }
  return {.title = fmt::format("{}: {}", row.title, info(metric).title),
          .description = described(row, metric),
          .width = panel_width,
          .height = layout.height(),
          .markup = drawing.markup()};
}

namespace {

// ---------------------------------------------------------------- latencies

struct LatencyPair {
  const Summary* p50 = nullptr;
  const Summary* p99 = nullptr;

  bool is_complete() const { return p50 && p99 && *p50->median > 0 && *p99->median > 0; }
  std::string text() const {
    return format_number(*p50->median) + " / " + format_number(*p99->median);
  }
};

LatencyPair latencies_of(const Contender& contender) {
  return {.p50 = summary_with_value(contender, Metric::LatencyP50Us),
          .p99 = summary_with_value(contender, Metric::LatencyP99Us)};
}

void draw_latency(Drawing& drawing, const LatencyPair& pair, const Scale& scale, const Look& look,
                  double middle) {
  const double p50 = scale.at(*pair.p50->median);
  const double p99 = scale.at(*pair.p99->median);
  drawing.line({p50, middle}, {p99, middle}, fmt::format("pw-curve pw-c{}", look.colour));
  if (pair.p50->ci95) draw_whisker(drawing, *pair.p50->ci95, scale, middle);
  if (pair.p99->ci95) draw_whisker(drawing, *pair.p99->ci95, scale, middle);
  drawing.marker({p50, middle}, look, false);
  drawing.marker({p99, middle}, look, true);
}

}  // namespace

Panel latencies(const Report& report, const Row& row, const std::string& prefix) {
  double widest = width_of_text("not run", text_size);
  Bounds all{1e300, 0};
  for (const Contender& contender : row.contenders) {
    const LatencyPair pair = latencies_of(contender);
    if (!pair.is_complete()) continue;
    widest = std::max(widest, width_of_text(pair.text(), text_size));
    all = {std::min(all.low, *pair.p50->median), std::max(all.high, *pair.p99->median)};
  }
  const Layout layout = layout_of(row, widest);
  const std::optional<Scale> scale = log_scale(all, {layout.left, layout.right});

  Drawing drawing(prefix);
  draw_titles(drawing, "Latency of an answer",
              "p50 (filled) and p99 (hollow), 95% intervals; logarithmic; less is better");
  if (scale) draw_axis(drawing, *scale, layout, "latency p50 / p99, us");
  double middle = names_top + line_height / 2;
  for (const Contender& contender : row.contenders) {
    const LatencyPair pair = latencies_of(contender);
    draw_name(drawing, layout, contender, middle);
    if (scale && pair.is_complete()) {
      draw_latency(drawing, pair, *scale, look_of(report, contender.name), middle);
      drawing.text({panel_width, middle + 4}, Anchor::End, "", pair.text());
    } else {
      drawing.text({layout.left + gap, middle + 4}, Anchor::Start, "pw-soft",
                   absence_of(contender));
    }
    middle += line_height;
  }
  return {.title = row.title + ": latency",
          .description =
              described(row, Metric::LatencyP50Us) + " " + described(row, Metric::LatencyP99Us),
          .width = panel_width,
          .height = layout.height(),
          .markup = drawing.markup()};
}

}  // namespace pagewire::bench
