// The Prometheus text: what Prometheus' own parser would demand of it, and the sums in it.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "metrics/metrics.h"

namespace pagewire::metrics {
namespace {

struct Exposition {
  std::map<std::string, std::string> types;    // family -> type
  std::map<std::string, std::string> samples;  // "name{labels}" -> value
};

/// Parses strictly: fails the test for anything that format 0.0.4 does not allow.
Exposition parse(const std::string& text) {
  Exposition exposition;
  static const std::regex sample_line(
      R"re(([a-z_]+))re"                                   // name
      R"re((\{[a-z]+="(?:[^"\\\n]|\\["\\n])*")re"          // {label="value"
      R"re((?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})? )re"  // ,label="value"}
      R"re(([0-9.e+-]+))re");
  std::istringstream lines(text);
  std::string line;
  std::string family;
  std::set<std::string> helped;
  while (std::getline(lines, line)) {
    if (line.rfind("# HELP ", 0) == 0) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(helped.insert(family).second) << "HELP twice: " << family;
      continue;
    }
    if (line.rfind("# TYPE ", 0) == 0) {
      const std::size_t space = line.find(' ', 7);
      EXPECT_EQ(line.substr(7, space - 7), family) << "TYPE without its HELP";
      exposition.types[family] = line.substr(space + 1);
      continue;
    }
    std::smatch match;
    const bool matched = std::regex_match(line, match, sample_line);
    EXPECT_TRUE(matched) << "bad line: " << line;
    if (!matched) continue;
    EXPECT_EQ(match[1].str().rfind(family, 0), 0U) << line << " stands outside its family";
    const bool fresh = exposition.samples.emplace(match[1].str() + match[2].str(), match[3]).second;
    EXPECT_TRUE(fresh) << "twice: " << line;
  }
  EXPECT_EQ(text.back(), '\n');
  return exposition;
}

Names names() {
  return {.paths = {"sendfile", "copy"}, .reasons = {"small-body", "large-body"}, .version = "1.2"};
}

struct Workers {
  std::unique_ptr<WorkerMetrics> a = std::make_unique<WorkerMetrics>();
  std::unique_ptr<WorkerMetrics> b = std::make_unique<WorkerMetrics>();
  std::array<const WorkerMetrics*, 2> both{a.get(), b.get()};
};

TEST(MetricsText, AddsTheWorkersUp) {
  Workers workers;
  workers.a->responses[200].add(3);
  workers.b->responses[200].add(4);
  workers.b->responses[404].add(1);
  workers.a->path_responses[0].add(7);
  workers.a->path_bytes[0].add(3000);
  workers.b->path_bytes[0].add(1000);
  workers.a->path_calls[0].add(8);
  workers.a->path_copied[0].add(12);
  workers.b->path_reasons[0][1].add(7);
  workers.a->connections_open.add(5);
  workers.a->connections_open.subtract(2);
  workers.a->connections_accepted.add(11);
  workers.a->connections_refused.add(12);
  workers.a->accept_errors.add(13);
  workers.a->log_dropped.add(14);
  workers.a->cache_hits.add(15);
  workers.a->ends[static_cast<std::size_t>(ConnectionEnd::SlowReader)].add(16);

  const Exposition got = parse(prometheus_text(workers.both, names(), {}));
  const std::map<std::string, std::string> expected = {
      {"pagewire_requests_total{status=\"200\"}", "7"},
      {"pagewire_requests_total{status=\"404\"}", "1"},
      {"pagewire_path_responses_total{path=\"sendfile\"}", "7"},
      {"pagewire_path_responses_total{path=\"copy\"}", "0"},
      {"pagewire_path_bytes_total{path=\"sendfile\"}", "4000"},
      {"pagewire_path_calls_total{path=\"sendfile\"}", "8"},
      {"pagewire_path_copied_bytes_total{path=\"sendfile\"}", "12"},
      {"pagewire_path_bytes_per_call{path=\"sendfile\"}", "500"},
      {"pagewire_path_reasons_total{path=\"sendfile\",reason=\"large-body\"}", "7"},
      {"pagewire_connections_open", "3"},
      {"pagewire_connections_accepted_total", "11"},
      {"pagewire_connections_refused_total", "12"},
      {"pagewire_accept_errors_total", "13"},
      {"pagewire_log_dropped_total", "14"},
      {"pagewire_open_file_cache_hits_total", "15"},
      {"pagewire_connection_ends_total{why=\"slow-reader\"}", "16"},
      {"pagewire_build_info{version=\"1.2\"}", "1"},
  };
  for (const auto& [name, value] : expected) {
    ASSERT_TRUE(got.samples.contains(name)) << name;
    EXPECT_EQ(got.samples.at(name), value) << name;
  }
  // What never happened is left out: no status 500, no average without a call.
  EXPECT_FALSE(got.samples.contains("pagewire_requests_total{status=\"500\"}"));
  EXPECT_FALSE(got.samples.contains("pagewire_path_bytes_per_call{path=\"copy\"}"));
  EXPECT_EQ(got.types.at("pagewire_requests_total"), "counter");
  EXPECT_EQ(got.types.at("pagewire_connections_open"), "gauge");
  EXPECT_EQ(got.types.at("pagewire_request_duration_seconds"), "histogram");
}

TEST(MetricsText, TellsWhatBecameOfZeroCopySends) {
  Workers workers;
  workers.a->zerocopy_in_flight.set(17);
  workers.b->zerocopy_in_flight.set(1);
  workers.a->zerocopy_sends.set(19);
  workers.a->zerocopy_completed.set(20);
  workers.a->zerocopy_copied.set(21);
  workers.a->zerocopy_abandoned.set(22);
  workers.a->zerocopy_no_buffer.set(23);
  workers.a->zerocopy_over_limit.set(24);
  workers.a->zerocopy_given_up.set(25);
  workers.b->connections_draining.add(26);
  const Exposition got = parse(prometheus_text(workers.both, names(), {}));
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_in_flight_bytes"), "18");
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_sends_total"), "19");
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_completions_total"), "20");
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_copied_total"), "21");
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_abandoned_total"), "22");
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_fallbacks_total{why=\"enobufs\"}"), "23");
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_fallbacks_total{why=\"in-flight-limit\"}"), "24");
  EXPECT_EQ(got.samples.at("pagewire_zerocopy_given_up_total"), "25");
  EXPECT_EQ(got.samples.at("pagewire_connections_draining"), "26");
}

