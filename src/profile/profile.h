// profile: where a running process's CPU goes, any program's: how much of it copies bytes.
//
//   target.h  which processes       sampling.h  samples -> stacks      user_symbols.h  names,
//   unwinding categories.h  what a function does          verdict.h  shares -> a sentence render:
//   text.cpp, json.cpp, folded.cpp, flame_graph.cpp
//
// Everything runs on the caller's thread. Nothing of the process is stopped or changed. Tracing
// makes its system calls dearer, and is on in the last tenth of the time alone.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace pagewire::profile {

enum class Category : std::uint8_t {
  Copy,            ///< between user and kernel memory, and within the kernel
  PageCache,       ///< finding pages, taking and dropping references to them
  Splice,          ///< sendfile, splice, pipes
  TcpSend,         ///< from the send call down to the driver
  TcpReceive,      ///< in the receive call
  ReceiveSoftirq,  ///< packets that came in: on loopback those that this very process sent
  Checksum,
  Tls,  ///< encryption, in the kernel or in libcrypto and libssl
  Memory,
  Scheduling,  ///< wake-ups, epoll, IPIs, context switches
  SyscallEntry,
  OtherKernel,
  Program,  ///< its own code and libraries
};
inline constexpr std::size_t category_count = 13;
std::string_view name(Category category);   ///< "copy", for JSON
std::string_view title(Category category);  ///< "copying bytes", for people

/// A function on a stack. Interned: a stack is a list of places in Report::frames.
struct Frame {
  std::string function;  ///< "[hidden]", "[unknown]" where there is no name
  std::string module;    ///< "nginx", "libc.so.6"; "kernel", or a module of it
  bool in_kernel = false;

  friend auto operator<=>(const Frame&, const Frame&) = default;
};

struct Stack {
  std::vector<std::uint32_t> frames;  ///< outermost first
  Category category = Category::Program;
  std::uint64_t samples = 0;
};

/// Of one kind of system call, as far as it was seen.
struct SyscallUse {
  std::string name;  ///< "sendfile"
  double calls_per_s = 0;
  std::optional<double> bytes_per_call;  ///< absent: it moves no bytes
};

enum class Advice : std::uint8_t {
  ZeroCopyWouldPay,  ///< surely more than 5% copying
  Borderline,        ///< the interval has 5% in it
  LittleToGain,      ///< surely less
  Unknown,
};
std::string_view name(Advice advice);

struct Verdict {
  Advice advice = Advice::Unknown;
  std::string text;
};

struct Process {
  pid_t pid = 0;
  std::string name;
};

struct Report {
  std::vector<Process> processes;
  double seconds = 0;  ///< sampled
  /// That the processes used meanwhile: by /proc/PID/stat, and by samples where one has ended.
  double cpu_seconds = 0;
  double user_seconds = 0;
  std::string event;  ///< "cycles" or "cpu-clock"
  unsigned frequency_hz = 0;
  std::uint64_t samples = 0;
  std::uint64_t lost = 0;
  std::vector<Frame> frames;
  std::vector<Stack> stacks;
  std::array<std::uint64_t, category_count> by_category{};
  /// Copying, by the system call that it was done for: "read", "sendto"; the most first.
  std::vector<std::pair<std::string, std::uint64_t>> copied_in;
  bool kernel_seen = true;   ///< samples of kernel mode were taken
  bool kernel_named = true;  ///< and their functions are known
  std::vector<SyscallUse> syscalls;
  std::string no_syscalls;  ///< why there are none; "": there are
  std::vector<std::string> notes;
  Verdict verdict;

  double percent(Category category) const;
};

struct Settings {
  std::string target;  ///< a PID, or a program's name
  double seconds = 10;
  std::function<bool()> stop_asked;  ///< then what was seen by then counts
};

/// The error is one line: no such process, not ours, no permission.
tl::expected<Report, std::string> profile(const Settings& settings);

struct TextOptions {
  std::size_t columns = 80;
  bool colour = false;
};
std::string to_text(const Report& report, const TextOptions& options);
/// docs/profile.schema.json
std::string to_json(const Report& report);
/// Lines of "name;outer;inner_[k] count", for flame graph tools.
std::string to_folded(const Report& report);
/// A flame graph in one file, with a script of its own for zooming; nothing is fetched.
std::string to_svg(const Report& report);

}  // namespace pagewire::profile
