// From shares to a sentence; private to the room. Pure.
#pragma once

#include "profile/profile.h"

namespace pagewire::profile {

/// Half of the 95% interval of a share of so many samples, in percent points (normal
/// approximation; never 0).
double margin_percent(double percent, std::uint64_t samples);

Verdict judge(const Report& report);

}  // namespace pagewire::profile
