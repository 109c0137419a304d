// Cache-Control by pattern; private to the room beside content.h's default_cache_rules().
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "content/content.h"

namespace pagewire::content {

/// The value of Cache-Control for the decoded path: the first of `rules` that matches, else the
/// first of the default ones, else "" (none is sent).
std::string_view cache_control_for(std::span<const CacheRule> rules, const std::string& path);

/// EINVAL when a value could not stand in a head: control bytes, or longer than a head has room
/// for.
Result<void> check_cache_rules(std::span<const CacheRule> rules);

}  // namespace pagewire::content
