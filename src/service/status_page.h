// The page at / of the admin listener. Its text is made from web/status by the build
// (cmake/status_page.cmake). Private to this room.
#pragma once

#include <string_view>

namespace pagewire::service {

std::string_view status_page();

/// What the page may do: show what is in it, and read from where it came. It names its one script
/// by a hash in itself, because that is known only when it is made; both policies hold.
inline constexpr std::string_view status_page_policy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace pagewire::service
