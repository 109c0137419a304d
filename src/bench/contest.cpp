// The order of rounds, and what to do when one goes wrong.
//
// Invariants: the paths take turns, and who is first changes from turn to turn, so that a machine
// that warms up or gets busy treats all alike; a path is never measured before every byte of the
// file has arrived right by it; a round that failed has no figures; once ended() says something, no
// further round begins.
#include "bench/contest.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/format_number.h"
#include "content/content.h"

namespace pagewire::bench {

namespace {

/// For the progress alone: what starting two processes costs, and what a comparison gets through.
constexpr double overhead_s = 0.1;
constexpr double verified_bytes_per_s = 6e8;

double seconds_to_verify(ByteCount size) {
  return overhead_s + static_cast<double>(size.value) / verified_bytes_per_s;
}

std::size_t turns_of(const RunSettings& settings) {
  return settings.repeat + (settings.instrument ? 1 : 0);
}

std::string network_error(const Error& error, NetKind kind) {
  std::string text = std::string("--net ") + (kind == NetKind::Veth ? "veth" : "loopback") + ": " +
                     describe(error);
  if (error.errno_value == EPERM) text += " (needs root)";
  return text;
}

}  // namespace

Contest::Contest(const RunSettings& settings, Watch& watch) : settings_(settings), watch_(watch) {}

tl::expected<void, CannotRun> Contest::prepare() {
  Result<Network> network = make_network(settings_.net);
  if (!network) {
    return tl::unexpected(CannotRun{network_error(network.error(), settings_.net)});
  }
  network_ = std::move(*network);
  tsc_hz_ = tsc_hz();
  for (const egress::Path* path : settings_.paths) {
    const egress::PathReport report = egress::probe_path(*path);
    unavailable_.push_back(report.why);
    if (report.state != egress::PathState::Usable) {
      watch_.note(fmt::format("{} is {}", path->name, report.describe()));
    }
  }
  return {};
}

void Contest::expect(ByteCount size) {
  const double of_one = seconds_to_verify(size) + static_cast<double>(turns_of(settings_)) *
                                                      (seconds_of_round(settings_) + overhead_s);
  total_s_ += of_one * static_cast<double>(settings_.paths.size());
}

Row Contest::hold(const Heat& heat) {
  Row row;
  row.title = heat.title;
  row.size_bytes = heat.source->status.size.value;
  row.connections = settings_.connections;
  row.mode = settings_.mode == Mode::Stream ? "stream" : "request";
  row.offered_gbit_per_s = settings_.rate_gbit_per_s;
  row.contenders = line_up(heat);
  if (!settings_.cold) {
    if (std::optional<std::string> remark = warm_up(*heat.source, watch_)) not_warm_ = *remark;
  }
  verify(heat, row.contenders);
  row.baseline = baseline_of(row.contenders);
  measure(heat, row);
  return row;
}

void Contest::end(std::string why) {
  if (ended_.empty()) ended_ = std::move(why);
}

namespace {

/// Why the path cannot send this file at all; "" when it can.
std::string why_unfit(const egress::Path& path, const SourceFile& source) {
  const content::OpenFile file(sys::Fd(), source.status);  // fits() is pure: no descriptor needed
  const content::Segment whole = content::Segment::of_file(file, {{}, source.status.size});
  egress::SocketState state;
  if (path.fits(std::span(&whole, 1), {.state = &state})) return {};
  return fmt::format("it sends only {}", path.fits_only);
}

}  // namespace

std::vector<Contender> Contest::line_up(const Heat& heat) const {
  std::vector<Contender> contenders;
  for (std::size_t i = 0; i < settings_.paths.size(); ++i) {
    Contender& contender = contenders.emplace_back();
    contender.name = settings_.paths[i]->name;
    contender.unavailable = unavailable_[i];
    if (!contender.unavailable.empty()) continue;
    contender.unavailable = why_unfit(*settings_.paths[i], *heat.source);
    if (contender.unavailable.empty()) continue;
    watch_.note(fmt::format("{}{}: {}", contender.name, heat.suffix, contender.unavailable));
  }
  return contenders;
}

/// Every path once; one that sends a wrong byte is out of the contest.
void Contest::verify(const Heat& heat, std::vector<Contender>& contenders) {
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    Contender& contender = contenders[i];
    const double before_s = done_s_;
    if (!contender.unavailable.empty()) continue;
    watch_.progress(done_s_, total_s_,
                    fmt::format("comparing every byte{}: {}", heat.suffix, contender.name));
    const OrFault<std::uint64_t> verified =
        verify_path(plan_for(heat, settings_.paths[i]), [this] { return watch_.stop_asked(); });
    if (watch_.stop_asked()) {
      return end("interrupted before the first round" + heat.suffix);
    }
    if (has_changed(*heat.source)) {
      return end("the file changed before the first round" + heat.suffix);
    }
    done_s_ = before_s + seconds_to_verify(heat.source->status.size);
    if (verified) {
      contender.verified_bytes = *verified;
      continue;
    }
    contender.unavailable =
        "not measured, its bytes could not be verified: " + verified.error().text;
    watch_.note(fmt::format("{}{}: {}", contender.name, heat.suffix, contender.unavailable));
  }
}

