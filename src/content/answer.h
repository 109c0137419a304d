// Puts answers together in a Response: heads and segments. No I/O; private.
#pragma once

#include <cstdint>
#include <string_view>

#include "content/content.h"
#include "content/multipart.h"

namespace pagewire::content {

/// One request under answer.
struct Exchange {
  const http::Request& request;
  bool close = false;           ///< "Connection: close", decided
  std::string_view date_line;   ///< "Date: ...\r\n"
  std::string_view site_lines;  ///< Server, CORS
  Response& response;
};

/// 200, 206, 304, 412 or 416, as the request's conditions and ranges say. The Response then holds
/// the file, except for errors.
void answer_file(const Exchange& exchange, const FileRef& file, const http::RangeLimits& limits,
                 BoundaryMaker& boundaries);

/// `lines` are further head lines with their CRLF.
void answer_error(const Exchange& exchange, int status, std::string_view why,
                  std::string_view lines = {});

/// 200 with the HTML in response.text.
void answer_page(const Exchange& exchange);

/// 301 to the directory's name with its slash; `path` is decoded and has none.
void answer_redirect(const Exchange& exchange, std::string_view path);

/// 204: Allow, and to a preflight (when `cors`) what a player may ask for.
void answer_options(const Exchange& exchange, bool cors);

inline constexpr std::string_view allow_line = "Allow: GET, HEAD, OPTIONS\r\n";

}  // namespace pagewire::content
