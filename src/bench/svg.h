// Pictures of a report: our own small SVG writer, and the panels that are drawn with it. Pure.
//
// A panel is one diagram with a size of its own; a document puts panels beside and below each
// other. Everything is in the file: no script, no font, no reference. Colours follow the reader's
// scheme (prefers-color-scheme), on a background of their own, so that a picture reads on any page.
// A contender is told by colour (Okabe and Ito's, which colour-blind readers can tell apart) and by
// hatching, dash and marker, never by colour alone.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench {

struct Point {
  double x = 0;
  double y = 0;
};

struct Box {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

enum class Anchor : std::uint8_t { Start, Middle, End };

/// How one contender is drawn; by its place in the report, the baseline first.
struct Look {
  std::size_t colour = 0;  ///< class pw-cN
  std::size_t hatch = 0;   ///< pattern N; 0: solid
  std::size_t dash = 0;    ///< class pw-dN
  std::size_t marker = 0;
};
inline constexpr std::size_t colour_count = 8;
inline constexpr std::size_t hatch_count = 6;
inline constexpr std::size_t dash_count = 5;
inline constexpr std::size_t marker_count = 6;

Look look_of(const Report& report, const std::string& contender);

/// Writes elements. Classes are those of style_sheet(); texts are escaped.
class Drawing {
 public:
  /// `prefix` begins every id, so that several documents can stand in one HTML page.
  explicit Drawing(std::string prefix) : prefix_(std::move(prefix)) {}

  void text(Point at, Anchor anchor, std::string_view classes, std::string_view text);
  /// `text` cut to what fits in `width`; the whole of it as a tooltip.
  void text_within(Point at, Anchor anchor, double width, std::string_view text);
  void line(Point from, Point to, std::string_view classes);
  void path(const std::vector<Point>& points, std::string_view classes);
  void box(const Box& box, std::string_view classes);
  void bar(const Box& box, const Look& look);
  void marker(Point at, const Look& look, bool hollow);

  const std::string& markup() const { return markup_; }

 private:
  std::string prefix_;
  std::string markup_;
};

/// Of a text of `size` pixels; an upper bound for the usual fonts.
double width_of_text(std::string_view text, double size);

struct Panel {
  std::string title;
  std::string description;  ///< for who cannot see it: the figures in a sentence
  double width = 0;
  double height = 0;
  std::string markup;
};

/// The panels of a report, in lines of panels that belong beside each other, each with a heading
/// ("" where the panels say it all). None when there is no figure.
struct PanelLine {
  std::string heading;
  std::vector<Panel> panels;
};
std::vector<PanelLine> panels_of(const Report& report, const std::string& prefix);

/// A document of one panel, for the HTML page; the prefix is that of panels_of(). `number` counts
/// from 1: the first one holds what all of them refer to.
std::string svg_of(const Panel& panel, const std::string& prefix, std::size_t number);

// Inside: what the two kinds of panels are made by.

/// Horizontal bars with whiskers, one a contender.
Panel bars(const Report& report, const Row& row, Metric metric, const std::string& prefix);
/// p50 and p99 on a logarithmic axis, one line a contender.
Panel latencies(const Report& report, const Row& row, const std::string& prefix);

struct CurveSpec {
  Metric metric = Metric::CpuMsPerGbit;
  bool as_ratio = false;          ///< to the baseline's
  bool with_break_evens = false;  ///< as marks above the plot
};
/// Curves over the rows' sizes, both axes logarithmic.
Panel curves(const Report& report, const CurveSpec& spec, const std::string& prefix);
bool has_curve(const Report& report, const CurveSpec& spec);

}  // namespace pagewire::bench
