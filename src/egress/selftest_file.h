// The file that the self-test sends; private to the room.
//
// It lies on ROOT's filesystem: a new one without a name where ROOT can be written (O_TMPFILE,
// open(2), Linux 3.11: nobody sees it, and it goes with its descriptor), else one that is there.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "content/content.h"

namespace pagewire::egress {

struct SampleFile {
  content::FileRef file;
  std::string bytes;  ///< what pread(2) says of its beginning; never empty
};

/// The error says why there is none.
tl::expected<SampleFile, std::string> sample_file(const std::string& root);

/// The second of the two ways.
tl::expected<SampleFile, std::string> existing_sample(const std::string& root);

}  // namespace pagewire::egress
