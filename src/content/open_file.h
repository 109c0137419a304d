// Makes the head lines that an OpenFile carries; private to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "content/content.h"

namespace pagewire::content {

/// What head lines depend on beside the file itself; the same for the whole life of a Site.
struct HeadPolicy {
  std::vector<CacheRule> cache_rules;
  bool precompressed = true;
  std::string site_lines;  ///< "Server: ...", CORS: lines that every response has
};

/// A file as a request names it: the decoded path of the plain file, and which of its forms.
struct FileName {
  const std::string& path;
  http::Coding coding = http::Coding::Identity;
};

EntityHead make_entity_head(const HeadPolicy& policy, const FileName& name,
                            const sys::FileStatus& status, const Now& now);

}  // namespace pagewire::content
