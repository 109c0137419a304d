// target: the four forms of a request target (RFC 9112 section 3.2). Private to the room.
#pragma once

#include <string_view>

#include "http/http.h"

namespace pagewire::http {

/// Fills path, query, asterisk and (from absolute-form and authority-form) host of `request` from
/// its target and method. `is_connect`: the method that authority-form belongs to.
HeadFault take_target(bool is_connect, Request& request);

/// uri-host [":" port] of http and https: a host that is not empty, no user information.
bool is_valid_authority(std::string_view authority);

}  // namespace pagewire::http
