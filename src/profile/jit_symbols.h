// Names of code that a program makes while it runs, by the list that some of them write for
// profilers: /tmp/perf-PID.map (the kernel's tools/perf/Documentation/jit-interface.txt; node
// --perf-basic-prof, python -X perf, Java agents). Private to the room.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pagewire::profile {

class JitSymbols {
 public:
  explicit JitSymbols(pid_t process) : process_(process) {}

  /// The function at `address`; reads the list again, once a second at most, where it has none.
  std::optional<std::string> find(std::uint64_t address);
  /// Lines of "START SIZE name", numbers in base 16; what is none is skipped. Of two functions at
  /// one place the later one is there now.
  void parse(std::string_view text);

 private:
  struct Function {
    std::uint64_t end = 0;
    std::string name;
  };
  const Function* at(std::uint64_t address) const;

  pid_t process_;
  std::int64_t next_load_ns_ = 0;
  std::map<std::uint64_t, Function> functions_;
};

}  // namespace pagewire::profile
