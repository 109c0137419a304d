// Invariant: which path a body takes is not worked out here: serve's chooser is asked, with what
// the self-test found, on a file of that size that nobody reads.
#include "doctor/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "content/content.h"

namespace pagewire::doctor {

namespace {

using content::Segment;
using egress::Transport;

constexpr ByteCount small_body{4 * kib};
constexpr ByteCount large_body{mib};

struct Body {
  std::string_view name;
  ByteCount size;
  egress::Residency residency;
  bool tls;
};
constexpr std::array bodies{
    Body{"small, 4 KiB", small_body, egress::Residency::Resident, false},
    Body{"large, 1 MiB", large_body, egress::Residency::Resident, false},
    Body{"cold, 1 MiB", large_body, egress::Residency::Cold, false},
    Body{"large over TLS", large_body, egress::Residency::Resident, true},
};

/// Asks serve's chooser.
egress::Choice choice_for(const Body& body, egress::Route route, const Examination& examination) {
  const egress::WorkerFacts facts(examination.settings.chooser, examination.paths.usable(),
                                  examination.paths.quarantined());
  // The chooser looks at sizes alone, so that no file needs to be open.
  const content::FileRef file(new content::OpenFile(sys::Fd(), {}));
  const std::array segments{Segment::of_memory("HTTP/1.1 200 OK\r\n\r\n"),
                            Segment::of_file(*file.get(), {FileOffset{0}, body.size})};
  egress::SocketState state;
  egress::ChooseInput input{.segments = segments,
                            .transport = {.state = &state},
                            .route = route,
                            .residency = body.residency};
  if (body.tls) {
    input.transport.kind =
        examination.kernel_tls ? Transport::Kind::KernelTls : Transport::Kind::UserTls;
  }
  return egress::choose(input, facts);
}

std::vector<BodyPath> paths_of(const Examination& examination) {
  std::vector<BodyPath> paths;
  for (const Body& body : bodies) {
    const egress::Choice far = choice_for(body, egress::Route::Network, examination);
    const egress::Choice near = choice_for(body, egress::Route::Loopback, examination);
    paths.push_back({.body = std::string(body.name),
                     .path = std::string(far.path->name),
                     .reason = std::string(egress::token(far.reason)),
                     .over_loopback = near.path == far.path ? "" : std::string(near.path->name)});
  }
  return paths;
}

bool is_wrong(std::span<const Entry> entries, std::string_view check) {
  return std::ranges::any_of(entries, [check](const Entry& entry) {
    return entry.name == check &&
           (entry.finding.status == Status::Warning || entry.finding.status == Status::Failed);
  });
}

bool is_path(const std::vector<BodyPath>& paths, std::string_view body, std::string_view path) {
  return std::ranges::any_of(paths, [&](const BodyPath& each) {
    return each.body.starts_with(body) && each.path == path;
  });
}

/// What copying costs more than sendfile, as the calibration measured it at this size.
std::optional<Cost> measured_difference(const egress::ChooserSettings& chooser, ByteCount size) {
  for (const egress::CostsAtSize& here : chooser.costs) {
    if (here.size != size) continue;
    const auto cost_of = [&here](std::string_view name) {
      return std::ranges::find_if(
          here.costs, [name](const egress::Cost& cost) { return cost.path->name == name; });
    };
    const auto copy = cost_of("copy");
    const auto sendfile = cost_of("sendfile");
    if (copy == here.costs.end() || sendfile == here.costs.end()) return std::nullopt;
    return Cost{.low = std::max(copy->low - sendfile->high, 0.0),
                .high = std::max(copy->high - sendfile->low, 0.0)};
  }
  return std::nullopt;
}

WrongSetting copied_bodies(const Examination& examination, bool here) {
  const std::optional<Cost> measured =
      measured_difference(examination.settings.chooser, large_body);
  return {.setting = "large bodies copied (--path copy, or no sendfile here)",
          .cost = measured ? measured : examination.measured.copies(two_copies),
          .basis = measured ? "measured by the calibration at 1 MiB"
                            : "two copies of every byte at the measured bandwidth",
          .here = here};
}

bool is_only_loopback(const Examination& examination) {
  return std::ranges::all_of(examination.interfaces,
                             [](const Interface& interface) { return interface.name == "lo"; });
}

std::vector<WrongSetting> wrong_settings(const Examination& examination,
                                         std::span<const Entry> entries,
                                         const std::vector<BodyPath>& paths) {
  const Measured& measured = examination.measured;
  const std::string stall =
      examination.cold_read_ms
          ? fmt::format(
                "no CPU, but each cold page stops all connections of a worker for about "
                "{:.2f} ms, as measured in ROOT",
                *examination.cold_read_ms)
          : "no CPU, but each cold page stops all connections of a worker until the disk answers";
  return {
      copied_bodies(examination, is_path(paths, "large, 1 MiB", "copy")),
      {.setting = "HTTPS without kernel TLS",
       .cost = measured.copies(tls_copies),
       .basis = "one to two copies of every byte; encrypting costs the same on both sides",
       .here = is_wrong(entries, "kernel-tls")},
      {.setting = "a card without scatter-gather or checksums",
       .cost = measured.copies(one_copy),
       .basis = "the kernel copies every byte once; without checksums it adds it up as well",
       .here = is_wrong(entries, "scatter-gather") || is_wrong(entries, "checksum")},
      {.setting = "MSG_ZEROCOPY where the kernel copies all the same (lo, veth)",
       .cost = measured.copies(one_copy),
       .basis = "the copy that it was meant to save; completions come on top",
       .here = is_path(paths, "large, 1 MiB", "zerocopy") && is_only_loopback(examination)},
      {.setting = "small bodies by sendfile (--path sendfile, --small-body 0)",
       .cost = measured.calls(1, small_body),
       .basis = "one system call more for each body of 4 KiB, one to three times the cheapest",
       .here = is_path(paths, "small", "sendfile")},
      {.setting = "epoll instead of io_uring, bodies of 4 KiB",
       .cost = measured.calls(2, small_body),
       .basis = "two system calls more for each request, one to three times the cheapest",
       .here = examination.engine != "uring"},
      {.setting = "cold files read by the workers (--disk-threads 0)", .cost = {}, .basis = stall},
  };
}

/// How far zero-copy reaches, where the path of large bodies has it.
std::string how_far(const Examination& examination, bool has_path) {
  const std::vector<std::string>& bare = examination.bare_interfaces;
  const auto cards = static_cast<std::size_t>(std::ranges::count_if(
      examination.interfaces, [](const Interface& each) { return each.name != "lo"; }));
  if (!has_path || (!bare.empty() && bare.size() >= cards)) {
    return examination.kernel_tls ? " Zero-copy does not reach plain HTTP, nor HTTPS."
                                  : " Zero-copy does not reach plain HTTP, and not HTTPS.";
  }
  std::string text = examination.kernel_tls ? " Zero-copy reaches plain HTTP and HTTPS"
                                            : " Zero-copy reaches plain HTTP, and not HTTPS";
  if (!bare.empty()) text += fmt::format("; not through {}", fmt::join(bare, ", "));
  return text + ".";
}

/// The paragraph.
std::string summary(const Examination& examination, const Verdict& verdict) {
  std::string text = fmt::format(
      "serve takes {} here, and sends small bodies by {}, large ones by {}, cold ones by {}{}, and "
      "large ones over TLS by {}{}.",
      examination.engine == "uring" ? "io_uring" : "epoll", verdict.paths[0].path,
      verdict.paths[1].path, verdict.paths[2].path,
      examination.sees_cold_pages ? " once a helper thread has read their pages"
                                  : ", on which workers wait for the disk",
      verdict.paths[3].path,
      examination.kernel_tls ? ", which the kernel encrypts"
                             : ", which copies, because there is no kernel TLS");
  text += how_far(examination, verdict.paths[1].path != "copy");
  const WrongSetting* dearest = nullptr;
  for (const WrongSetting& each : verdict.wrong_settings) {
    if (!each.here || !each.cost) continue;
    if (dearest == nullptr || each.cost->high > dearest->cost->high) dearest = &each;
  }
  if (dearest != nullptr) {
    text += fmt::format(" What costs most here: {}, about {}.", dearest->setting,
                        text_of(*dearest->cost));
  }
  if (verdict.changes.empty()) return text + " There is nothing to change.";
  return text;
}

}  // namespace

Verdict judge(const Examination& examination, std::span<const Entry> entries) {
  Verdict verdict;
  verdict.engine = examination.engine;
  verdict.paths = paths_of(examination);
  verdict.wrong_settings = wrong_settings(examination, entries, verdict.paths);
  verdict.changes = first_changes(entries);
  verdict.text = summary(examination, verdict);
  return verdict;
}

std::vector<Change> first_changes(std::span<const Entry> entries) {
  constexpr std::size_t most = 3;
  std::vector<const Entry*> wrong;
  for (const Entry& entry : entries) {
    const bool is_bad =
        entry.finding.status == Status::Warning || entry.finding.status == Status::Failed;
    if (is_bad && !entry.finding.mend.empty()) wrong.push_back(&entry);
  }
  const auto worth = [](const Entry* entry) {
    return std::pair(entry->finding.status == Status::Failed,
                     entry->finding.estimate.value_or(Cost{}).high);
  };
  std::ranges::stable_sort(wrong, std::ranges::greater(), worth);
  std::vector<Change> changes;
  for (const Entry* const entry : wrong) {
    const bool has_it = std::ranges::any_of(
        changes, [&](const Change& change) { return change.mend == entry->finding.mend; });
    if (has_it || changes.size() == most) continue;
    changes.push_back({.check = entry->name,
                       .what = entry->finding.found,
                       .mend = entry->finding.mend,
                       .saves = entry->finding.estimate});
  }
  return changes;
}

}  // namespace pagewire::doctor
