// The versions of TLS that are spoken.
#pragma once

#include <cstdint>

namespace pagewire::tls {

enum class Version : std::uint8_t { Tls12, Tls13 };

}  // namespace pagewire::tls
