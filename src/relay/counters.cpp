#include "relay/counters.h"

#include <fmt/format.h>

#include <iterator>

#include "tls/tls.h"

namespace pagewire::relay {

namespace {

using Workers = std::vector<const Counters*>;

template <class Pick>
std::uint64_t sum(const Workers& workers, Pick pick) {
  std::uint64_t total = 0;
  for (const Counters* const worker : workers) total += pick(*worker).value();
  return total;
}

void labelled(std::string& text, std::string_view series, std::string_view label,
              std::uint64_t value) {
  fmt::format_to(std::back_inserter(text), "{}{{{}}} {}\n", series, label, value);
}

struct Single {
  metrics::Family family;
  metrics::Counter Counters::*counter;
};

constexpr Single singles[] = {
    {{"pagewire_relay_connections_open", "gauge", "Clients connected now."}, &Counters::open},
    {{"pagewire_relay_tunnels_open", "gauge", "Of them, with a connection to an upstream."},
     &Counters::connected},
    {{"pagewire_relay_connections_total", "counter", "Clients accepted."}, &Counters::accepted},
    {{"pagewire_relay_refused_total", "counter",
      "Clients closed as they came: the limit, or out of descriptors."},
     &Counters::refused},
    {{"pagewire_relay_accept_errors_total", "counter", "Calls of accept4 that failed."},
     &Counters::accept_errors},
    {{"pagewire_relay_retries_total", "counter",
      "Upstreams tried after another one could not be reached."},
     &Counters::retries},
    {{"pagewire_relay_pipes_in_use", "gauge", "Pipes that hold bytes of tunnels."},
     &Counters::pipes_in_use},
    {{"pagewire_relay_pipes_idle", "gauge", "Empty pipes kept for the next tunnels."},
     &Counters::pipes_idle},
    {{"pagewire_log_dropped_total", "counter", "Lines of the access log that were not written."},
     &Counters::log_dropped},
};

void write_paths(std::string& text, const Workers& workers) {
  const auto both = [&](std::string_view series, metrics::Counter PumpCounts::Way::*counter) {
    labelled(text, series, "path=\"splice\"",
             sum(
                 workers, [=](const Counters& w) -> auto& { return w.pump.spliced.*counter; }));
    labelled(text, series, "path=\"copy\"",
             sum(
                 workers, [=](const Counters& w) -> auto& { return w.pump.copied.*counter; }));
  };
  metrics::write_family(text, {"pagewire_relay_path_bytes_total", "counter",
                               "Bytes that sockets took, by how they went."});
  both("pagewire_relay_path_bytes_total", &PumpCounts::Way::bytes);
  metrics::write_family(text, {"pagewire_relay_path_calls_total", "counter",
                               "System calls that moved them, in and out."});
  both("pagewire_relay_path_calls_total", &PumpCounts::Way::calls);
  metrics::write_family(text, {"pagewire_relay_path_switches_total", "counter",
                               "Directions that began to go another way, by the reason."});
  for (std::size_t i = 0; i < path_reasons; ++i) {
    labelled(text, "pagewire_relay_path_switches_total",
             fmt::format("reason=\"{}\"", token(static_cast<PathReason>(i))),
             sum(
                 workers, [=](const Counters& w) -> auto& { return w.pump.switches[i]; }));
  }
}

/// Whether SO_REUSEPORT spreads them.
void write_workers(std::string& text, const Workers& workers) {
  const auto each = [&](std::string_view series, std::string_view more,
                        metrics::Counter Counters::*counter) {
    for (std::size_t i = 0; i < workers.size(); ++i) {
      labelled(text, series, fmt::format("worker=\"{}\"{}", i, more),
               (workers[i]->*counter).value());
    }
  };
  constexpr std::string_view bytes = "pagewire_relay_worker_bytes_total";
  metrics::write_family(text, {bytes, "counter", "Bytes that sockets took, by worker."});
  each(bytes, ",direction=\"up\"", &Counters::bytes_up);
  each(bytes, ",direction=\"down\"", &Counters::bytes_down);
  constexpr std::string_view accepted = "pagewire_relay_worker_connections_total";
  metrics::write_family(text, {accepted, "counter", "Clients accepted, by worker."});
  each(accepted, "", &Counters::accepted);
  constexpr std::string_view open = "pagewire_relay_worker_connections_open";
  metrics::write_family(text, {open, "gauge", "Clients connected now, by worker."});
  each(open, "", &Counters::open);
}

std::string threads_part(const Workers& workers) {
  std::vector<const metrics::ThreadMetrics*> all;
  for (const Counters* const worker : workers) all.push_back(&worker->thread);
  return metrics::threads_text(all);
}

std::string tls_part(const Workers& workers) {
  const auto outcomes = tls::outcome_tokens();
  const auto kernel = tls::kernel_tokens();
  const auto reasons = tls::kernel_reason_tokens();
  const metrics::TlsNames names{.outcomes = {outcomes.begin(), outcomes.end()},
                                .kernel = {kernel.begin(), kernel.end()},
                                .kernel_reasons = {reasons.begin(), reasons.end()}};
  std::vector<const metrics::TlsMetrics*> all;
  for (const Counters* const worker : workers) all.push_back(&worker->tls);
  std::string text = metrics::tls_text(all, names);
  metrics::write_family(text, {"pagewire_relay_tls_receive_total", "counter",
                               "Connections by who decrypts what clients send, and why it is not "
                               "the kernel."});
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    const bool by_kernel = i == static_cast<std::size_t>(tls::KernelReason::None);
    labelled(text, "pagewire_relay_tls_receive_total",
             fmt::format("ktls=\"{}\",reason=\"{}\"", by_kernel ? "kernel" : "none", reasons[i]),
             sum(
                 workers, [=](const Counters& w) -> auto& { return w.tls_receive[i]; }));
  }
  return text;
}

}  // namespace

