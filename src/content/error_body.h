// The short bodies of error answers. Pure; private.
#pragma once

#include <string>
#include <string_view>

namespace pagewire::content {

/// "404 Not Found: no such file\n".
void append_error_text(std::string& body, int status, std::string_view why);

/// {"status":404,"error":"Not Found","detail":"no such file"} and a newline.
void append_error_json(std::string& body, int status, std::string_view why);

}  // namespace pagewire::content