TEST(MetricsText, TellsWhatBecameOfTls) {
  const auto worker = std::make_unique<WorkerMetrics>();
  worker->tls.handshakes[1].add(3);
  worker->tls.completed[1][0].add(2);
  worker->tls.kernel[0][1].add(5);
  worker->tls.truncations.add(7);
  const WorkerMetrics* const workers[] = {worker.get()};
  Names with_tls = names();
  EXPECT_EQ(prometheus_text(workers, with_tls, {}).find("pagewire_tls_"), std::string::npos);
  with_tls.tls_served = true;
  with_tls.tls.outcomes = {"ok", "timeout"};
  with_tls.tls.kernel = {"none"};
  with_tls.tls.kernel_reasons = {"", "off"};
  std::map<std::string, std::string> samples =
      parse(prometheus_text(workers, with_tls, {})).samples;
  EXPECT_EQ(samples["pagewire_tls_handshakes_total{result=\"timeout\"}"], "3");
  EXPECT_EQ(samples["pagewire_tls_handshakes_completed_total{version=\"TLSv1.3\",resumed=\"no\"}"],
            "2");
  EXPECT_EQ(samples["pagewire_tls_connections_total{ktls=\"none\",reason=\"off\"}"], "5");
  EXPECT_EQ(samples["pagewire_tls_truncations_total"], "7");
}

