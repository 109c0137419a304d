// pagewire top without a terminal: the text that it reads, what it works out, how it lays it out.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "top/exposition.h"
#include "top/json.h"
#include "top/summary.h"
#include "top/table.h"
#include "top/top.h"
#include "top/view.h"

namespace pagewire::top {
namespace {

Reading reading(const std::string& text, double at_s) {
  auto metrics = Exposition::parse(text);
  EXPECT_TRUE(metrics.has_value()) << text;
  return {.metrics = std::move(*metrics), .at_ns = static_cast<std::int64_t>(at_s * 1e9)};
}

std::string text_of(const Line& line) {
  std::string text;
  for (const Piece& piece : line) text += piece.text;
  return text;
}

// ---------------------------------------------------------------- the text

TEST(Exposition, ReadsLabelsAndValues) {
  const auto got = Exposition::parse(
      "# HELP a b\n# TYPE a counter\n"
      "a 1\n"
      "a{x=\"1\"} 2.5e3\n"
      "a{x=\"q\\\"b\\\\s\\nn\",y=\"}\"} +Inf\n"
      "b{x=\"\"} 4 1700000000000\n\n");
  ASSERT_TRUE(got.has_value()) << got.error();
  ASSERT_EQ(got->samples().size(), 4U);
  EXPECT_EQ(got->samples()[1].value, 2500);
  EXPECT_EQ(got->samples()[2].label("x"), "q\"b\\s\nn");
  EXPECT_EQ(got->samples()[2].label("y"), "}");
  EXPECT_TRUE(std::isinf(got->samples()[2].value));
  EXPECT_EQ(got->total("b"), 4);
  EXPECT_EQ(got->total("c"), std::nullopt);
  EXPECT_EQ(got->with("a", "x", "1"), 2500);
  EXPECT_EQ(got->of("a").size(), 3U);
}

TEST(Exposition, NamesTheLineThatIsNone) {
  for (const char* const bad :
       {"<html>", "a", "a x", "a{x} 1", "a{x=\"1\" 1", "a{x=\"1", "a{x=\"1\\", "{} 1", "a 1x"}) {
    const auto got = Exposition::parse("ok 1\n" + std::string(bad) + "\n");
    ASSERT_FALSE(got.has_value()) << bad;
    EXPECT_EQ(got.error(), "line 2 of it is no metric") << bad;
  }
}

TEST(Target, IsWhatPeopleWrite) {
  const auto url_of = [](std::string_view text) {
    const auto target = parse_target(text);
    return target ? target->url : "error: " + target.error();
  };
  EXPECT_EQ(url_of("http://127.0.0.1:9180"), "http://127.0.0.1:9180/metrics");
  EXPECT_EQ(url_of("http://edge/"), "http://edge:9180/metrics");
  EXPECT_EQ(url_of("edge:1"), "http://edge:1/metrics");
  EXPECT_EQ(url_of(":81"), "http://127.0.0.1:81/metrics");
  EXPECT_EQ(url_of("9181"), "http://127.0.0.1:9181/metrics");
  EXPECT_EQ(url_of("http://[::1]:9180/other"), "http://[::1]:9180/other");
  EXPECT_EQ(url_of("[::1]"), "http://[::1]:9180/metrics");
  for (const char* const bad : {"https://edge", "edge:", "edge:0", "edge:65536", "edge:1x",
                                "[::1:9180", "a b", "a\r\nX: y"}) {
    EXPECT_TRUE(url_of(bad).starts_with("error: \"")) << bad;
  }
}

// ---------------------------------------------------------------- what is worked out

constexpr const char* before_text =
    "process_start_time_seconds 1000\n"
    "process_cpu_seconds_total 1\n"
    "pagewire_path_bytes_total{path=\"sendfile\"} 1000\n"
    "pagewire_path_calls_total{path=\"sendfile\"} 10\n"
    "pagewire_path_responses_total{path=\"sendfile\"} 10\n"
    "pagewire_requests_total{status=\"200\"} 10\n"
    "pagewire_worker_sent_bytes_total{worker=\"0\"} 1000\n"
    "pagewire_connection_ends_total{why=\"peer-reset\"} 7\n";
constexpr const char* after_text =
    "process_start_time_seconds 1000\n"
    "process_cpu_seconds_total 1.5\n"
    "pagewire_build_info{version=\"7\"} 1\n"
    "pagewire_path_bytes_total{path=\"sendfile\"} 250001000\n"
    "pagewire_path_bytes_total{path=\"copy\"} 0\n"
    "pagewire_path_calls_total{path=\"sendfile\"} 1010\n"
    "pagewire_path_responses_total{path=\"sendfile\"} 110\n"
    "pagewire_path_reasons_total{path=\"sendfile\",reason=\"large-body\"} 75\n"
    "pagewire_path_reasons_total{path=\"sendfile\",reason=\"pinned\"} 25\n"
    "pagewire_requests_total{status=\"200\"} 100\n"
    "pagewire_requests_total{status=\"500\"} 10\n"
    "pagewire_worker_sent_bytes_total{worker=\"0\"} 250001000\n"
    "pagewire_worker_cpu_seconds_total{worker=\"0\",mode=\"user\"} 0.1\n"
    "pagewire_worker_cpu_seconds_total{worker=\"0\",mode=\"system\"} 0.3\n"
    "pagewire_connection_ends_total{why=\"peer-reset\"} 9\n"
    "pagewire_tls_connections_total{ktls=\"none\",reason=\"off\"} 1\n"
    "pagewire_tls_connections_total{ktls=\"kernel\",reason=\"\"} 3\n";

TEST(Summary, IsOfWhatLiesBetween) {
  const Summary got = summarize(reading(before_text, 10), reading(after_text, 12), 1075);
  EXPECT_EQ(got.seconds, 2);
  EXPECT_EQ(got.up_s, 75);
  EXPECT_DOUBLE_EQ(got.gbit, 1);
  EXPECT_DOUBLE_EQ(got.requests, 50);
  EXPECT_DOUBLE_EQ(got.cpu.value(), 0.25);
  EXPECT_DOUBLE_EQ(got.cpu_ms_per_gbit.value(), 250);
  EXPECT_EQ(got.connections, std::nullopt) << "it is not exported";
  EXPECT_EQ(got.p99_ms, std::nullopt);
  EXPECT_DOUBLE_EQ(got.ktls.value(), 0.75);
  EXPECT_EQ(got.errors, (std::vector<Share>{{"status 500", 5}, {"peer-reset", 1}}));
  ASSERT_EQ(got.paths.size(), 1U) << "copy did nothing";
  EXPECT_DOUBLE_EQ(got.paths[0].share, 1);
  EXPECT_DOUBLE_EQ(got.paths[0].bytes_per_call.value(), 250'000);
  EXPECT_EQ(got.paths[0].reasons, (std::vector<Share>{{"large-body", 0.75}, {"pinned", 0.25}}));
  ASSERT_EQ(got.workers.size(), 1U);
  EXPECT_DOUBLE_EQ(got.workers[0].system.value(), 0.15);
  EXPECT_DOUBLE_EQ(got.workers[0].user.value(), 0.05);
  EXPECT_FALSE(got.relay.has_value());
}

// What a relay exports, one second after it was started.
constexpr const char* relay_text =
    "process_cpu_seconds_total 0.02\n"
    "pagewire_relay_bytes_total{direction=\"up\"} 25000000\n"
    "pagewire_relay_bytes_total{direction=\"down\"} 100000000\n"
    "pagewire_relay_path_bytes_total{path=\"splice\"} 125000000\n"
    "pagewire_relay_path_bytes_total{path=\"copy\"} 0\n"
    "pagewire_relay_path_calls_total{path=\"splice\"} 1000\n"
    "pagewire_relay_path_switches_total{reason=\"small\"} 0\n"
    "pagewire_relay_path_switches_total{reason=\"bulk\"} 6\n"
    "pagewire_relay_connections_total 4\n"
    "pagewire_relay_connections_open 2\n"
    "pagewire_relay_tunnels_open 1\n"
    "pagewire_relay_splice_usable 0\n"
    "pagewire_relay_retries_total 7\n"
    "pagewire_relay_refused_total 5\n"
    "pagewire_relay_ends_total{end=\"done\"} 1\n"
    "pagewire_relay_ends_total{end=\"no-upstream\"} 3\n"
    "pagewire_relay_worker_bytes_total{worker=\"0\",direction=\"up\"} 25000000\n"
    "pagewire_relay_worker_bytes_total{worker=\"0\",direction=\"down\"} 75000000\n"
    "pagewire_relay_worker_bytes_total{worker=\"1\",direction=\"up\"} 0\n"
    "pagewire_relay_worker_bytes_total{worker=\"1\",direction=\"down\"} 25000000\n"
    "pagewire_relay_worker_connections_total{worker=\"0\"} 3\n"
    "pagewire_relay_worker_connections_total{worker=\"1\"} 1\n"
    "pagewire_relay_worker_connections_open{worker=\"0\"} 2\n"
    "pagewire_relay_queued{relay=\"db\"} 9\n"
    "pagewire_relay_queued{relay=\"web\"} 0\n"
    "pagewire_relay_lookup_failures_total{relay=\"web\"} 2\n"
    "pagewire_relay_upstream_up{relay=\"db\",upstream=\"db:5432\",address=\"10.0.0.7:5432\"} 0\n"
    "pagewire_relay_upstream_up{relay=\"web\",upstream=\"10.0.0.8:80\",address=\"10.0.0.8:80\"} 1\n"
    "pagewire_relay_upstream_up{relay=\"web\",upstream=\"10.0.0.9:80\",address=\"10.0.0.9:80\"} 1\n"
    "pagewire_relay_upstream_connections{relay=\"web\",upstream=\"10.0.0.9:80\","
    "address=\"10.0.0.9:80\"} 6\n"
    "pagewire_relay_upstream_connects_total{relay=\"web\",upstream=\"10.0.0.9:80\","
    "address=\"10.0.0.9:80\"} 8\n"
    "pagewire_relay_upstream_connect_failures_total{relay=\"db\",upstream=\"db:5432\","
    "address=\"10.0.0.7:5432\",reason=\"refused\"} 11\n"
    "pagewire_relay_mirror_bytes_total{relay=\"db\"} 125000000\n"
    "pagewire_relay_mirror_dropped_bytes_total{relay=\"db\"} 2048\n";

Summary of_a_relay() {
  return summarize(reading("", 0), reading(relay_text, 1), 0);
}

TEST(Summary, OfARelayIsOfItsOwnNames) {
  const Summary got = of_a_relay();
  ASSERT_TRUE(got.relay.has_value());
  EXPECT_DOUBLE_EQ(got.gbit, 1);
  EXPECT_DOUBLE_EQ(got.relay->gbit_up, 0.2);
  EXPECT_DOUBLE_EQ(got.relay->gbit_down, 0.8);
  EXPECT_DOUBLE_EQ(got.requests, 4);
  EXPECT_EQ(got.connections, 2);
  EXPECT_EQ(got.relay->tunnels, 1);
  EXPECT_DOUBLE_EQ(got.cpu_ms_per_gbit.value(), 20);
  EXPECT_EQ(got.errors, (std::vector<Share>{{"refused", 5}})) << "its ends stand by themselves";
  EXPECT_EQ(got.relay->ends, (std::vector<Share>{{"no-upstream", 3}, {"done", 1}}));
  EXPECT_EQ(got.relay->switches, (std::vector<Share>{{"bulk", 6}}));
  ASSERT_EQ(got.paths.size(), 1U);
  EXPECT_EQ(got.paths[0].name, "splice");
  EXPECT_DOUBLE_EQ(got.paths[0].bytes_per_call.value(), 125'000);
}

TEST(Summary, OfARelayHasWorkersWithoutCpuWhereNoneIsExported) {
  const Summary got = of_a_relay();
  ASSERT_EQ(got.workers.size(), 2U);
  EXPECT_DOUBLE_EQ(got.workers[0].gbit_up.value(), 0.2);
  EXPECT_DOUBLE_EQ(got.workers[0].gbit_down.value(), 0.6);
  EXPECT_DOUBLE_EQ(got.workers[0].gbit, 0.8);
  EXPECT_EQ(got.workers[0].requests, 3);
  EXPECT_EQ(got.workers[0].connections, 2);
  EXPECT_EQ(got.workers[0].user, std::nullopt);
  EXPECT_EQ(got.workers[1].connections, std::nullopt);
  const std::string cpu = std::string(relay_text) +
                          "pagewire_worker_cpu_seconds_total{worker=\"1\",mode=\"user\"} 0.25\n"
                          "pagewire_worker_cpu_seconds_total{worker=\"1\",mode=\"system\"} 0.5\n";
  const Summary with_cpu = summarize(reading("", 0), reading(cpu, 1), 0);
  EXPECT_EQ(with_cpu.workers[0].user, std::nullopt);
  EXPECT_EQ(with_cpu.workers[1].user, 0.25);
  EXPECT_EQ(with_cpu.workers[1].system, 0.5);
}

TEST(Summary, OfARelayHasEachUpstreamOnce) {
  const Summary got = of_a_relay();
  ASSERT_EQ(got.relay->routes.size(), 2U);
  const RouteRow& db = got.relay->routes[0];
  EXPECT_EQ(db.name, "db");
  EXPECT_EQ(db.queued, 9);
  ASSERT_TRUE(db.mirror.has_value());
  EXPECT_DOUBLE_EQ(db.mirror->gbit, 1);
  EXPECT_EQ(db.mirror->dropped_bytes, 2048);
  ASSERT_EQ(db.upstreams.size(), 1U);
  EXPECT_EQ(db.upstreams[0].up, false);
  EXPECT_EQ(db.upstreams[0].connections, std::nullopt);
  EXPECT_EQ(db.upstreams[0].failures, (std::vector<Share>{{"refused", 11}}));
  const RouteRow& web = got.relay->routes[1];
  EXPECT_EQ(web.lookup_failures, 2);
  EXPECT_FALSE(web.mirror.has_value());
  ASSERT_EQ(web.upstreams.size(), 2U);
  EXPECT_EQ(web.upstreams[1].upstream, "10.0.0.9:80");
  EXPECT_EQ(web.upstreams[1].connections, 6);
  EXPECT_EQ(web.upstreams[1].connects, 8);
}

TEST(Summary, KnowsAnotherRunOfTheServer) {
  const auto is_new = [](const std::string& before, const std::string& after) {
    return restarted(reading(before, 1), reading(after, 2));
  };
  EXPECT_FALSE(is_new(before_text, after_text));
  EXPECT_TRUE(is_new(after_text, before_text)) << "counters fell";
  EXPECT_TRUE(is_new("process_start_time_seconds 1000\n", "process_start_time_seconds 1001\n"));
  EXPECT_TRUE(is_new("a_total{x=\"1\"} 1\n", "a_total{x=\"2\"} 9\n")) << "one is gone";
  EXPECT_FALSE(is_new("a_total{x=\"1\"} 0\ng 9\n", "g 1\n")) << "gauges may fall";
  EXPECT_FALSE(is_new("pagewire_host_x_total 9\n", "pagewire_host_x_total 1\n"));
}

TEST(Quantile, IsLinearWithinItsBucket) {
  const Reading none = reading("", 0);
  const Reading some = reading(
      "h_bucket{le=\"1\"} 10\nh_bucket{le=\"2\"} 10\nh_bucket{le=\"4\"} 30\n"
      "h_bucket{le=\"+Inf\"} 40\n",
      1);
  EXPECT_DOUBLE_EQ(quantile(none, some, "h", 0.125).value(), 0.5);
  EXPECT_DOUBLE_EQ(quantile(none, some, "h", 0.5).value(), 3);
  EXPECT_DOUBLE_EQ(quantile(none, some, "h", 0.99).value(), 4) << "all that +Inf says";
  EXPECT_EQ(quantile(some, some, "h", 0.5), std::nullopt);
  EXPECT_EQ(quantile(none, some, "other", 0.5), std::nullopt);
}

TEST(Json, HasNullForWhatCouldNotBeHad) {
  const Summary summary = summarize(reading(before_text, 10), reading(after_text, 12), 1075);
  const std::string text = to_json(summary, "http://h:1/metrics");
  EXPECT_NE(text.find("\"connections\": null"), std::string::npos) << text;
  EXPECT_NE(text.find("\"gbit_per_s\": 1.0"), std::string::npos);
}

// ---------------------------------------------------------------- the picture

TEST(Picture, FitsIntoAnyWidth) {
  Summary summary = summarize(reading(before_text, 10), reading(after_text, 12), 1075);
  summary.paths[0].name = "a-path-with-a-very-long-name-indeed";
  summary.version = std::string(70, 'v');
  for (std::size_t columns = 1; columns <= 130; ++columns) {
    View view{.columns = columns, .url = "http://127.0.0.1:9180/metrics"};
    view.history.assign(300, 1.5);
    for (const bool help : {false, true}) {
      view.help = help;
      for (const Line& line : picture(&summary, view)) {
        // A table has a few columns that always stay: its name, its figure, its reason.
        if (columns >= 40) {
          EXPECT_LE(columns_of(text_of(line)), columns) << text_of(line);
        }
      }
    }
  }
}

TEST(Picture, SaysThatItWaits) {
  const std::vector<Line> lines = picture(nullptr, {.columns = 60, .url = "http://h/metrics"});
  EXPECT_EQ(text_of(lines[0]), "pagewire top  http://h/metrics");
  EXPECT_EQ(text_of(lines[1]), "waiting for the next figures");
}

std::string picture_of(const Summary& summary, std::size_t columns) {
  std::string text;
  for (const Line& line : picture(&summary, {.columns = columns, .url = "u"})) {
    text += text_of(line) + '\n';
  }
  return text;
}

TEST(Picture, OfARelayIsOfUpstreams) {
  const std::string text = picture_of(of_a_relay(), 110);
  for (const char* const line :
       {"\n1.00 Gbit/s  (0.20 up, 0.80 down)  4.00 new connections/s  2 connections  "
        "CPU 2.0%  20.0 ms/Gbit\n",
        "\n1 tunnels  pipes - in use, - idle  retries 7.00/s", "splice does not work here",
        "\nerrors:  refused 5.00/s\n", "\nends:  no-upstream 3.00/s  done 1.00/s\n",
        "\nWORKER  Gbit/s up  down  new/s  conns  CPU  user  system  events/wake",
        "\n0            0.20  0.60   3.00      2    -     -       -            -\n",
        "\nsplice   100%    1.00   122 KiB\n", "\nswitches:  bulk 6.00/s\n",
        "\nRELAY  up      conns  queued  look-ups failed  mirror Gbit/s        lost",
        "\ndb     0 of 1      0       9              0/s           1.00  2.00 KiB/s\n",
        "\nweb    2 of 2      6       0           2.00/s              -           -\n",
        "\nUPSTREAM                 state  conns  new/s  failed          of relay",
        "\ndb:5432 (10.0.0.7:5432)  DOWN       -      0  refused 11.0/s  db",
        "\n10.0.0.9:80              up         6   8.00                  web"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\nis not in\n" << text;
  }
}

TEST(Picture, OfARelayFitsIntoAnyWidth) {
  const Summary summary = of_a_relay();
  for (std::size_t columns = 40; columns <= 130; ++columns) {
    for (const Line& line : picture(&summary, {.columns = columns, .url = "u"})) {
      EXPECT_LE(columns_of(text_of(line)), columns) << text_of(line);
    }
  }
  EXPECT_NE(picture_of(summary, 40).find("DOWN"), std::string::npos);
}

TEST(Table, CutsTextBeforeFigures) {
  const std::vector<std::vector<Piece>> rows{{{.text = "a-long-name"}, {.text = "12,345/s"}}};
  EXPECT_EQ(text_of(table({{.title = "N", .left = true}, {.title = "now"}}, rows, 15)[1]),
            "a-lo~  12,345/s");
}

TEST(Table, LeavesTheHighestRankOut) {
  const std::vector<Column> columns{
      {.title = "NAME", .left = true}, {.title = "one", .rank = 2}, {.title = "two", .rank = 1}};
  const std::vector<std::vector<Piece>> rows{{{.text = "abc"}, {.text = "1"}, {.text = "22"}}};
  const auto row = [&](std::size_t width) { return text_of(table(columns, rows, width)[1]); };
  EXPECT_EQ(row(14), "abc     1   22");
  EXPECT_EQ(row(13), "abc    22");
  EXPECT_EQ(row(8), "abc ");
}

TEST(Cut, CountsCharactersAndMarks) {
  EXPECT_EQ(cut("abc", 3), "abc");
  EXPECT_EQ(cut("abcd", 3), "ab~");
  EXPECT_EQ(cut("\u2581\u2582\u2583", 2), "\u2581~");
  EXPECT_EQ(cut("abc", 1), "~");
  EXPECT_EQ(cut("abc", 0), "");
  EXPECT_EQ(columns_of("\u2581b"), 2U);
}

}  // namespace
}  // namespace pagewire::top
