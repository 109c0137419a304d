// Responses in memory whose records somebody else sends (Loop::submit_send).
#pragma once

#include "egress/memory.h"

namespace pagewire::egress {

/// As memory_pieces(), sealed: the records stay in the transport's outlet until after_send().
std::span<const iovec> sealed_pieces(Transfer& transfer, ByteCount limit, std::span<iovec> room);

}  // namespace pagewire::egress
