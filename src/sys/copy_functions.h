// Which functions of the kernel copy bytes: what a sample of a CPU is held against to say how much
// of its time goes into copying.
//
// Names differ between kernels and CPUs: since Linux 6.4 an x86 CPU with FSRM copies by one
// instruction inside _copy_to_iter and the like, others in rep_movs_alternative, kernels before
// 6.4 in copy_user_*; arm64 has __arch_copy_*. Callers that only walk over what is to be copied
// (skb_copy_datagram_iter, filemap_read) are not among them: their time is not copying.
#pragma once

#include <string_view>

namespace pagewire::sys {

/// `name` as in /proc/kallsyms; what the compiler added to it (".constprop.0") is left out.
bool is_copy_function(std::string_view name);

}  // namespace pagewire::sys
