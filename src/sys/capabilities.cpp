#include "sys/capabilities.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace pagewire::sys {

namespace {

// By capget(2) and capset(2) themselves, which are about one thread.
struct Sets {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};

  bool read() { return ::syscall(SYS_capget, &header, data.data()) == 0; }
  bool write() { return ::syscall(SYS_capset, &header, data.data()) == 0; }
};

unsigned number_of(Capability capability) {
  switch (capability) {
    case Capability::NetAdmin:
      return CAP_NET_ADMIN;
    case Capability::SysAdmin:
      return CAP_SYS_ADMIN;
    case Capability::SysPtrace:
      return CAP_SYS_PTRACE;
    case Capability::Syslog:
      return CAP_SYSLOG;
    case Capability::PerfMon:
      return CAP_PERFMON;
  }
  return 0;
}

}  // namespace

bool has_capability(Capability capability) {
  Sets sets;
  const unsigned number = number_of(capability);
  return sets.read() && (sets.data[number / 32].effective >> (number % 32) & 1U) != 0;
}

WithoutCapability::WithoutCapability(Capability capability) : capability_(capability) {
  Sets sets;
  const unsigned number = number_of(capability);
  if (!has_capability(capability) || !sets.read()) return;
  sets.data[number / 32].effective &= ~(1U << (number % 32));
  taken_ = sets.write();
}

// It is still in the permitted set, so that it may be taken back.
WithoutCapability::~WithoutCapability() {
  Sets sets;
  if (!taken_ || !sets.read()) return;
  const unsigned number = number_of(capability_);
  sets.data[number / 32].effective |= 1U << (number % 32);
  (void)sets.write();
}

}  // namespace pagewire::sys
