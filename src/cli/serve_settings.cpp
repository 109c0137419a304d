#include "cli/serve_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/config_file.h"

namespace pagewire::cli {

namespace {

/// Workers and their CPUs, which hang on each other and on the machine.
OrUsageError<void> resolve_workers(const Machine& machine, ServeSettings& settings) {
  const std::vector<int>& list = settings.pin_list;
  for (const int cpu : list) {
    if (std::find(machine.cpus.begin(), machine.cpus.end(), cpu) != machine.cpus.end()) continue;
    return tl::unexpected(UsageError{
        fmt::format("pagewire serve: pin names CPU {}, on which this process may not run", cpu)});
  }
  if (settings.workers == 0) settings.workers = list.empty() ? machine.cpus.size() : list.size();
  if (!list.empty() && list.size() != settings.workers) {
    return tl::unexpected(
        UsageError{fmt::format("pagewire serve: pin takes one CPU a worker, not {} for {}",
                               list.size(), settings.workers)});
  }
  settings.server.workers = settings.workers;
  settings.server.access_log.workers = settings.workers;
  settings.server.pin = list;
  if (settings.pin_mode == PinMode::Auto) {
    for (std::size_t worker = 0; worker < settings.workers; ++worker) {
      settings.server.pin.push_back(machine.cpus[worker % machine.cpus.size()]);
    }
  }
  return {};
}

OrUsageError<void> check_tls(const ServeSettings& settings) {
  const tls::CertificateFiles& first = settings.certificate;
  const auto wrong = [](std::string_view what) {
    return tl::unexpected(UsageError{fmt::format("pagewire serve: {}", what)});
  };
  if (first.chain.empty() && !first.key.empty()) return wrong("tls-key is given without tls-cert");
  if (first.key.empty() && !first.chain.empty()) return wrong("tls-cert is given without tls-key");
  if (first.chain.empty() && !first.ocsp.empty())
    return wrong("tls-ocsp is given without tls-cert");
  if (!first.chain.empty() || !settings.certificates.empty()) return {};
  if (!settings.server.listen_tls.empty())
    return wrong("listen-tls is given without a certificate");
  if (!settings.tls.client_ca.empty()) return wrong("tls-client-ca is given without a certificate");
  return {};
}

/// HTTPS is served where there is a certificate.
void resolve_tls(ServeSettings& settings) {
  std::vector<tls::CertificateFiles> all = settings.certificates;
  if (!settings.certificate.chain.empty()) all.insert(all.begin(), settings.certificate);
  if (all.empty()) return;
  settings.server.tls = settings.tls;
  settings.server.tls->certificates = std::move(all);
  std::vector<sys::Address>& listen = settings.server.listen_tls;
  if (listen.empty()) listen.push_back(sys::Address::parse(":8443").value());
}

OrUsageError<void> check_whole(const ServeSettings& settings) {
  if (settings.server.listen.empty() && settings.server.listen_tls.empty()) {
    return tl::unexpected(UsageError{"pagewire serve: listen names no address"});
  }
  return {};
}

}  // namespace

OrUsageError<ServeSettings> build_settings(const Sources& sources, const Machine& machine) {
  ServeSettings settings = default_settings();
  return apply(serve_options(), sources.file, settings)
      .and_then([&] { return apply(serve_options(), sources.flags, settings); })
      .and_then([&] { return resolve_workers(machine, settings); })
      .and_then([&] { return check_tls(settings); })
      .map([&] { resolve_tls(settings); })
      .and_then([&] { return check_whole(settings); })
      .map([&] { return settings; });
}

std::string show_settings(const ServeSettings& settings) {
  std::string text;
  for (const ServeOption& option : serve_options()) {
    if (option.in_file) text += config_line(option, option.show(settings)) + '\n';
  }
  return text;
}

}  // namespace pagewire::cli
