// iperf3's protocol as values: what its clients were seen to send, and what must be refused.
#include "bench/iperf3_protocol.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <nlohmann/json.hpp>

namespace pagewire::bench::iperf3 {
namespace {

using Json = nlohmann::json;

// What iperf 3.12 sent for `-R -t 10`, byte for byte.
constexpr const char* plain =
    R"({"tcp":true,"omit":0,"time":10,"num":0,"blockcount":0,"parallel":1,"reverse":true,)"
    R"("len":131072,"pacing_timer":1000,"client_version":"3.12"})";

/// The plain parameters with some fields changed; null removes one.
std::string with(const Json& changes) {
  Json object = Json::parse(plain);
  object.merge_patch(changes);
  return object.dump();
}

Refusal refusal_of(const std::string& json) {
  const auto parsed = parse_parameters(json);
  EXPECT_FALSE(parsed.has_value()) << json;
  return parsed ? Refusal{} : parsed.error();
}

TEST(Iperf3Parameters, PlainReverseTest) {
  const auto parsed = parse_parameters(plain);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->streams, 1U);
  EXPECT_EQ(parsed->time_s, 10U);
  EXPECT_EQ(parsed->block_bytes, 131'072U);
  EXPECT_EQ(parsed->window_bytes, 0U);
  EXPECT_EQ(parsed->rate_bits_per_s, 0U);
  EXPECT_EQ(parsed->congestion, "");
  EXPECT_FALSE(parsed->wants_output);
  EXPECT_EQ(bytes_to_send(*parsed), std::nullopt);
}

TEST(Iperf3Parameters, EverySwitchThatMatters) {
  // As sent for -w 256K -C cubic -M 1400 -N -S 32 -Z -T hello --get-server-output --dont-fragment.
  const auto parsed = parse_parameters(
      R"({"tcp":true,"omit":2,"time":1,"num":0,"blockcount":0,"MSS":1400,"nodelay":true,)"
      R"("parallel":128,"reverse":true,"window":262144,"len":4096,"bandwidth":100000000,)"
      R"("fqrate":200000000,"pacing_timer":1000,"burst":4,"TOS":32,"title":"hello",)"
      R"("congestion":"cubic","get_server_output":1,"zerocopy":1,"dont_fragment":1,)"
      R"("repeating_payload":1,"udp_counters_64bit":1,"client_version":"3.12"})");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->streams, 128U);
  EXPECT_EQ(parsed->omit_s, 2U);
  EXPECT_EQ(parsed->window_bytes, 262'144U);
  EXPECT_EQ(parsed->block_bytes, 4'096U);
  EXPECT_EQ(parsed->rate_bits_per_s, 100'000'000U);
  EXPECT_EQ(parsed->kernel_pacing_bits_per_s, 200'000'000U);
  EXPECT_EQ(parsed->type_of_service, 32);
  EXPECT_EQ(parsed->congestion, "cubic");
  EXPECT_TRUE(parsed->wants_output);
}

TEST(Iperf3Parameters, UnknownFieldsAreLeftAlone) {
  EXPECT_TRUE(parse_parameters(with({{"of_a_later_version", {1, 2, 3}}})).has_value());
}

TEST(Iperf3Parameters, OnlyReverseTcpTests) {
  const Json cases[] = {
      {{"reverse", nullptr}},
      {{"reverse", false}},
      {{"reverse", 0}},
      {{"reverse", "yes"}},
      {{"bidirectional", true}},
      {{"tcp", nullptr}},
      {{"tcp", nullptr}, {"udp", true}},
      {{"udp", true}},
  };
  for (const Json& changes : cases) {
    const Refusal refusal = refusal_of(with(changes));
    EXPECT_EQ(refusal.number, ErrorNumber::NotImplemented) << changes;
    EXPECT_EQ(refusal.text, "only reverse TCP tests (iperf3 -R)") << changes;
  }
  EXPECT_EQ(refusal_of(with({{"tcp", nullptr}, {"sctp", true}})).number, ErrorNumber::NoSctp);
}

TEST(Iperf3Parameters, LimitsAreIperf3s) {
  const struct {
    Json changes;
    ErrorNumber number;
  } cases[] = {
      {{{"parallel", 0}}, ErrorNumber::StreamCount},
      {{{"parallel", 129}}, ErrorNumber::StreamCount},
      {{{"parallel", -1}}, ErrorNumber::StreamCount},
      {{{"parallel", "4"}}, ErrorNumber::StreamCount},
      {{{"time", 86'401}}, ErrorNumber::Duration},
      {{{"time", -1}}, ErrorNumber::Duration},
      {{{"time", 1.5}}, ErrorNumber::Duration},
      {{{"omit", 601}}, ErrorNumber::Omit},
      {{{"len", 0}}, ErrorNumber::BlockSize},
      {{{"len", 1'048'577}}, ErrorNumber::BlockSize},
      {{{"window", 536'870'913}}, ErrorNumber::BufferSize},
      {{{"num", -5}}, ErrorNumber::ReceiveParams},
      {{{"num", 1e300}}, ErrorNumber::ReceiveParams},
      {{{"num", 18'446'744'073'709'551'615U}}, ErrorNumber::ReceiveParams},
      {{{"blockcount", true}}, ErrorNumber::ReceiveParams},
      {{{"bandwidth", "fast"}}, ErrorNumber::ReceiveParams},
      {{{"TOS", 256}}, ErrorNumber::ReceiveParams},
      {{{"congestion", 7}}, ErrorNumber::SetCongestion},
      {{{"congestion", std::string(16, 'x')}}, ErrorNumber::SetCongestion},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(refusal_of(with(one.changes)).number, one.number) << one.changes;
  }
  EXPECT_TRUE(parse_parameters(with({{"parallel", 128}, {"time", 86'400}})).has_value());
}

TEST(Iperf3Parameters, WhatIsNoObject) {
  const std::string deep(60'000, '[');
  for (const std::string& text : {std::string(), std::string("nonsense"), std::string("[]"),
                                  std::string("null"), std::string("{\"tcp\":true"), deep,
                                  deep + std::string(deep.size(), ']'), std::string("\xff\xfe")}) {
    const Refusal refusal = refusal_of(text);
    EXPECT_EQ(refusal.number, ErrorNumber::ReceiveParams) << text.substr(0, 40);
    EXPECT_EQ(refusal.errno_value, EINVAL);
  }
}

TEST(Iperf3Parameters, BytesAndBlocksEndATestInWholeBlocks) {
  const auto bytes_of = [](const Json& changes) {
    const auto parsed = parse_parameters(with(changes));
    EXPECT_TRUE(parsed.has_value()) << changes;
    return parsed ? bytes_to_send(*parsed) : std::nullopt;
  };
  EXPECT_EQ(bytes_of({{"num", 20'971'520}}), 20'971'520U);
  EXPECT_EQ(bytes_of({{"num", 1'000}}), 131'072U);
  EXPECT_EQ(bytes_of({{"num", 1'048'576}, {"len", 1'000}}), 1'049'000U);
  EXPECT_EQ(bytes_of({{"blockcount", 51}}), 51U * 131'072U);
  EXPECT_EQ(bytes_of({{"num", 1e15}}), 1'000'000'000'098'304U) << "as cJSON writes large numbers";
}

TEST(Iperf3Results, JsonHasWhatTheClientReads) {
  const Results results{.cpu_user_percent = 1.5,
                        .cpu_system_percent = 30,
                        .seconds = 2.5,
                        .congestion = "cubic",
                        .streams = {{.bytes = 7, .retransmits = 3},
                                    {.bytes = 1'000'000'000'000, .retransmits = 0},
                                    {.bytes = 9, .retransmits = 1}},
                        .output = "a line\n"};
  const Json json = Json::parse(to_json(results));
  EXPECT_EQ(json["cpu_util_total"], 31.5);
  EXPECT_EQ(json["cpu_util_user"], 1.5);
  EXPECT_EQ(json["cpu_util_system"], 30.0);
  EXPECT_EQ(json["sender_has_retransmits"], 1);
  EXPECT_EQ(json["congestion_used"], "cubic");
  EXPECT_EQ(json["server_output_text"], "a line\n");
  ASSERT_EQ(json["streams"].size(), 3U);
  EXPECT_EQ(json["streams"][0]["id"], 1);
  EXPECT_EQ(json["streams"][1]["id"], 3);
  EXPECT_EQ(json["streams"][2]["id"], 4);
  EXPECT_EQ(json["streams"][1]["bytes"], 1'000'000'000'000);
  EXPECT_EQ(json["streams"][0]["retransmits"], 3);
  EXPECT_EQ(json["streams"][0]["start_time"], 0);
  EXPECT_EQ(json["streams"][0]["end_time"], 2.5);
}

TEST(Iperf3Results, UnknownRetransmitsAreNotZero) {
  Results results;
  results.streams = {{.bytes = 7, .retransmits = std::nullopt}};
  const Json json = Json::parse(to_json(results));
  EXPECT_EQ(json["sender_has_retransmits"], 0);
  EXPECT_EQ(json["streams"][0]["retransmits"], -1);
  EXPECT_FALSE(json.contains("server_output_text"));
}

TEST(Iperf3Results, OutputOfAnyBytesIsJson) {
  Results results;
  results.output = "a\xff\"b";
  constexpr bool throwing = false;
  EXPECT_TRUE(Json::parse(to_json(results), nullptr, throwing).is_object());
}

TEST(Iperf3Results, BytesThatTheClientReceived) {
  EXPECT_EQ(received_bytes(R"({"streams":[{"id":1,"bytes":291110912,)"
                           R"("retransmits":18446744073709551615},{"id":3,"bytes":292290560}]})"),
            583'401'472U);
  EXPECT_EQ(received_bytes(R"({"streams":[]})"), 0U);
  for (const char* text :
       {"", "[]", "{}", R"({"streams":7})", R"({"streams":[7]})", R"({"streams":[{"bytes":-1}]})",
        R"({"streams":[{"bytes":"many"}]})", R"({"streams":[{"bytes":1e19}]})"}) {
    EXPECT_FALSE(received_bytes(text).has_value()) << text;
  }
}

TEST(Iperf3Frames, Cookies) {
  const std::string good = std::string("kr4bj6m7vhujaj7fy7i6cabxqs2dicmlv5mq") + '\0';
  EXPECT_TRUE(is_cookie(good));
  EXPECT_FALSE(is_cookie(good.substr(1)));
  EXPECT_FALSE(is_cookie(good + 'x'));
  EXPECT_FALSE(is_cookie("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n..."));
  std::string bad = good;
  bad[5] = '\0';
  EXPECT_FALSE(is_cookie(bad));
  bad = good;
  bad.back() = 'x';
  EXPECT_FALSE(is_cookie(bad));
}

TEST(Iperf3Frames, JsonBehindItsLength) {
  const std::string whole = framed("{}") + "rest";
  EXPECT_EQ(whole.substr(0, 4), std::string("\0\0\0\2", 4));
  for (std::size_t size = 0; size < 6; ++size) {
    EXPECT_EQ(read_framed(whole.substr(0, size)).state, Framed::State::Incomplete) << size;
  }
  const Framed read = read_framed(whole);
  ASSERT_EQ(read.state, Framed::State::Complete);
  EXPECT_EQ(read.json, "{}");
  EXPECT_EQ(read.used, 6U);
  // A text of the greatest length is waited for, a longer one is not.
  EXPECT_EQ(read_framed(std::string("\0\1\0\0", 4)).state, Framed::State::Incomplete);
  EXPECT_EQ(read_framed(std::string("\0\1\0\1", 4)).state, Framed::State::TooLong);
  EXPECT_EQ(read_framed("\xff\xff\xff\xff").state, Framed::State::TooLong);
}

TEST(Iperf3Frames, Messages) {
  EXPECT_EQ(message_bytes(Message::ParamExchange), "\t");
  EXPECT_EQ(message_bytes(Message::AccessDenied), "\xff");
  EXPECT_EQ(error_bytes({ErrorNumber::StreamWrite, EIO, ""}),
            std::string("\xfe\0\0\0\xcd\0\0\0\5", 9));
}

}  // namespace
}  // namespace pagewire::bench::iperf3