void Contest::measure(const Heat& heat, Row& row) {
  rounds_started_ = 0;
  const std::size_t count = row.contenders.size();
  for (std::size_t number = 0; number < turns_of(settings_); ++number) {
    for (std::size_t i = 0; i < count && ended_.empty(); ++i) {
      const std::size_t index = (number + i) % count;
      take_turn(heat, {.number = number, .index = index}, row.contenders[index]);
    }
  }
}

void Contest::take_turn(const Heat& heat, const Turn& turn, Contender& contender) {
  const double length_s = seconds_of_round(settings_) + overhead_s;
  const double before_s = done_s_;
  done_s_ += length_s;
  if (!contender.unavailable.empty()) return;
  const bool instrumented = turn.number == settings_.repeat;
  const std::string which =
      (instrumented ? std::string("the instrumented round")
                    : fmt::format("round {} of {}", turn.number + 1, settings_.repeat)) +
      heat.suffix;
  const std::string what = fmt::format("{}: {}", which, contender.name);
  if (watch_.stop_asked()) return end("interrupted in " + which);
  if (settings_.cold) drop_pages_of(*heat.source);

  RoundPlan plan = plan_for(heat, settings_.paths[turn.index]);
  if (instrumented) plan.instruments = Instruments::Kind::Tracing;
  std::optional<Round> round = measure_round(plan, [&](double elapsed_s) {
    watch_.progress(before_s + std::min(elapsed_s, length_s), total_s_, what);
    return watch_.stop_asked();
  });
  if (!round) return end("interrupted in " + which);
  round->number = ++rounds_started_;
  if (has_changed(*heat.source)) {
    // Also a round without a fault: nobody knows which bytes it sent.
    round->figures.clear();
    if (round->failed.empty()) round->failed = "the file changed while it was sent";
    end(fmt::format("the file changed in {}: what was measured later would not be comparable",
                    which));
  }
  if (!round->failed.empty()) watch_.note(fmt::format("{}: {}", what, round->failed));
  contender.rounds.push_back(std::move(*round));
}

void Contest::drop_pages_of(const SourceFile& source) {
  const Result<std::optional<std::uint64_t>> resident = drop_pages(source.fd.get());
  if (!resident) {
    not_dropped_ = "--cold: the file's pages could not be dropped: " + describe(resident.error());
  } else if (!*resident) {
    not_dropped_ = "--cold: the kernel does not tell whether the file's pages were dropped.";
  } else {
    still_resident_bytes_ = std::max(still_resident_bytes_, **resident);
  }
}

RoundPlan Contest::plan_for(const Heat& heat, const egress::Path* path) const {
  return {.source = heat.source,
          .path = path,
          .network = &network_,
          .settings = &settings_,
          .instruments = Instruments::Kind::Counters,
          .tsc_hz = tsc_hz_};
}

std::vector<std::string> Contest::remarks() const {
  std::vector<std::string> remarks;
  if (!not_warm_.empty()) remarks.push_back(not_warm_);
  if (!not_dropped_.empty()) remarks.push_back(not_dropped_);
  if (still_resident_bytes_ > 0) {
    remarks.push_back(
        fmt::format("--cold: up to {} of the file were still in the page cache when a round began.",
                    format_size(static_cast<double>(still_resident_bytes_))));
  }
  if (!settings_.pin.server && allowed_cpus().size() < 2) {
    remarks.push_back("Server and client share one CPU: each waits for the other.");
  }
  return remarks;
}

std::string baseline_of(const std::vector<Contender>& contenders) {
  const auto available = [](const Contender& contender) { return contender.unavailable.empty(); };
  for (const Contender& contender : contenders) {
    if (contender.name == "copy" && available(contender)) return contender.name;
  }
  const auto first = std::find_if(contenders.begin(), contenders.end(), available);
  if (first != contenders.end()) return first->name;
  return contenders.empty() ? std::string() : contenders.front().name;
}

}  // namespace pagewire::bench
