// iperf3's JSON texts and frames; see the header for where they were seen.
//
// Invariant: whatever a client sends, the answer is a value or a refusal: types and limits of every
// field that is used are checked, unknown fields are left alone (each iperf3 adds some).
#include "bench/iperf3_protocol.h"

#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>

namespace pagewire::bench::iperf3 {

namespace {

using Json = nlohmann::json;

// iperf3's own limits (iperf 3.12's man page and error texts).
constexpr std::uint64_t most_streams = 128;
constexpr std::uint64_t most_time_s = 86'400;
constexpr std::uint64_t most_omit_s = 600;
constexpr std::uint64_t most_block_bytes = 1024 * 1024;
constexpr std::uint64_t most_window_bytes = 512 * 1024 * 1024;
constexpr std::uint64_t most_blocks = 1'000'000'000'000;
constexpr std::uint64_t most_bytes = 0x7fff'ffff'ffff'ffffU - most_block_bytes;
constexpr std::uint64_t most_bits_per_s = 1'000'000'000'000'000;
constexpr std::uint64_t most_type_of_service = 255;
constexpr std::uint64_t default_block_bytes = 128 * 1024;

constexpr std::size_t length_bytes = 4;

/// A whole number from 0 to `most`; `missing` when there is no such field; nullopt for anything
/// else. cJSON writes large numbers as 1e+15.
struct Wanted {
  const char* name = "";
  std::uint64_t most = 0;
  std::uint64_t missing = 0;
};
std::optional<std::uint64_t> number(const Json& object, const Wanted& wanted) {
  const auto found = object.find(wanted.name);
  if (found == object.end()) return wanted.missing;
  if (found->is_number_unsigned()) {
    const auto value = found->get<std::uint64_t>();
    if (value > wanted.most) return std::nullopt;
    return value;
  }
  if (!found->is_number_float()) return std::nullopt;
  const auto value = found->get<double>();
  // Also false for a NaN.
  if (!(value >= 0 && value <= static_cast<double>(wanted.most))) return std::nullopt;
  if (value != std::floor(value)) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

/// iperf3 writes some switches as true and some as 1.
bool is_set(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return false;
  if (found->is_boolean()) return found->get<bool>();
  return found->is_number_integer() && found->get<std::int64_t>() != 0;
}

tl::unexpected<Refusal> refuse(ErrorNumber number, std::string text) {
  const bool has_errno = number == ErrorNumber::ReceiveParams;
  return tl::unexpected(Refusal{number, has_errno ? EINVAL : 0, std::move(text)});
}

std::optional<Refusal> refuse_kind(const Json& object) {
  const char* const text = "only reverse TCP tests (iperf3 -R)";
  if (is_set(object, "sctp")) return Refusal{ErrorNumber::NoSctp, 0, text};
  const bool fits = is_set(object, "tcp") && !is_set(object, "udp") && is_set(object, "reverse") &&
                    !is_set(object, "bidirectional");
  if (!fits) return Refusal{ErrorNumber::NotImplemented, 0, text};
  return std::nullopt;
}

struct Field {
  Wanted wanted;
  ErrorNumber refused;
  std::uint64_t Parameters::*into;
};

tl::expected<void, Refusal> read_numbers(const Json& object, Parameters& into) {
  using enum ErrorNumber;
  const Field fields[] = {
      {{"time", most_time_s}, Duration, &Parameters::time_s},
      {{"num", most_bytes}, ReceiveParams, &Parameters::total_bytes},
      {{"blockcount", most_blocks}, ReceiveParams, &Parameters::total_blocks},
      {{"omit", most_omit_s}, Omit, &Parameters::omit_s},
      {{"len", most_block_bytes, default_block_bytes}, BlockSize, &Parameters::block_bytes},
      {{"window", most_window_bytes}, BufferSize, &Parameters::window_bytes},
      {{"bandwidth", most_bits_per_s}, ReceiveParams, &Parameters::rate_bits_per_s},
      {{"fqrate", most_bits_per_s}, ReceiveParams, &Parameters::kernel_pacing_bits_per_s},
  };
  for (const Field& field : fields) {
    const std::optional<std::uint64_t> value = number(object, field.wanted);
    if (!value) {
      return refuse(field.refused, std::string("bad parameter \"") + field.wanted.name + "\"");
    }
    into.*field.into = *value;
  }
  if (into.block_bytes == 0) return refuse(BlockSize, "bad parameter \"len\"");
  const auto streams = number(object, {"parallel", most_streams, 1});
  if (!streams || *streams == 0) return refuse(StreamCount, "bad parameter \"parallel\"");
  into.streams = *streams;
  const auto service = number(object, {"TOS", most_type_of_service, 0});
  if (!service) return refuse(ReceiveParams, "bad parameter \"TOS\"");
  into.type_of_service = static_cast<int>(*service);
  return {};
}

}  // namespace

tl::expected<Parameters, Refusal> parse_parameters(std::string_view json) {
  constexpr bool throwing = false;
  const Json object = Json::parse(json, nullptr, throwing);
  if (!object.is_object()) {
    return refuse(ErrorNumber::ReceiveParams, "its parameters are no JSON object");
  }
  if (auto refusal = refuse_kind(object)) return tl::unexpected(*std::move(refusal));
  Parameters parameters;
  if (auto read = read_numbers(object, parameters); !read) return tl::unexpected(read.error());
  if (const auto found = object.find("congestion"); found != object.end()) {
    constexpr std::size_t most = 15;  // TCP_CA_NAME_MAX with its NUL
    if (!found->is_string() || found->get_ref<const std::string&>().size() > most) {
      return refuse(ErrorNumber::SetCongestion, "bad parameter \"congestion\"");
    }
    parameters.congestion = found->get<std::string>();
  }
  parameters.wants_output = is_set(object, "get_server_output");
  return parameters;
}

std::optional<std::uint64_t> bytes_to_send(const Parameters& parameters) {
  const std::uint64_t block = parameters.block_bytes;
  std::uint64_t blocks = parameters.total_blocks;
  if (parameters.total_bytes > 0) blocks = (parameters.total_bytes + block - 1) / block;
  if (blocks == 0) return std::nullopt;
  return blocks * block;
}

std::size_t stream_id(std::size_t index) {
  return index == 0 ? 1 : index + 2;
}

std::string to_json(const Results& results) {
  Json streams = Json::array();
  bool has_retransmits = true;
  for (const StreamResult& stream : results.streams) {
    has_retransmits = has_retransmits && stream.retransmits.has_value();
    Json entry = {{"id", stream_id(streams.size())},
                  {"bytes", stream.bytes},
                  {"jitter", 0},
                  {"errors", 0},
                  {"packets", 0},
                  {"start_time", 0},
                  {"end_time", results.seconds}};
    // iperf3's own word for "unknown" is -1.
    entry["retransmits"] = stream.retransmits ? Json(*stream.retransmits) : Json(-1);
    streams.push_back(std::move(entry));
  }
  Json object = {{"cpu_util_total", results.cpu_user_percent + results.cpu_system_percent},
                 {"cpu_util_user", results.cpu_user_percent},
                 {"cpu_util_system", results.cpu_system_percent},
                 {"sender_has_retransmits", has_retransmits ? 1 : 0},
                 {"congestion_used", results.congestion},
                 {"streams", std::move(streams)}};
  if (!results.output.empty()) object["server_output_text"] = results.output;
  // A file's name may hold any bytes; JSON is UTF-8.
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

tl::expected<std::uint64_t, std::string> received_bytes(std::string_view json) {
  constexpr bool throwing = false;
  const Json object = Json::parse(json, nullptr, throwing);
  const auto bad = [] { return tl::unexpected(std::string("its results cannot be read")); };
  if (!object.is_object()) return bad();
  const auto streams = object.find("streams");
  if (streams == object.end() || !streams->is_array()) return bad();
  if (streams->size() > most_streams) return bad();
  std::uint64_t sum = 0;
  for (const Json& stream : *streams) {
    if (!stream.is_object()) return bad();
    const auto bytes = number(stream, {"bytes", most_bytes / most_streams, 0});
    if (!bytes) return bad();
    sum += *bytes;
  }
  return sum;
}

bool is_cookie(std::string_view bytes) {
  if (bytes.size() != cookie_bytes || bytes.back() != '\0') return false;
  bytes.remove_suffix(1);
  for (const char c : bytes) {
    if (c <= ' ' || c > '~') return false;
  }
  return true;
}

namespace {

std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

}  // namespace

Framed read_framed(std::string_view input) {
  if (input.size() < length_bytes) return {};
  std::size_t length = 0;
  for (const char c : input.substr(0, length_bytes)) {
    length = length << 8 | static_cast<unsigned char>(c);
  }
  if (length > json_limit_bytes) return {.state = Framed::State::TooLong, .json = {}, .used = 0};
  if (input.size() - length_bytes < length) return {};
  return {.state = Framed::State::Complete,
          .json = input.substr(length_bytes, length),
          .used = length_bytes + length};
}

std::string message_bytes(Message message) {
  return {static_cast<char>(message)};
}

std::string framed(std::string_view json) {
  return big_endian(static_cast<std::uint32_t>(json.size())).append(json);
}

std::string error_bytes(const Refusal& refusal) {
  return message_bytes(Message::ServerError) +
         big_endian(static_cast<std::uint32_t>(refusal.number)) +
         big_endian(static_cast<std::uint32_t>(refusal.errno_value));
}

}  // namespace pagewire::bench::iperf3
