// From what the checks found to what an operator does about it; private to the room. Pure, but for
// egress::choose() being asked.
#pragma once

#include <span>

#include "doctor/check.h"

namespace pagewire::doctor {

/// `entries`: all checks, run.
Verdict judge(const Examination& examination, std::span<const Entry> entries);

/// At most three, failed ones first, then by what they save; each command once.
std::vector<Change> first_changes(std::span<const Entry> entries);

}  // namespace pagewire::doctor
