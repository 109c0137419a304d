// The sentences around a report's tables: what was found, on which machine, what is missing and
// why. The same in every format for people. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bench/report.h"

namespace pagewire::bench {

/// "pagewire bench run: 256 MiB by every path".
std::string heading_of(const Report& report);

/// What was found, a sentence a row: "256 MiB x 4, stream: sendfile costs 0.31 of copy's CPU per
/// Gbit". Says so where the intervals overlap, and so nothing can be told.
std::vector<std::string> verdicts_of(const Report& report);

/// "cheaper than copy from 16 KiB on (between 8.0 KiB and 32 KiB)", or the reason.
std::string sentence_of(const BreakEven& found, const std::string& baseline);

using NamedText = std::pair<std::string, std::string>;

/// What the figures depend on; what is not known says "unknown".
std::vector<NamedText> environment_of(const Report& report);
/// In one line, without what is not known: a picture travels without its report.
std::string machine_of(const Report& report);
/// "saturation: ..." or "offered: 10 Gbit/s, ...".
std::string load_of(const Report& report);

/// Contenders that were not run, rounds that failed.
std::vector<std::string> mishaps_of(const Report& report);

struct Missing {
  std::string what;    ///< "cycles per Gbit, LLC load misses per Gbit"
  std::string who;     ///< "mmap, splice"; "" for everybody
  std::string reason;  ///< told once
};
std::vector<Missing> missing_figures(const Report& report);
/// The same as sentences: "major faults (mmap, splice): the kernel does not tell".
std::vector<std::string> missing_sentences_of(const Report& report);

/// What a column means, for who has not seen one before.
std::vector<NamedText> glossary();

}  // namespace pagewire::bench
