// What a bench sends, and over what: values, and the CPUs to choose from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "egress/egress.h"

namespace pagewire::bench {

enum class Mode : std::uint8_t {
  Stream,   ///< the file over and over, until the window closes
  Request,  ///< an answer (a head of 200 bytes, then the whole file) for each request
};
enum class NetKind : std::uint8_t { Loopback, Veth };

/// CPUs of the two processes; nullopt is wherever the scheduler likes.
struct Pinning {
  std::optional<int> server;
  std::optional<int> client;
};

/// The CPUs that this process may use (sched_getaffinity(2)), ascending; never empty.
std::vector<int> allowed_cpus();

/// Server and client on two cores where there are two, else on two threads of one core. With one
/// CPU: both wherever the scheduler likes, which a run remarks.
Pinning default_pinning();

struct RunSettings {
  std::string file;           ///< "": a position-coded one of `size` is made and removed
  ByteCount size{256 * mib};  ///< of the file that is made
  ByteCount zeros{};          ///< instead of a file: so many of /dev/zero; 0: a file
  std::string folder = ".";   ///< where it is made: the filesystem decides what a path costs
  std::vector<const egress::Path*> paths;
  Mode mode = Mode::Stream;
  double seconds = 3;  ///< of each round's window
  double warmup_seconds = 0.5;
  std::size_t connections = 4;
  std::size_t repeat = 5;
  NetKind net = NetKind::Loopback;
  /// The file's pages are dropped before each round, and nothing warms them up again: the window
  /// opens with the first answer.
  bool cold = false;
  std::optional<double> rate_gbit_per_s;  ///< offered by the client; none: saturation
  Pinning pin;
  bool instrument = true;  ///< one more round per path, traced and sampled
};

struct SweepSettings {
  std::vector<ByteCount> sizes;  ///< ascending
  RunSettings run;               ///< but for file, size and mode
};

}  // namespace pagewire::bench
