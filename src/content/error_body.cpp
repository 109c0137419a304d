// The short bodies of error answers: one line, for people with curl and for programs.
#include "content/error_body.h"

#include "content/escape.h"
#include "http/http.h"

namespace pagewire::content {

void append_error_text(std::string& body, int status, std::string_view why) {
  body.append(std::to_string(status)).append(" ").append(http::reason_phrase(status));
  if (!why.empty()) body.append(": ").append(why);
  body.push_back('\n');
}

void append_error_json(std::string& body, int status, std::string_view why) {
  body.append("{\"status\":").append(std::to_string(status)).append(",\"error\":\"");
  append_json_escaped(body, http::reason_phrase(status));
  body.append("\",\"detail\":\"");
  append_json_escaped(body, why);
  body.append("\"}\n");
}

}  // namespace pagewire::content
