// Curves over the size of an object, for a sweep: both axes logarithmic, a curve a path.
#include <fmt/format.h>

#include <algorithm>

#include "bench/facts.h"
#include "bench/format_number.h"
#include "bench/sheet.h"
#include "bench/svg.h"
#include "bench/svg_scale.h"

namespace pagewire::bench {

namespace {

constexpr double panel_width = 540;
constexpr double plot_height = 270;
constexpr double titles_height = 42;
constexpr double legend_line = 20;
constexpr double mark_line = 16;
constexpr double axis_height = 44;
constexpr double left = 62;
constexpr double right = panel_width - 24;
constexpr double sample_width = 34;
constexpr double text_size = 12;

struct Dot {
  double size = 0;
  double value = 0;
  std::optional<Bounds> ci95;
};

struct Curve {
  std::string name;
  Look look;
  std::vector<Dot> dots;
};

/// What has a place on logarithmic axes.
std::optional<Dot> dot_of(const Row& row, const std::string& name, const CurveSpec& spec) {
  const auto contender = std::ranges::find(row.contenders, name, &Contender::name);
  if (contender == row.contenders.end() || row.size_bytes == 0) return std::nullopt;
  const Summary* const summary = summary_with_value(*contender, spec.metric);
  if (summary == nullptr) return std::nullopt;
  const auto value =
      spec.as_ratio ? ratio_to_baseline(row, *contender, spec.metric) : summary->median;
  if (!value || !(*value > 0)) return std::nullopt;
  return Dot{.size = static_cast<double>(row.size_bytes),
             .value = *value,
             .ci95 = spec.as_ratio ? std::nullopt : summary->ci95};
}

std::vector<Curve> curves_of(const Report& report, const CurveSpec& spec) {
  std::vector<Curve> all;
  for (const std::string& name : contender_names(report)) {
    Curve curve{.name = name, .look = look_of(report, name), .dots = {}};
    for (const Row& row : report.rows) {
      if (const auto dot = dot_of(row, name, spec)) curve.dots.push_back(*dot);
    }
    std::ranges::sort(curve.dots, {}, &Dot::size);
    if (!curve.dots.empty()) all.push_back(std::move(curve));
  }
  return all;
}

struct Plot {
  double top = 0;
  double bottom = 0;
  Scale sizes;
  Scale values;

