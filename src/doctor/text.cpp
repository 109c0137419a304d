// What doctor prints. From 60 columns on a line is status, name and finding side by side; below,
// the finding stands under its name.
#include <fmt/format.h>

#include <algorithm>

#include "doctor/check.h"
#include "doctor/doctor.h"
#include "text/text.h"

namespace pagewire::doctor {

namespace {

constexpr std::size_t side_by_side = 60;
constexpr std::size_t status_columns = 9;
constexpr std::size_t name_columns = 17;
constexpr std::string_view normal = "\x1b[0m";
constexpr std::string_view bold = "\x1b[1m";
constexpr std::string_view dim = "\x1b[2m";

std::string_view colour_of(Status status) {
  switch (status) {
    case Status::Ok:
      return "\x1b[32m";
    case Status::Warning:
      return "\x1b[33m";
    case Status::Failed:
      return "\x1b[31m";
    case Status::Unknown:
      return "\x1b[36m";
  }
  return "";
}

class Page {
 public:
  explicit Page(const TextOptions& options)
      : options_(options), columns_(std::max<std::size_t>(options.columns, 20)) {}

  void heading(std::string_view text) {
    text_ += '\n';
    for (const std::string& line : wrap(text, columns_)) text_ += painted(bold, line) + '\n';
  }
  /// `text` in lines, each behind `indent` spaces; the first one behind `label`.
  void paragraph(std::size_t indent, std::string_view label, std::string_view text) {
    const std::size_t begin = indent + columns_of(label);
    const auto lines = wrap(text, columns_ > begin + 10 ? columns_ - begin : 10);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      text_ += i == 0 ? std::string(indent, ' ') + painted(dim, label) : std::string(begin, ' ');
      text_ += lines[i] + '\n';
    }
  }
  void entry(const Entry& entry);
  std::string take() { return std::move(text_); }

 private:
  bool wide() const { return columns_ >= side_by_side; }
  std::string painted(std::string_view colour, std::string_view text) const {
    if (!options_.colour || text.empty()) return std::string(text);
    return fmt::format("{}{}{}", colour, text, normal);
  }
  void details(const Entry& entry, std::size_t indent);

  const TextOptions& options_;
  std::size_t columns_;
  std::string text_;
};

void Page::entry(const Entry& entry) {
  const Finding& finding = entry.finding;
  const std::string_view status = name(finding.status);
  const std::string said = finding.status == Status::Unknown
                               ? fmt::format("{}: {}", finding.found, finding.reason)
                               : finding.found;
  text_ += "  " + painted(colour_of(finding.status), status);
  text_.append(wide() ? status_columns - status.size() : 1, ' ');
  text_ += entry.name;
  const std::size_t indent = wide() ? 2 + status_columns + name_columns : 4;
  const std::size_t room = columns_ - std::min(columns_, indent);
  std::vector<std::string> lines = wrap(said, std::max<std::size_t>(room, 10));
  // What is well needs no more than a line.
  if (finding.status == Status::Ok && !options_.verbose) lines = {cut_to(said, room)};
  if (wide()) {
    text_.append(name_columns - std::min(name_columns - 1, entry.name.size()), ' ');
  } else {
    text_ += '\n' + std::string(indent, ' ');
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    text_ += (i == 0 ? "" : std::string(indent, ' ')) + lines[i] + '\n';
  }
  details(entry, indent);
}

void Page::details(const Entry& entry, std::size_t indent) {
  const Finding& finding = entry.finding;
  if (options_.verbose) paragraph(indent, "looked at ", finding.looked_at);
  std::string costs = finding.costs;
  if (finding.estimate) costs += fmt::format(" (about {})", text_of(*finding.estimate));
  if (!costs.empty()) paragraph(indent, "costs ", costs);
  if (!finding.mend.empty()) paragraph(indent, "mend  ", finding.mend);
  if (options_.verbose || finding.status == Status::Warning || finding.status == Status::Failed) {
    paragraph(indent, "see   ", entry.link);
  }
}

std::string joined(const std::vector<std::string>& words) {
  return words.empty() ? "no interface is up" : fmt::format("{}", fmt::join(words, ", "));
}

std::string title_of(const Entry& entry) {
  switch (entry.group) {
    case Group::Kernel:
      return "Kernel";
    case Group::Network:
      return "Network " + entry.interface;
    case Group::Filesystem:
      return "Filesystem of ROOT";
    case Group::Machine:
      return "Memory and CPU";
  }
  return "";
}

void add_verdict(const Verdict& verdict, Page& page) {
  page.heading("Verdict");
  page.paragraph(2, "", verdict.text);
  page.heading("Which path a body takes");
  for (const BodyPath& path : verdict.paths) {
    page.paragraph(
        2, "",
        fmt::format("{}: {} ({}){}", path.body, path.path, path.reason,
                    path.over_loopback.empty() ? "" : "; over loopback " + path.over_loopback));
  }
  page.heading("What wrong settings cost here (estimates)");
  for (const WrongSetting& each : verdict.wrong_settings) {
    page.paragraph(2, each.here ? "! " : "- ",
                   fmt::format("{}: {}{}", each.setting,
                               each.cost ? text_of(*each.cost) + "; " : "", each.basis));
  }
  if (verdict.changes.empty()) return;
  page.heading("Changes worth making first");
  int number = 0;
  for (const Change& change : verdict.changes) {
    page.paragraph(
        2, fmt::format("{}. ", ++number),
        fmt::format("{}: {}{}", change.check, change.mend,
                    change.saves ? fmt::format(" (saves about {})", text_of(*change.saves)) : ""));
  }
}

std::string count_text(const Examined& examined) {
  const auto count = [&](Status status) {
    return std::ranges::count_if(
        examined.entries, [status](const Entry& entry) { return entry.finding.status == status; });
  };
  const auto warnings = count(Status::Warning);
  return fmt::format("{} ok, {} {}, {} failed, {} unknown; took {:.1f} s", count(Status::Ok),
                     warnings, warnings == 1 ? "warning" : "warnings", count(Status::Failed),
                     count(Status::Unknown), examined.took_s);
}

}  // namespace

std::string to_text(const Examined& examined, const TextOptions& options) {
  Page page(options);
  page.paragraph(0, "pagewire doctor: ",
                 fmt::format("Linux {}, {} CPUs, {} on {}, {}{}", examined.kernel, examined.cpus,
                             examined.root, examined.filesystem.empty() ? "?" : examined.filesystem,
                             joined(examined.interfaces),
                             examined.calibration.empty() ? "" : "; " + examined.calibration));
  std::string title;
  for (const Entry& entry : examined.entries) {
    if (title != title_of(entry)) {
      title = title_of(entry);
      page.heading(title);
    }
    page.entry(entry);
  }
  add_verdict(examined.verdict, page);
  std::vector<std::string> as_root;
  for (const Entry& entry : examined.entries) {
    if (!entry.finding.as_root.empty()) as_root.push_back(entry.finding.as_root);
  }
  if (!as_root.empty()) {
    page.heading("As root");
    page.paragraph(2, "", fmt::format("doctor would also see {}", fmt::join(as_root, "; ")));
  }
  page.heading(count_text(examined));
  return page.take();
}

}  // namespace pagewire::doctor
