// What both directions of a session need to hand its keys to the kernel.
#pragma once

#include <cstdint>

#include "sys/kernel_tls.h"
#include "tls/session.h"

namespace pagewire::tls {

/// Why it has not taken them, from what setsockopt(2) said.
KernelReason kernel_reason_of(int errno_value, const WriteKeys& keys);

/// `sequence`: of the next record.
sys::TlsKeys kernel_keys(const WriteKeys& keys, std::uint64_t sequence);

}  // namespace pagewire::tls
