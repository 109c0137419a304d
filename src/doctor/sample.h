// The temporary file of ROOT's filesystem that checks work on; private to the room.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "doctor/check.h"

namespace pagewire::doctor {

/// sample_bytes of position-coded bytes in a file without a name, to read and write. The error says
/// why there is none.
tl::expected<sys::Fd, std::string> make_sample(const std::string& root);

}  // namespace pagewire::doctor
