// HTTPS: where it listens, certificates, what is spoken.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include "cli/serve_option_groups.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

constexpr std::string_view group = "HTTPS";

/// A file's name in a member that is "" without one.
template <class Member>
ServeOption file_or_off(const About& about, Member member) {
  ServeOption option = Make::described(Kind::Text, about, "the name of a file, or off");
  option.set = [member](std::string_view value, ServeSettings& settings) {
    if (value.empty() || value.find('\0') != std::string_view::npos) return false;
    member(settings) = value == "off" ? "" : value;
    return true;
  };
  option.show = [member](const ServeSettings& settings) {
    const std::string& file = member(settings);
    return std::vector<std::string>{file.empty() ? "off" : file};
  };
  return option;
}

ServeOption listen_tls_option() {
  ServeOption option =
      Make::described(Kind::List,
                      {.name = "listen-tls",
                       .group = group,
                       .placeholder = "ADDR:PORT",
                       .help = "listen here for HTTPS; repeatable, as --listen",
                       .default_text = ":8443 with a certificate"},
                      "an address with a port, such as 127.0.0.1:8443, [::1]:8443 or :8443");
  option.set = [](std::string_view value, ServeSettings& settings) {
    const Result<sys::Address> address = sys::Address::parse(value);
    if (address) settings.server.listen_tls.push_back(*address);
    return address.has_value();
  };
  option.clear = [](ServeSettings& settings) { settings.server.listen_tls.clear(); };
  option.show = [](const ServeSettings& settings) {
    std::vector<std::string> shown;
    for (const sys::Address& address : settings.server.listen_tls) {
      shown.push_back(address.to_string());
    }
    return shown;
  };
  return option;
}

void add_certificates(std::vector<ServeOption>& table) {
  table.push_back(file_or_off(
      {.name = "tls-cert",
       .group = group,
       .placeholder = "FILE|off",
       .help = "the server's certificate and those between it and the root, in PEM"},
      [](auto& s) -> auto& { return s.certificate.chain; }));
  table.push_back(file_or_off(
      {.name = "tls-key",
       .group = group,
       .placeholder = "FILE|off",
       .help = "its private key, in PEM, not encrypted"},
      [](auto& s) -> auto& { return s.certificate.key; }));
}

}  // namespace

void add_tls(std::vector<ServeOption>& table) {
  table.push_back(listen_tls_option());
  add_certificates(table);
}

}  // namespace pagewire::cli
