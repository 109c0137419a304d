#include <malloc.h>

#include "service/service.h"

namespace pagewire::service {

void HandshakeMemory::tick(std::uint64_t turnover, std::int64_t now_ms) {
  constexpr std::uint64_t wave = 128;
  constexpr std::int64_t pause_ms = 10'000;
  const bool calm = turnover == turnover_at_tick_;
  turnover_at_tick_ = turnover;
  if (turnover - turnover_at_trim_ < wave) return;
  if (!calm && now_ms < next_trim_ms_) return;
  turnover_at_trim_ = turnover;
  next_trim_ms_ = now_ms + pause_ms;
  ::malloc_trim(0);
}

}  // namespace pagewire::service