  Point at(double size, double value) const { return {sizes.at(size), values.at(value)}; }
};

/// Nullopt where there is nothing to draw.
std::optional<Plot> plot_of(const std::vector<Curve>& all, double top) {
  Bounds sizes{1e300, 0};
  Bounds values{1e300, 0};
  for (const Curve& curve : all) {
    for (const Dot& dot : curve.dots) {
      sizes = {std::min(sizes.low, dot.size), std::max(sizes.high, dot.size)};
      values = {std::min(values.low, dot.value), std::max(values.high, dot.value)};
    }
  }
  const double bottom = top + plot_height;
  const auto x = log_scale(sizes, {left, right});
  const auto y = log_scale(values, {bottom, top});
  if (!x || !y) return std::nullopt;
  return Plot{.top = top, .bottom = bottom, .sizes = *x, .values = *y};
}

// ---------------------------------------------------------------- axes

/// A tick at each size that was measured; labels as they fit.
void draw_sizes(Drawing& drawing, const Report& report, const Plot& plot) {
  double free_from = -1;
  for (const Row& row : report.rows) {
    const auto size = static_cast<double>(row.size_bytes);
    if (size < plot.sizes.values.low || size > plot.sizes.values.high) continue;
    const double x = plot.sizes.at(size);
    drawing.line({x, plot.top}, {x, plot.bottom + 4}, "pw-rule");
    const std::string label = format_size(size);
    const double half = width_of_text(label, 11) / 2;
    if (x - half < free_from) continue;
    drawing.text({x, plot.bottom + 17}, Anchor::Middle, "pw-soft pw-small", label);
    free_from = x + half + 6;
  }
  drawing.line({left, plot.bottom}, {right, plot.bottom}, "pw-axis");
  drawing.text({(left + right) / 2, plot.bottom + 35}, Anchor::Middle, "pw-soft pw-small",
               "size of the object, logarithmic");
}

void draw_values(Drawing& drawing, const Plot& plot) {
  double free_below = 1e300;
  for (const double tick : ticks_of(plot.values)) {
    const double y = plot.values.at(tick);
    drawing.line({left, y}, {right, y}, "pw-rule");
    if (y > free_below) continue;
    drawing.text({left - 6, y + 4}, Anchor::End, "pw-soft pw-small", format_tick(tick));
    free_below = y - 14;
  }
  drawing.line({left, plot.top}, {left, plot.bottom}, "pw-axis");
}

// ---------------------------------------------------------------- curves

void draw_curve(Drawing& drawing, const Curve& curve, const Plot& plot) {
  const std::string colour = fmt::format("pw-c{}", curve.look.colour);
  std::vector<Point> points;
  for (const Dot& dot : curve.dots) {
    points.push_back(plot.at(dot.size, dot.value));
    if (!dot.ci95) continue;
    const double low = std::max(dot.ci95->low, plot.values.values.low);
    const double high = std::min(dot.ci95->high, plot.values.values.high);
    drawing.line(plot.at(dot.size, low), plot.at(dot.size, high), "pw-interval " + colour);
  }
  drawing.path(points, fmt::format("pw-curve {} pw-d{}", colour, curve.look.dash));
  for (const Point& point : points) drawing.marker(point, curve.look, false);
}

bool is_on(const Plot& plot, const BreakEven& found) {
  const Bounds& sizes = plot.sizes.values;
  return found.size_bytes && *found.size_bytes >= sizes.low && *found.size_bytes <= sizes.high;
}

/// Where each path becomes cheaper: a line with its interval as a band.
void draw_break_evens(Drawing& drawing, const Report& report, const Plot& plot) {
  double top = plot.top - 3;
  for (const BreakEven& found : report.break_evens) {
    if (!is_on(plot, found)) continue;
    const Look look = look_of(report, found.path);
    if (found.ci95) {
      const double low = plot.sizes.at(std::max(found.ci95->low, plot.sizes.values.low));
      const double high = plot.sizes.at(std::min(found.ci95->high, plot.sizes.values.high));
      drawing.box({low, plot.top, std::max(high - low, 0.0), plot_height},
                  fmt::format("pw-band pw-b{}", look.colour));
    }
    const double x = plot.sizes.at(*found.size_bytes);
    drawing.line({x, top}, {x, plot.bottom},
                 fmt::format("pw-break pw-c{} pw-d{}", look.colour, look.dash));
    top -= mark_line;
  }
}

/// Their names above the plot, over the lines of those above them.
void name_break_evens(Drawing& drawing, const Report& report, const Plot& plot) {
  double y = plot.top - 6;
  for (const BreakEven& found : report.break_evens) {
    if (!is_on(plot, found)) continue;
    const double x = plot.sizes.at(*found.size_bytes);
    const bool is_far_right = x > (left + right) / 2;
    drawing.text({is_far_right ? x - 4 : x + 4, y}, is_far_right ? Anchor::End : Anchor::Start,
                 "pw-small pw-mark",
                 fmt::format("{} from {}", cut_to(found.path, 24), format_size(*found.size_bytes)));
    y -= mark_line;
  }
}

// ---------------------------------------------------------------- legend

/// Returns how many lines the legend takes; draws when there is something to draw on.
std::size_t legend(const std::vector<Curve>& all, Drawing* drawing) {
  double x = 0;
  double y = titles_height + legend_line / 2;
  std::size_t lines = 1;
  for (const Curve& curve : all) {
    const std::string name = cut_to(curve.name, 30);
    const double width = sample_width + 8 + width_of_text(name, text_size) + 14;
    if (x > 0 && x + width > panel_width) {
      x = 0;
      y += legend_line;
      ++lines;
    }
    if (drawing != nullptr) {
      drawing->line({x, y}, {x + sample_width, y},
                    fmt::format("pw-curve pw-c{} pw-d{}", curve.look.colour, curve.look.dash));
      drawing->marker({x + sample_width / 2, y}, curve.look, false);
      drawing->text({x + sample_width + 8, y + 4}, Anchor::Start, "", name);
    }
    x += width;
  }
  return lines;
}

std::string title_of(const Report& report, const CurveSpec& spec) {
  const std::string baseline = report.rows.empty() ? "copy" : report.rows.front().baseline;
  std::string title(info(spec.metric).title);
  if (title[0] >= 'a' && title[0] <= 'z') title[0] = static_cast<char>(title[0] - 'a' + 'A');
  if (spec.as_ratio) return fmt::format("{}, {} = 1", title, baseline);
  return fmt::format("{}, {}", title, info(spec.metric).unit);
}

std::string subtitle_of(const CurveSpec& spec) {
  std::string text = spec.as_ratio ? "below 1 is cheaper" : "median and 95% interval of the mean";
  if (spec.with_break_evens) text += "; bands: where a path becomes cheaper";
  return text;
}

std::string described(const Report& report, const CurveSpec& spec, const std::vector<Curve>& all) {
  std::string text = title_of(report, spec) + ", by the size of the object. ";
  for (const Curve& curve : all) {
    text +=
        fmt::format("{}: {} at {}, {} at {}. ", curve.name, format_number(curve.dots.front().value),
                    format_size(curve.dots.front().size), format_number(curve.dots.back().value),
                    format_size(curve.dots.back().size));
  }
  if (!spec.with_break_evens) return text;
  for (const std::string& verdict : verdicts_of(report)) text += verdict + ". ";
  return text;
}

}  // namespace

bool has_curve(const Report& report, const CurveSpec& spec) {
  return plot_of(curves_of(report, spec), 0).has_value();
}

Panel curves(const Report& report, const CurveSpec& spec, const std::string& prefix) {
  const std::vector<Curve> all = curves_of(report, spec);
  const std::size_t marks = spec.with_break_evens ? report.break_evens.size() : 0;
  const double top = titles_height + legend_line * static_cast<double>(legend(all, nullptr)) +
                     mark_line * static_cast<double>(marks) + 10;
  const std::optional<Plot> plot = plot_of(all, top);
  Drawing drawing(prefix);
  drawing.text({0, 14}, Anchor::Start, "pw-h2", title_of(report, spec));
  drawing.text({0, 32}, Anchor::Start, "pw-soft pw-small", subtitle_of(spec));
  (void)legend(all, &drawing);
  if (plot) {
    draw_sizes(drawing, report, *plot);
    draw_values(drawing, *plot);
    if (spec.with_break_evens) {
      draw_break_evens(drawing, report, *plot);
      name_break_evens(drawing, report, *plot);
    }
    if (spec.as_ratio && 1 > plot->values.values.low && 1 < plot->values.values.high) {
      drawing.line({left, plot->values.at(1)}, {right, plot->values.at(1)}, "pw-one");
    }
    for (const Curve& curve : all) draw_curve(drawing, curve, *plot);
  }
  return {.title = title_of(report, spec),
          .description = described(report, spec, all),
          .width = panel_width,
          .height = top + plot_height + axis_height,
          .markup = drawing.markup()};
}

}  // namespace pagewire::bench
