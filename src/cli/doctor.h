// `pagewire doctor`.
#pragma once

#include <span>
#include <string>

namespace pagewire::cli {

inline constexpr int doctor_well = 0;
inline constexpr int doctor_warnings = 1;
inline constexpr int doctor_failures = 2;
inline constexpr int doctor_cannot_run = 3;

/// `arguments` are those after "doctor". Returns the exit status, one of those above.
int doctor(std::span<const std::string> arguments);

}  // namespace pagewire::cli
