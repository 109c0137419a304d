// What a function of the kernel, or of a library, is there for; private to the room. Pure.
//
// The tables stand in categories.cpp and nowhere else.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "profile/profile.h"

namespace pagewire::profile {

/// nullopt: it does not tell by itself, and its caller is asked.
std::optional<Category> category_of_kernel_function(std::string_view name);

/// Of a stack, innermost first. The innermost frame that tells decides; network code below a
/// receive softirq or a receiving call belongs to that. A frame in user mode is the program's,
/// unless its library encrypts or allocates.
Category categorize(std::span<const Frame* const> innermost_first);

/// The system call that a stack is in: "sendto" of "__x64_sys_sendto"; "": none.
std::string syscall_of(std::span<const Frame* const> innermost_first);

}  // namespace pagewire::profile
