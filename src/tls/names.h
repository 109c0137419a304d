// Which certificate answers for a name: RFC 6066 (SNI), RFC 6125 (wildcards).
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tls/openssl.h"

namespace pagewire::tls {

/// The DNS names of the certificate's subjectAltName in lower case, "*.example.org" as it is. The
/// common name counts for no browser, and none here.
std::vector<std::string> names_of(const X509& certificate);

/// Names to the number of their certificate. Pure.
class Names {
 public:
  /// A name that another certificate has already stays with that one.
  void add(const std::vector<std::string>& names, std::size_t certificate);

  /// The certificate of this very name, else of "*" and all but its first label. Upper case and a
  /// dot at the end mean nothing. `otherwise` when there is none.
  std::size_t find(std::string_view server_name, std::size_t otherwise) const;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> certificates_;
};

}  // namespace pagewire::tls
