// Exposition::parse, on what any server may answer to pagewire top; and what is worked out of it.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "top/exposition.h"
#include "top/json.h"
#include "top/summary.h"
#include "top/view.h"

using namespace pagewire::top;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Two readings, in one input.
  const std::size_t middle = std::min(text.find("\n---\n"), text.size());
  auto before = Exposition::parse(text.substr(0, middle));
  auto after = Exposition::parse(text.substr(std::min(middle + 5, text.size())));
  if (!before || !after) return 0;
  const Reading first{.metrics = std::move(*before), .at_ns = 0};
  const Reading second{.metrics = std::move(*after), .at_ns = 1'000'000'000};
  static_cast<void>(restarted(first, second));
  const Summary summary = summarize(first, second, 1e9);
  static_cast<void>(to_json(summary, "url"));
  for (const std::size_t columns : {std::size_t{40}, std::size_t{120}}) {
    for (const Line& line : picture(&summary, {.columns = columns, .url = "url"})) {
      std::size_t used = 0;
      for (const Piece& piece : line) used += columns_of(piece.text);
      if (used > columns) std::abort();
    }
  }
  return 0;
}
