// TLS in front of a relay: its certificate, and what is spoken.
#include "cli/option_kinds.h"
#include "cli/relay_options.h"
#include "cli/tls_options.h"

namespace pagewire::cli {

void add_tls_options(std::vector<RouteOption>& table) {
  using Tls = TlsOptions<relay::Route>;
  constexpr std::string_view group = "TLS";
  const auto tls = [](auto& r) -> auto& {
    return r.tls;
  };
  Tls::add_certificate(
      table, group, [](auto& r) -> auto& { return r.certificate; });
  Tls::add_clients(table, group, tls);
  Tls::add_protocol(table, group,
                    "let the kernel encrypt what clients are sent where it can, so that bulk need "
                    "not pass through the program",
                    tls);
  table.push_back(OptionKinds<relay::Route>::boolean(
      OptionFacts::Kind::OnOff,
      {.name = "tls-ktls-receive",
       .group = group,
       .placeholder = "on|off",
       .help = "with --tls-ktls on: let it decrypt what they send as well. Before Linux 6.14 that "
               "ends a connection whose client changes its key (KeyUpdate of TLS 1.3)"},
      [](auto& r) -> auto& { return r.tls.kernel_receive; }));
  table.push_back(Tls::handshake_timeout(group, tls));
  table.push_back(Tls::handshake_rate(group, tls));
}

}  // namespace pagewire::cli
