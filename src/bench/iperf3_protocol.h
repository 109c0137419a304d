// iperf3's protocol as values: control messages, error numbers, and the two JSON texts. Pure.
//
//   client                                    server
//   ------ cookie (37 bytes) ---------------->          control connection
//   <----- ParamExchange ---------------------
//   ------ length, JSON: parameters --------->
//   <----- CreateStreams ---------------------
//   ====== cookie, on each data connection ==>          as many as "parallel" says
//   <----- TestStart, TestRunning ------------
//   <===== the bytes of the test ============           a reverse test
//   ------ TestEnd -------------------------->          the client ends every test, -n and -k too
//   <===== FIN on each data connection =======          it reads on until a whole block or this
//   <----- ExchangeResults -------------------
//   ------ length, JSON: results ------------>
//   <----- length, JSON: results -------------
//   <----- DisplayResults --------------------
//   ------ IperfDone ------------------------>          and both close
//
// A message is one byte; a length is 32 bits, big endian. Found by strace(1) of iperf 3.12's client
// and server talking to each other (parameters with every option, -P, -n, -k, -O, a second client,
// wrong cookies), and by a scripted server that sent the client each error number in turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace pagewire::bench::iperf3 {

/// 36 characters and a NUL.
inline constexpr std::size_t cookie_bytes = 37;
/// The longest JSON text that is read. 128 streams' results are 20 KB.
inline constexpr std::size_t json_limit_bytes = 64 * 1024;

enum class Message : std::int8_t {
  TestStart = 1,
  TestRunning = 2,
  TestEnd = 4,
  ParamExchange = 9,
  CreateStreams = 10,
  ServerTerminate = 11,
  ClientTerminate = 12,
  ExchangeResults = 13,
  DisplayResults = 14,
  IperfDone = 16,
  AccessDenied = -1,  ///< another test is running
  ServerError = -2,   ///< followed by ErrorNumber and an errno, each a length's 32 bits
};

/// iperf3's i_errno, and what its client prints for it.
enum class ErrorNumber : std::uint32_t {
  Duration = 5,          ///< "test duration too long"
  StreamCount = 6,       ///< "number of parallel streams too large (maximum = 128)"
  BlockSize = 7,         ///< "block size too large (maximum = 1048576 bytes)"
  BufferSize = 8,        ///< "socket buffer size too large"
  Omit = 12,             ///< "bogus value for --omit"
  NotImplemented = 13,   ///< "an option you are trying to set is not implemented yet"
  NoSctp = 18,           ///< "no SCTP support available"
  ReceiveParams = 114,   ///< "unable to receive parameters from client:" and the errno
  UnknownMessage = 110,  ///< "received an unknown control message"
  ReceiveResults = 117,  ///< "unable to receive results:" and the errno
  SetCongestion = 134,   ///< "unable to set TCP_CONGESTION: ... not supported on this host"
  SetPacing = 140,       ///< "unable to set socket pacing:" and the errno
  BufferNotSet = 141,    ///< "socket buffer size not set correctly"
  Idle = 144,            ///< "idle timeout for receiving data"
  StreamWrite = 205,     ///< "unable to write to stream socket:" and the errno
  StreamClosed = 207,    ///< "stream socket has closed unexpectedly"
};

/// Why a client's test is not done, or not to its end.
struct Refusal {
  ErrorNumber number = ErrorNumber::NotImplemented;
  int errno_value = 0;  ///< the same number here and there: iperf3 sends it raw
  std::string text;     ///< for our own line
};

/// What the client asked for, as far as it matters to who sends. Not here, because the client's end
/// does it alone: -M (the MSS in its SYN binds us), -4, -6, -i, -J; because TCP has no use for it:
/// --dont-fragment, counters of UDP; because pagewire does it its own way: -Z (the path decides),
/// -N (always), --repeating-payload (the file is sent), pacing timer and burst; because it is only
/// a name: -T, client_version.
struct Parameters {
  std::size_t streams = 1;            ///< -P
  std::uint64_t time_s = 0;           ///< -t; 0: the two below end the test, or the client does
  std::uint64_t total_bytes = 0;      ///< -n, of all streams; 0: no such limit
  std::uint64_t total_blocks = 0;     ///< -k, likewise
  std::uint64_t omit_s = 0;           ///< -O: not counted at the beginning
  std::uint64_t block_bytes = 0;      ///< -l
  std::uint64_t window_bytes = 0;     ///< -w: SO_SNDBUF; 0: the kernel's own
  std::uint64_t rate_bits_per_s = 0;  ///< -b, of each stream; 0: none
  std::uint64_t kernel_pacing_bits_per_s = 0;  ///< --fq-rate, likewise
  int type_of_service = 0;                     ///< -S
  std::string congestion;                      ///< -C; "": the kernel's own
  bool wants_output = false;                   ///< --get-server-output
};

/// Refuses what is not a reverse TCP test, and what is out of iperf3's own limits.
tl::expected<Parameters, Refusal> parse_parameters(std::string_view json);

/// How many bytes end the test, in whole blocks as iperf3 sends them; nullopt: time does.
std::optional<std::uint64_t> bytes_to_send(const Parameters& parameters);

struct StreamResult {
  std::uint64_t bytes = 0;                   ///< that went into the socket after the omitted time
  std::optional<std::uint64_t> retransmits;  ///< segments, likewise
};
struct Results {
  double cpu_user_percent = 0;  ///< of one core, of this process
  double cpu_system_percent = 0;
  double seconds = 0;
  std::string congestion;             ///< that the first stream used
  std::vector<StreamResult> streams;  ///< in the order of their numbers
  std::string output;                 ///< for --get-server-output; "": none
};
std::string to_json(const Results& results);

/// The number that iperf3 gives to its stream number `index`: 1, 3, 4, 5 ... (there is no 2).
std::size_t stream_id(std::size_t index);

/// The bytes that the client says it received on all streams.
tl::expected<std::uint64_t, std::string> received_bytes(std::string_view json);

/// A cookie that iperf3 could have made: 36 printable characters and a NUL.
bool is_cookie(std::string_view bytes);

/// The JSON text behind its length at the start of `input`.
struct Framed {
  enum class State : std::uint8_t { Incomplete, Complete, TooLong };
  State state = State::Incomplete;
  std::string_view json;
  std::size_t used = 0;  ///< of the input, when complete
};
Framed read_framed(std::string_view input);

std::string message_bytes(Message message);
std::string framed(std::string_view json);
std::string error_bytes(const Refusal& refusal);

}  // namespace pagewire::bench::iperf3
