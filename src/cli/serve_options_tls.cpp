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

void add_certificates(std::vector<ServeOption>& table) {
  table.push_back(file_or_off(
      {.name = "tls-cert",
       .group = group,
       .placeholder = "FILE|off",
       .help = "the server's certificate and those between it and the root, in PEM; SIGHUP reads "
               "all these files anew"},
      [](auto& s) -> auto& { return s.certificate.chain; }));
  table.push_back(file_or_off(
      {.name = "tls-key",
       .group = group,
       .placeholder = "FILE|off",
       .help = "its private key, in PEM, not encrypted"},
      [](auto& s) -> auto& { return s.certificate.key; }));
  table.push_back(file_or_off(
      {.name = "tls-ocsp",
       .group = group,
       .placeholder = "FILE|off",
       .help = "an OCSP response about it, in DER, which is stapled until it is stale"},
      [](auto& s) -> auto& { return s.certificate.ocsp; }));
  table.push_back(certificate_option());
}

void add_clients(std::vector<ServeOption>& table) {
  using Mode = tls::ClientCertificates;
  table.push_back(file_or_off(
      {.name = "tls-client-ca",
       .group = group,
       .placeholder = "FILE|off",
       .help = "ask clients for a certificate that one of these, in PEM, has signed"},
      [](auto& s) -> auto& { return s.tls.client_ca; }));
  table.push_back(Make::choice<Mode>(
      {.name = "tls-client-cert",
       .group = group,
       .placeholder = "required|optional",
       .help = "with --tls-client-ca: whether a client may do without one. A wrong one is "
               "refused either way"},
      {{.name = "required", .value = Mode::Required},
       {.name = "optional", .value = Mode::Optional}},
      [](auto& s) -> auto& { return s.tls.client_certificates; }));
}

void add_protocol(std::vector<ServeOption>& table) {
  table.push_back(Make::choice<tls::Version>(
      {.name = "tls-min-version",
       .group = group,
       .placeholder = "1.2|1.3",
       .help = "the oldest version of TLS that is spoken"},
      {{.name = "1.2", .value = tls::Version::Tls12},
       {.name = "1.3", .value = tls::Version::Tls13}},
      [](auto& s) -> auto& { return s.tls.min_version; }));
  table.push_back(Make::boolean(
      Kind::OnOff,
      {.name = "tls-tickets",
       .group = group,
       .placeholder = "on|off",
       .help = "let clients resume a session for 4 hours; the tickets' keys change every 2"},
      [](auto& s) -> auto& { return s.tls.tickets; }));
  table.push_back(Make::boolean(
      Kind::OnOff,
      {.name = "tls-ktls",
       .group = group,
       .placeholder = "on|off",
       .help = "let the kernel encrypt where it can, so that files need not pass through the "
               "program"},
      [](auto& s) -> auto& { return s.tls.kernel_tls; }));
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
  table.push_back(Make::duration(
      {.name = "handshake-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "from a connection's start to the end of its handshake"},
      {.least_ms = 100}, [](auto& s) -> auto& { return s.tls.handshake_timeout_ms; }));
  table.push_back(Make::number(
      {.name = "handshake-rate",
       .group = group,
       .placeholder = "N",
       .help = "handshakes that each worker begins in a second; above it new ones are closed; 0 "
               "is any number"},
      {.least = 0, .most = 1'000'000},
      [](auto& s) -> auto& { return s.tls.handshakes_per_second; }));
}

}  // namespace

void add_tls(std::vector<ServeOption>& table) {
  table.push_back(listen_tls_option());
  add_certificates(table);
  add_clients(table);
  add_protocol(table);
}

}  // namespace pagewire::cli
