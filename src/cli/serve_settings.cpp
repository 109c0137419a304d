#include "cli/serve_settings.h"

#include <fmt/format.h>

#include "cli/config_file.h"
#include "cli/worker_plan.h"

namespace pagewire::cli {

namespace {

OrUsageError<void> plan_workers(const Machine& machine, ServeSettings& settings) {
  return resolve_workers(
             "pagewire serve",
             {.workers = settings.workers, .pin_mode = settings.pin_mode, .pin = settings.pin_list},
             machine)
      .map([&](const WorkerPlan& plan) {
        settings.workers = plan.workers;
        settings.server.workers = plan.workers;
        settings.server.access_log.workers = plan.workers;
        settings.server.pin = plan.pin;
      });
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
    return tl::unexpected(
        UsageError{"pagewire serve: listen names no address, and there is no listen-tls"});
  }
  return {};
}

}  // namespace

OrUsageError<ServeSettings> build_settings(const Sources& sources, const Machine& machine) {
  ServeSettings settings = default_settings();
  return apply(serve_options(), sources.file, settings)
      .and_then([&] { return apply(serve_options(), sources.flags, settings); })
      .and_then([&] { return plan_workers(machine, settings); })
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