std::string counters_text(const Workers& workers, const Facts& facts) {
  std::string text;
  metrics::write_family(text, {"pagewire_build_info", "gauge", "The version that runs."});
  labelled(text, "pagewire_build_info", fmt::format("version=\"{}\"", facts.version), 1);
  metrics::write_single(text,
                        {"pagewire_relay_splice_usable", "gauge",
                         "Whether the probe at start found that splice works between sockets."},
                        facts.splice_works ? 1 : 0);
  for (const Single& single : singles) {
    metrics::write_single(
        text, single.family,
        sum(
            workers, [&](const Counters& w) -> auto& { return w.*single.counter; }));
  }
  metrics::write_family(
      text, {"pagewire_relay_bytes_total", "counter",
             "Bytes that sockets took: up from clients to upstreams, down from these."});
  labelled(text, "pagewire_relay_bytes_total", "direction=\"up\"",
           sum(
               workers, [](const Counters& w) -> auto& { return w.bytes_up; }));
  labelled(text, "pagewire_relay_bytes_total", "direction=\"down\"",
           sum(
               workers, [](const Counters& w) -> auto& { return w.bytes_down; }));
  metrics::write_family(
      text, {"pagewire_relay_ends_total", "counter", "Connections that have ended, by how."});
  for (std::size_t i = 0; i < tunnel_ends; ++i) {
    labelled(text, "pagewire_relay_ends_total",
             fmt::format("end=\"{}\"", token(static_cast<End>(i))),
             sum(
                 workers, [=](const Counters& w) -> auto& { return w.ends[i]; }));
  }
  write_paths(text, workers);
  write_workers(text, workers);
  text += threads_part(workers);
  if (facts.tls) text += tls_part(workers);
  return text;
}

std::string_view token(End end) {
  switch (end) {
    case End::Done:
      return "done";
    case End::ClientReset:
      return "client-reset";
    case End::UpstreamReset:
      return "upstream-reset";
    case End::ConnectFailed:
      return "connect-failed";
    case End::NoUpstream:
      return "no-upstream";
    case End::QueueFull:
      return "queue-full";
    case End::QueueTimeout:
      return "queue-timeout";
    case End::IdleTimeout:
      return "idle-timeout";
    case End::HalfClosedTimeout:
      return "half-closed-timeout";
    case End::DrainTimeout:
      return "drain-timeout";
    case End::Internal:
      return "internal";
    case End::ProxyHeader:
      return "proxy-header";
    case End::ProxyTimeout:
      return "proxy-timeout";
    case End::Handshake:
      return "tls-handshake";
    case End::HandshakeTimeout:
      return "handshake-timeout";
    case End::TlsTruncated:
      return "tls-truncated";
    case End::TlsFailed:
      return "tls-failed";
  }
  return {};
}

}  // namespace pagewire::relay
