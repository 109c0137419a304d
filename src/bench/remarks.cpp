// From summaries to sentences: a table of conditions, each with the words for it.
#include "bench/remarks.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/format_number.h"

namespace pagewire::bench {

namespace {

// From these on a figure says something else than it seems to.
constexpr double busy_client_percent = 90;
constexpr double idle_server_percent = 90;
constexpr double server_wait_percent = 5;
constexpr double steal_percent = 2;
constexpr double reached_share_of_offer = 0.95;
constexpr double wide_extent = 0.3;
constexpr std::size_t sizes_listed = 4;

struct Place {
  const Row& row;
  const Contender& contender;
};

double median_of(Place at, Metric metric, double otherwise) {
  const auto found = at.contender.summary.find(metric);
  if (found == at.contender.summary.end()) return otherwise;
  return found->second.median.value_or(otherwise);
}

bool client_was_bottleneck(Place at) {
  return median_of(at, Metric::ClientCpuPercent, 0) > busy_client_percent &&
         median_of(at, Metric::CpuPercent, 100) < idle_server_percent;
}

bool server_waited(Place at) {
  return median_of(at, Metric::ServerWaitPercent, 0) > server_wait_percent;
}

bool hypervisor_stole(Place at) {
  return median_of(at, Metric::StealPercent, 0) > steal_percent;
}

bool offer_was_missed(Place at) {
  if (!at.row.offered_gbit_per_s) return false;
  const double throughput = median_of(at, Metric::ThroughputGbitPerS, *at.row.offered_gbit_per_s);
  return throughput < *at.row.offered_gbit_per_s * reached_share_of_offer;
}

bool varies(Place at, Metric metric) {
  const auto found = at.contender.summary.find(metric);
  if (found == at.contender.summary.end()) return false;
  const Summary& summary = found->second;
  if (!summary.median || !summary.extent || *summary.median <= 0) return false;
  return (summary.extent->high - summary.extent->low) / *summary.median > wide_extent;
}

bool rounds_differ(Place at) {
  return varies(at, Metric::ThroughputGbitPerS) || varies(at, Metric::CpuMsPerGbit);
}

bool has_one_round(Place at) {
  const auto found = at.contender.summary.find(Metric::ThroughputGbitPerS);
  return found != at.contender.summary.end() && found->second.rounds == 1;
}

bool has_failed_rounds(Place at) {
  return std::any_of(at.contender.rounds.begin(), at.contender.rounds.end(),
                     [](const Round& round) { return !round.failed.empty(); });
}

struct Condition {
  bool (*holds)(Place at);
  std::string_view words;  ///< {} is who
};
constexpr Condition conditions[] = {
    {client_was_bottleneck,
     "The client was the bottleneck (over 90% of its CPU was used while the server's had time "
     "left) of {}: the throughput is the client's."},
    {server_waited,
     "The server had to wait for its CPU for over 5% of the time, another program ran there, with "
     "{}."},
    {hypervisor_stole,
     "The hypervisor took over 2% of the machine's time away during the rounds of {}."},
    {offer_was_missed,
     "The offered load was not reached (by over 5%) by {}: the CPU per byte is not at equal load."},
    {rounds_differ, "The rounds differ by over 30% from least to most with {}."},
    {has_one_round, "There is no confidence interval, because only one round counts, for {}."},
    {has_failed_rounds, "Rounds failed of {}; they are in no summary."},
};

std::string sizes_text(const std::vector<const Row*>& rows) {
  std::string text;
  for (std::size_t i = 0; i < std::min(rows.size(), sizes_listed); ++i) {
    text += (i > 0 ? ", " : "") + format_size(static_cast<double>(rows[i]->size_bytes));
  }
  if (rows.size() <= sizes_listed) return text;
  return text + fmt::format(" and {} more", rows.size() - sizes_listed);
}

/// "sendfile, copy", or with several rows "sendfile (1 KiB, 2 KiB)"; "" for nobody.
std::string who(const std::vector<Row>& rows, bool (*holds)(Place)) {
  std::vector<std::pair<std::string, std::vector<const Row*>>> found;
  for (const Row& row : rows) {
    for (const Contender& contender : row.contenders) {
      if (!holds({row, contender})) continue;
      auto of = std::find_if(found.begin(), found.end(), [&contender](const auto& entry) {
        return entry.first == contender.name;
      });
      if (of == found.end()) of = found.insert(found.end(), {contender.name, {}});
      of->second.push_back(&row);
    }
  }
  std::string text;
  for (const auto& [name, in_rows] : found) {
    text += (text.empty() ? "" : ", ") + name;
    if (rows.size() == 1) continue;
    text += in_rows.size() == rows.size() ? " (every size)" : " (" + sizes_text(in_rows) + ")";
  }
  return text;
}

/// 9,000
std::string with_separators(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

/// "copy (412 of 9,000), splice (3 of 9,000)", over all sizes; "" when every request was in time.
std::string who_was_late(const std::vector<Row>& rows) {
  struct Count {
    std::string_view name;
    std::uint64_t due = 0;
    std::uint64_t late = 0;
  };
  std::vector<Count> counts;
  for (const Row& row : rows) {
    for (const Contender& contender : row.contenders) {
      auto of = std::find_if(counts.begin(), counts.end(), [&contender](const Count& count) {
        return count.name == contender.name;
      });
      if (of == counts.end()) of = counts.insert(counts.end(), {.name = contender.name});
      for (const Round& round : contender.rounds) {
        if (round.instrumented || !round.failed.empty()) continue;
        of->due += round.due_asks;
        of->late += round.late_asks;
      }
    }
  }
  std::string text;
  for (const Count& count : counts) {
    if (count.late == 0) continue;
    text += fmt::format("{}{} ({} of {})", text.empty() ? "" : ", ", count.name,
                        with_separators(count.late), with_separators(count.due));
  }
  return text;
}

/// Which load it was: without it no figure can be compared with another report's.
std::string load_of(const Row& row) {
  if (row.offered_gbit_per_s) {
    return fmt::format(
        "Offered load: {} Gbit/s in all for every path, so that the CPU per byte is compared at "
        "equal load.",
        *row.offered_gbit_per_s);
  }
  return "Saturation: every path sent as fast as it could. The CPU per byte is strictly "
         "comparable only at equal load (--rate).";
}

}  // namespace

std::vector<std::string> remarks_of(const std::vector<Row>& rows) {
  std::vector<std::string> remarks;
  if (rows.empty()) return remarks;
  remarks.push_back(load_of(rows.front()));
  if (const std::string late = who_was_late(rows); !late.empty()) {
    remarks.push_back("At the offered rate requests could not go out in time (within 1 ms) with " +
                      late + ".");
  }
  for (const Condition& condition : conditions) {
    const std::string concerned = who(rows, condition.holds);
    if (!concerned.empty()) {
      remarks.push_back(fmt::format(fmt::runtime(condition.words), concerned));
    }
  }
  return remarks;
}

}  // namespace pagewire::bench
