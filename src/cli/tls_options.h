// The options of TLS that every table has whose program speaks it. Members are generic lambdas, as
// in option_kinds.h, to the tls::CertificateFiles or the tls::Settings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/option_kinds.h"
#include "tls/tls.h"

namespace pagewire::cli {

template <class Settings>
struct TlsOptions {
  using Make = OptionKinds<Settings>;
  using Option = BasicOption<Settings>;
  using Kind = OptionFacts::Kind;
  using Table = std::vector<Option>;

  /// A file's name in a member that is "" without one.
  template <class Member>
  static Option file_or_off(const About& about, Member member) {
    Option option = Make::described(Kind::Text, about, "the name of a file, or off");
    option.set = [member](std::string_view value, Settings& settings) {
      if (value.empty() || value.find('\0') != std::string_view::npos) return false;
      member(settings) = value == "off" ? "" : value;
      return true;
    };
    option.show = [member](const Settings& settings) {
      const std::string& file = member(settings);
      return std::vector<std::string>{file.empty() ? "off" : file};
    };
    return option;
  }

  template <class Files>
  static void add_certificate(Table& table, std::string_view group, Files files) {
    table.push_back(file_or_off(
        {.name = "tls-cert",
         .group = group,
         .placeholder = "FILE|off",
         .help = "the server's certificate and those between it and the root, in PEM; SIGHUP reads "
                 "all these files anew"},
        [files](auto& s) -> auto& { return files(s).chain; }));
    table.push_back(file_or_off(
        {.name = "tls-key",
         .group = group,
         .placeholder = "FILE|off",
         .help = "its private key, in PEM, not encrypted"},
        [files](auto& s) -> auto& { return files(s).key; }));
    table.push_back(file_or_off(
        {.name = "tls-ocsp",
         .group = group,
         .placeholder = "FILE|off",
         .help = "an OCSP response about it, in DER, which is stapled until it is stale"},
        [files](auto& s) -> auto& { return files(s).ocsp; }));
  }

  template <class Tls>
  static void add_clients(Table& table, std::string_view group, Tls tls) {
    using Mode = pagewire::tls::ClientCertificates;
    table.push_back(file_or_off(
        {.name = "tls-client-ca",
         .group = group,
         .placeholder = "FILE|off",
         .help = "ask clients for a certificate that one of these, in PEM, has signed"},
        [tls](auto& s) -> auto& { return tls(s).client_ca; }));
    table.push_back(Make::template choice<Mode>(
        {.name = "tls-client-cert",
         .group = group,
         .placeholder = "required|optional",
         .help = "with --tls-client-ca: whether a client may do without one. A wrong one is "
                 "refused either way"},
        {{.name = "required", .value = Mode::Required},
         {.name = "optional", .value = Mode::Optional}},
        [tls](auto& s) -> auto& { return tls(s).client_certificates; }));
  }

  /// `kernel_help` is that of tls-ktls.
  template <class Tls>
  static void add_protocol(Table& table, std::string_view group, std::string_view kernel_help,
                           Tls tls) {
    table.push_back(Make::template choice<pagewire::tls::Version>(
        {.name = "tls-min-version",
         .group = group,
         .placeholder = "1.2|1.3",
         .help = "the oldest version of TLS that is spoken"},
        {{.name = "1.2", .value = pagewire::tls::Version::Tls12},
         {.name = "1.3", .value = pagewire::tls::Version::Tls13}},
        [tls](auto& s) -> auto& { return tls(s).min_version; }));
    table.push_back(Make::boolean(
        Kind::OnOff,
        {.name = "tls-tickets",
         .group = group,
         .placeholder = "on|off",
         .help = "let clients resume a session for 4 hours; the tickets' keys change every 2"},
        [tls](auto& s) -> auto& { return tls(s).tickets; }));
    table.push_back(Make::boolean(
        Kind::OnOff,
        {.name = "tls-ktls", .group = group, .placeholder = "on|off", .help = kernel_help},
        [tls](auto& s) -> auto& { return tls(s).kernel_tls; }));
  }

  template <class Tls>
  static Option handshake_timeout(std::string_view group, Tls tls) {
    return Make::duration(
        {.name = "handshake-timeout",
         .group = group,
         .placeholder = "TIME",
         .help = "from a connection's start to the end of its handshake"},
        {.least_ms = 100}, [tls](auto& s) -> auto& { return tls(s).handshake_timeout_ms; });
  }

  template <class Tls>
  static Option handshake_rate(std::string_view group, Tls tls) {
    return Make::number(
        {.name = "handshake-rate",
         .group = group,
         .placeholder = "N",
         .help = "handshakes that each worker begins in a second; above it new ones are closed; 0 "
                 "is any number"},
        {.least = 0, .most = 1'000'000}, [tls](auto& s) -> auto& {
          return tls(s).handshakes_per_second;
        });
  }
};

}  // namespace pagewire::cli