TEST(MetricsText, TellsWorkersApart) {
  Workers workers;
  workers.a->responses[200].add(3);
  workers.b->path_bytes[1].add(40);
  workers.b->connections_open.add(2);
  workers.a->thread.cpu_user_us.set(1'500'000);
  workers.b->thread.cpu_system_us.set(250'000);
  workers.b->thread.rounds.set(7);
  workers.b->thread.events.set(21);
  workers.a->tcp.connections.add(2);
  workers.b->tcp.retransmits.add(5);
  workers.b->tcp.busy_us.add(3'000'000);
  workers.b->tcp.receiver_limited_us.add(500'000);
  workers.a->disk.asked_bytes.set(100);
  workers.b->disk.found_bytes.set(60);
  workers.a->pipes_made.set(4);
  std::map<std::string, std::string> samples =
      parse(prometheus_text(workers.both, names(), {})).samples;
  const std::map<std::string, std::string> expected = {
      {"pagewire_worker_requests_total{worker=\"0\"}", "3"},
      {"pagewire_worker_requests_total{worker=\"1\"}", "0"},
      {"pagewire_worker_sent_bytes_total{worker=\"1\"}", "40"},
      {"pagewire_worker_connections_open{worker=\"1\"}", "2"},
      {"pagewire_worker_cpu_seconds_total{worker=\"0\",mode=\"user\"}", "1.5"},
      {"pagewire_worker_cpu_seconds_total{worker=\"1\",mode=\"system\"}", "0.25"},
      {"pagewire_worker_wakeups_total{worker=\"1\"}", "7"},
      {"pagewire_worker_events_total{worker=\"1\"}", "21"},
      {"pagewire_tcp_closed_connections_total", "2"},
      {"pagewire_tcp_retransmitted_segments_total", "5"},
      {"pagewire_tcp_busy_seconds_total", "3"},
      {"pagewire_tcp_limited_seconds_total{by=\"receiver\"}", "0.5"},
      {"pagewire_residency_asked_bytes_total", "100"},
      {"pagewire_residency_found_bytes_total", "60"},
      {"pagewire_pipes_made_total", "4"},
  };
  for (const auto& [name, value] : expected) EXPECT_EQ(samples[name], value) << name;
}

TEST(MetricsText, LeavesOutWhatTheKernelDidNotTell) {
  Workers workers;
  const Exposition none = parse(prometheus_text(workers.both, names(), {}));
  for (const char* const name :
       {"process_open_fds", "pagewire_host_tcp_sent_segments_total",
        "pagewire_host_tls_sockets{by=\"kernel\"}", "pagewire_process_pinned_bytes"}) {
    EXPECT_FALSE(none.samples.contains(name)) << name;
  }
  EXPECT_TRUE(none.types.contains("pagewire_host_tls_sockets"));
  SystemFacts facts;
  facts.process.cpu = {.user_us = 1'000'000, .system_us = 500'000};
  facts.process.open_descriptors = 12;
  facts.process.pinned = ByteCount{4096};
  facts.tcp = sys::HostTcp{.sent_segments = 3, .retransmitted_segments = 1};
  facts.tls = sys::HostTls{.by_kernel = 5, .by_card = 6};
  std::map<std::string, std::string> samples =
      parse(prometheus_text(workers.both, names(), facts)).samples;
  EXPECT_EQ(samples["process_cpu_seconds_total"], "1.5");
  EXPECT_EQ(samples["process_open_fds"], "12");
  EXPECT_EQ(samples["pagewire_process_pinned_bytes"], "4096");
  EXPECT_EQ(samples["pagewire_host_tcp_retransmitted_segments_total"], "1");
  EXPECT_EQ(samples["pagewire_host_tls_sockets{by=\"card\"}"], "6");
}

TEST(MetricsText, HistogramIsCumulativeAndInSeconds) {
  Workers workers;
  workers.a->request_time.record_ns(64'000);           // the first bucket's upper bound is in it
  workers.a->request_time.record_ns(64'001);           // the second
  workers.b->request_time.record_ns(200'000'000'000);  // over all: +Inf
  const Exposition got = parse(prometheus_text(workers.both, names(), {}));
  const std::string name = "pagewire_request_duration_seconds";
  EXPECT_EQ(got.samples.at(name + "_bucket{le=\"6.4e-05\"}"), "1");
  EXPECT_EQ(got.samples.at(name + "_bucket{le=\"0.000128\"}"), "2");
  EXPECT_EQ(got.samples.at(name + "_bucket{le=\"67.108864\"}"), "2");
  EXPECT_EQ(got.samples.at(name + "_count"), "3");
  EXPECT_EQ(std::stod(got.samples.at(name + "_sum")), 200.000128001);
}

TEST(MetricsText, InfinityBucketIsThere) {
  Workers workers;
  workers.a->request_time.record_ns(1);
  const std::string text = prometheus_text(workers.both, names(), {});
  EXPECT_NE(text.find("pagewire_request_duration_seconds_bucket{le=\"+Inf\"} 1\n"),
            std::string::npos);
}

TEST(MetricsText, EscapesLabels) {
  Workers workers;
  Names odd = names();
  odd.version = "a\"b\\c\nd";
  const std::string text = prometheus_text(workers.both, odd, {});
  EXPECT_NE(text.find("pagewire_build_info{version=\"a\\\"b\\\\c\\nd\"} 1\n"), std::string::npos);
  parse(text);
}

TEST(TimeHistogram, EveryBoundIsInItsBucketAndOneMoreIsNot) {
  for (std::size_t bucket = 0; bucket + 1 < TimeHistogram::buckets; ++bucket) {
    TimeHistogram histogram;
    const std::uint64_t bound_ns = TimeHistogram::upper_bound_us(bucket) * 1000;
    histogram.record_ns(bound_ns);
    histogram.record_ns(bound_ns + 1);
    EXPECT_EQ(histogram.counts[bucket].value(), 1U) << bucket;
    EXPECT_EQ(histogram.counts[bucket + 1].value(), 1U) << bucket;
    EXPECT_EQ(histogram.sum_ns.value(), 2 * bound_ns + 1);
  }
  TimeHistogram histogram;
  histogram.record_ns(0);
  histogram.record_ns(UINT64_MAX);
  EXPECT_EQ(histogram.counts[0].value(), 1U);
  EXPECT_EQ(histogram.counts[TimeHistogram::buckets - 1].value(), 1U);
}

TEST(Totals, CountAllStatusesAndPaths) {
  Workers workers;
  workers.a->responses[200].add(2);
  workers.b->responses[599].add(3);
  workers.a->path_bytes[0].add(10);
  workers.b->path_bytes[max_paths - 1].add(20);
  workers.b->connections_open.set(9);
  const Totals got = totals(workers.both);
  EXPECT_EQ(got.requests, 5U);
  EXPECT_EQ(got.bytes, 30U);
  EXPECT_EQ(got.connections_open, 9U);
}

TEST(ConnectionEnd, TokensAreDistinct) {
  std::set<std::string_view> tokens;
  for (std::size_t end = 0; end < connection_ends; ++end) {
    EXPECT_TRUE(tokens.insert(token(static_cast<ConnectionEnd>(end))).second);
  }
  EXPECT_FALSE(tokens.contains("unknown"));
}

TEST(MetricsText, SaysWhichPathsCanBeUsed) {
  WorkerMetrics worker;
  const std::array<const WorkerMetrics*, 1> workers{&worker};
  EXPECT_EQ(parse(prometheus_text(workers, names(), {})).types.count("pagewire_path_usable"), 0U);
  Names known = names();
  known.path_use = {{.usable = false, .why = "quarantined"}, {.usable = true, .why = "ok"}};
  known.self_test_s = 0.25;
  Exposition found = parse(prometheus_text(workers, known, {}));
  EXPECT_EQ(found.types["pagewire_path_usable"], "gauge");
  EXPECT_EQ(found.samples["pagewire_path_usable{path=\"sendfile\",why=\"quarantined\"}"], "0");
  EXPECT_EQ(found.samples["pagewire_path_usable{path=\"copy\",why=\"ok\"}"], "1");
  EXPECT_EQ(found.samples["pagewire_self_test_duration_seconds"], "0.25");
}

}  // namespace
}  // namespace pagewire::metrics
