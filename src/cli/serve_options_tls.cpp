// HTTPS: where it listens, certificates, what is spoken.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include "cli/serve_option_groups.h"
#include "cli/tls_options.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;
using Tls = TlsOptions<ServeSettings>;

constexpr std::string_view group = "HTTPS";

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

/// Further ones, which a flag has no room for.
ServeOption certificate_option() {
  ServeOption option = Make::described(
      Kind::Tables,
      {.name = "certificate",
       .group = group,
       .placeholder = "",
       .help = "in the file of --config alone, once for each further certificate: chain, key and "
               "ocsp name its files. The name that a client asks for chooses; the first "
               "certificate answers for names that none has",
       .default_text = "none"},
      "tables with the keys chain, key and, if there is one, ocsp");
  option.fields = {{.name = "chain"}, {.name = "key"}, {.name = "ocsp", .required = false}};
  option.set = [](std::string_view value, ServeSettings& settings) {
    const std::size_t first = value.find('\0');
    const std::size_t second = value.find('\0', first + 1);
    settings.certificates.push_back(
        {.chain = std::string(value.substr(0, first)),
         .key = std::string(value.substr(first + 1, second - first - 1)),
         .ocsp = std::string(value.substr(second + 1))});
    return true;
  };
  option.clear = [](ServeSettings& settings) { settings.certificates.clear(); };
  option.show = [](const ServeSettings& settings) {
    std::vector<std::string> shown;
    for (const tls::CertificateFiles& files : settings.certificates) {
      shown.push_back(files.chain + '\0' + files.key + '\0' + files.ocsp);
    }
    return shown;
  };
  return option;
}

void add_rest(std::vector<ServeOption>& table) {
  table.push_back(Make::boolean(
      Kind::OnOff,
      {.name = "tls-zerocopy-ro",
       .group = group,
       .placeholder = "on|off",
       .help = "let a network card that encrypts read the pages of files in place "
               "(TLS_TX_ZEROCOPY_RO). Only where files are never changed in place: what is sent "
               "again would be encrypted from other bytes, which breaks the connection and shows "
               "an eavesdropper the difference of both"},
      [](auto& s) -> auto& { return s.tls.zero_copy_ro; }));
  table.push_back(Tls::handshake_timeout(
      group, [](auto& s) -> auto& { return s.tls; }));
  table.push_back(Tls::handshake_rate(
      group, [](auto& s) -> auto& { return s.tls; }));
}

}  // namespace

void add_tls(std::vector<ServeOption>& table) {
  table.push_back(listen_tls_option());
  Tls::add_certificate(
      table, group, [](auto& s) -> auto& { return s.certificate; });
  table.push_back(certificate_option());
  const auto tls = [](auto& s) -> auto& {
    return s.tls;
  };
  Tls::add_clients(table, group, tls);
  Tls::add_protocol(table, group,
                    "let the kernel encrypt where it can, so that files need not pass through the "
                    "program",
                    tls);
  add_rest(table);
}

}  // namespace pagewire::cli
