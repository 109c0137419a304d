// Directory listings; private.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sys/fd.h"

namespace pagewire::content {

/// Appends an HTML page with the names in the directory. `path` is the decoded path of the
/// directory
/// ("" or with its trailing '/'). Errors: as readdir(3) (EIO), ENOMEM.
Result<void> append_listing(std::string& page, sys::Fd directory, std::string_view path);

}  // namespace pagewire::content
