// A Summary as JSON. Private to this room.
#pragma once

#include <string>

#include "top/summary.h"

namespace pagewire::top {

/// One object and a line break. Rates are per second; null: could not be had.
std::string to_json(const Summary& summary, const std::string& url);

}  // namespace pagewire::top
