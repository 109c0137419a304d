// The one response of the floors that send memory: a head, and a position-coded body.
#pragma once

#include <span>
#include <string>

#include "../load/position_code.h"

namespace pagewire::bench {

inline std::string make_response(std::size_t body_bytes) {
  std::string response =
      "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
      "Content-Length: " +
      std::to_string(body_bytes) + "\r\n\r\n";
  const std::size_t head_bytes = response.size();
  response.resize(head_bytes + body_bytes);
  fill_position_coded(std::span(response).subspan(head_bytes));
  return response;
}

}  // namespace pagewire::bench
