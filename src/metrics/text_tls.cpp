// What TLS did: handshakes, who encrypts, how connections ended. For every program that speaks it.
#include "metrics/text.h"

#include <array>

namespace pagewire::metrics {

namespace {

using TlsWorkers = std::span<const TlsMetrics* const>;

template <class Pick>
std::uint64_t sum_tls(TlsWorkers workers, Pick counter) {
  std::uint64_t total = 0;
  for (const TlsMetrics* const worker : workers) total += counter(*worker).value();
  return total;
}

void write_tls_words(std::string& text, TlsWorkers workers, std::string_view name,
                     std::array<Counter, max_tls_words> TlsMetrics::*counters,
                     const std::vector<std::string_view>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::uint64_t count =
        sum_tls(workers, [=](const TlsMetrics& w) -> const Counter& { return (w.*counters)[i]; });
    if (count == 0) continue;
    fmt::format_to(std::back_inserter(text), "{}{{result=\"{}\"}} {}\n", name, words[i], count);
  }
}

void write_tls_kernel(std::string& text, TlsWorkers workers, const TlsNames& names) {
  family(text, "pagewire_tls_connections_total", "counter",
         "Connections by who encrypts what is sent, and why it is not the kernel.");
  for (std::size_t state = 0; state < names.kernel.size(); ++state) {
    for (std::size_t why = 0; why < names.kernel_reasons.size(); ++why) {
      const std::uint64_t count = sum_tls(
          workers, [=](const TlsMetrics& w) -> const Counter& { return w.kernel[state][why]; });
      if (count == 0) continue;
      fmt::format_to(std::back_inserter(text),
                     "pagewire_tls_connections_total{{ktls=\"{}\",reason=\"{}\"}} {}\n",
                     names.kernel[state], names.kernel_reasons[why], count);
    }
  }
}

}  // namespace

std::string tls_text(TlsWorkers workers, const TlsNames& names) {
  std::string text;
  const auto total = [&](Counter TlsMetrics::*counter) {
    return sum_tls(workers, [=](const TlsMetrics& w) -> const Counter& { return w.*counter; });
  };
  family(text, "pagewire_tls_handshakes_total", "counter", "TLS handshakes, by what they came to.");
  write_tls_words(text, workers, "pagewire_tls_handshakes_total", &TlsMetrics::handshakes,
                  names.outcomes);
  family(text, "pagewire_tls_handshakes_completed_total", "counter",
         "Of these, the complete ones, by version and whether an earlier session was resumed.");
  for (const std::size_t version : {0U, 1U}) {
    for (const std::size_t resumed : {0U, 1U}) {
      const std::uint64_t count = sum_tls(workers, [=](const TlsMetrics& w) -> const Counter& {
        return w.completed[version][resumed];
      });
      fmt::format_to(
          std::back_inserter(text),
          "pagewire_tls_handshakes_completed_total{{version=\"{}\",resumed=\"{}\"}} {}\n",
          version == 1 ? "TLSv1.3" : "TLSv1.2", resumed == 1 ? "yes" : "no", count);
    }
  }
  family(text, "pagewire_tls_failures_total", "counter",
         "Connections that TLS ended after their handshake, by why.");
  write_tls_words(text, workers, "pagewire_tls_failures_total", &TlsMetrics::failures,
                  names.outcomes);
  write_tls_kernel(text, workers, names);
  single(text, "pagewire_tls_record_bytes_total", "counter",
         "Bytes that sockets took of records made in user space, handshakes included.",
         total(&TlsMetrics::record_bytes));
  single(text, "pagewire_tls_key_updates_total", "counter", "KeyUpdates that peers sent.",
         total(&TlsMetrics::key_updates));
  single(text, "pagewire_tls_clean_closes_total", "counter",
         "Connections whose peer said close_notify.", total(&TlsMetrics::clean_closes));
  single(text, "pagewire_tls_truncations_total", "counter",
         "Connections whose peer sent its FIN without close_notify.",
         total(&TlsMetrics::truncations));
  return text;
}

}  // namespace pagewire::metrics
