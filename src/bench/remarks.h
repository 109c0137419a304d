// What a reader should know before believing a figure. Pure.
#pragma once

#include <string>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench {

/// One sentence for each thing that is worth knowing, naming the contenders that it concerns. Needs
/// the summaries.
std::vector<std::string> remarks_of(const std::vector<Row>& rows);

}  // namespace pagewire::bench
