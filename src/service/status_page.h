// The page at / of the admin listener. Made from web/status by the build
// (cmake/status_page.cmake). Private to this room.
#pragma once

#include <string_view>

namespace pagewire::service {

std::string_view status_page();

/// What the page may do (Content-Security-Policy): run the script and show the styles that are in
/// it, which are named by their hashes, and read from where it came.
std::string_view status_page_policy();

}  // namespace pagewire::service
