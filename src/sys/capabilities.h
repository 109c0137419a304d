// Whether this thread has a capability (capabilities(7)), and going without one for a while.
#pragma once

#include <cstdint>

namespace pagewire::sys {

enum class Capability : std::uint8_t { NetAdmin, SysAdmin, SysPtrace, Syslog, PerfMon };

/// In the effective set of this thread.
bool has_capability(Capability capability);

/// Takes a capability out of this thread's effective set as long as it lives: what the kernel does
/// by the way for whoever has it (loading a module) does not happen meanwhile.
class WithoutCapability {
 public:
  explicit WithoutCapability(Capability capability);
  WithoutCapability(const WithoutCapability&) = delete;
  WithoutCapability& operator=(const WithoutCapability&) = delete;
  ~WithoutCapability();

 private:
  Capability capability_;
  bool taken_ = false;
};

}  // namespace pagewire::sys
