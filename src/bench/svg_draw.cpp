// The elements of a picture.
#include <fmt/format.h>

#include <cmath>

#include "bench/format_number.h"
#include "bench/svg.h"
#include "text/text.h"

namespace pagewire::bench {

namespace {

constexpr double marker_size = 4.2;

const char* anchor_of(Anchor anchor) {
  switch (anchor) {
    case Anchor::Start:
      return "start";
    case Anchor::Middle:
      return "middle";
    case Anchor::End:
      return "end";
  }
  return "";
}

std::string path_of(const std::vector<Point>& points) {
  std::string data;
  for (const Point& point : points) {
    data += fmt::format("{}{:.1f} {:.1f}", data.empty() ? 'M' : 'L', point.x, point.y);
  }
  return data;
}

/// Around the origin.
std::vector<Point> shape_of(std::size_t marker) {
  constexpr double r = marker_size;
  switch (marker % marker_count) {
    case 1:  // square
      return {{-r, -r}, {r, -r}, {r, r}, {-r, r}};
    case 2:  // triangle, up
      return {{0, -r - 1}, {r + 0.6, r - 0.4}, {-r - 0.6, r - 0.4}};
    case 3:  // diamond
      return {{0, -r - 1.4}, {r + 1.4, 0}, {0, r + 1.4}, {-r - 1.4, 0}};
    case 4:  // triangle, down
      return {{0, r + 1}, {r + 0.6, -r + 0.4}, {-r - 0.6, -r + 0.4}};
    case 5:  // plus
      return {{-1.5, -r}, {1.5, -r}, {1.5, -1.5}, {r, -1.5}, {r, 1.5},   {1.5, 1.5},
              {1.5, r},   {-1.5, r}, {-1.5, 1.5}, {-r, 1.5}, {-r, -1.5}, {-1.5, -1.5}};
  }
  return {};  // circle
}

}  // namespace

double width_of_text(std::string_view text, double size) {
  return static_cast<double>(columns_of(text)) * size * 0.62;
}

void Drawing::text(Point at, Anchor anchor, std::string_view classes, std::string_view text) {
  markup_ +=
      fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n",
                  at.x, at.y, anchor_of(anchor), classes, escape_markup(text));
}

void Drawing::text_within(Point at, Anchor anchor, double width, std::string_view text) {
  constexpr double size = 12;
  const auto columns = static_cast<std::size_t>(std::max(width / (size * 0.62), 1.0));
  markup_ += fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}<title>{}</title></text>\n", at.x, at.y,
      anchor_of(anchor), escape_markup(cut_in_the_middle(text, columns)), escape_markup(text));
}

void Drawing::line(Point from, Point to, std::string_view classes) {
  markup_ += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", classes, path_of({from, to}));
}

void Drawing::path(const std::vector<Point>& points, std::string_view classes) {
  markup_ += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", classes, path_of(points));
}

void Drawing::box(const Box& box, std::string_view classes) {
  markup_ += fmt::format(
      "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
      classes, box.x, box.y, box.width, box.height);
}

void Drawing::bar(const Box& box, const Look& look) {
  this->box(box, fmt::format("pw-b{} pw-outline", look.colour));
  if (look.hatch == 0) return;
  markup_ += fmt::format(
      "<rect fill=\"url(#{}-h{})\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
      "height=\"{:.1f}\"/>\n",
      prefix_, look.hatch, box.x, box.y, box.width, box.height);
}

void Drawing::marker(Point at, const Look& look, bool hollow) {
  const std::string classes = hollow ? fmt::format("pw-hollow pw-c{}", look.colour)
                                     : fmt::format("pw-b{} pw-outline", look.colour);
  const char* const width = hollow ? " stroke-width=\"2\"" : "";
  std::vector<Point> shape = shape_of(look.marker);
  if (shape.empty()) {
    markup_ += fmt::format("<circle class=\"{}\"{} cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"/>\n",
                           classes, width, at.x, at.y, marker_size);
    return;
  }
  for (Point& point : shape) point = {point.x + at.x, point.y + at.y};
  markup_ += fmt::format("<path class=\"{}\"{} d=\"{}Z\"/>\n", classes, width, path_of(shape));
}

}  // namespace pagewire::bench
