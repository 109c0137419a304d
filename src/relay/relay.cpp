#include "relay/relay.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include "relay/upstream_threads.h"
#include "relay/worker.h"

namespace pagewire::relay {

namespace {

using service::StartError;

/// What a route's pumps follow, with what the probe at start found.
PumpRules rules_of(const Route& route, const Settings& settings, bool splice_works) {
  PumpRules rules{.path = route.path, .pipes = settings.pipes};
  if (route.path == Path::Auto && !splice_works) {
    rules.path = Path::Copy;
    rules.copy_reason = PathReason::Unsupported;
  }
  return rules;
}

/// "" where sockets may take foreign addresses; asked by a connection to this machine that nobody
/// has to take.
std::string why_not_transparent() {
  const sys::Address loopback = sys::Address::parse("127.0.0.1:0").value();
  const sys::Address anywhere = sys::Address::parse("127.0.0.1:9").value();
  const Result<sys::Fd> tried = sys::connect_to(anywhere, {.source = &loopback});
  if (tried || tried.error().errno_value != EPERM) return {};
  return describe(tried.error()) + " (it needs CAP_NET_ADMIN or CAP_NET_RAW)";
}

/// Whether who connects to `to` comes to a listener on `at`.
bool leads_to(const sys::Address& to, const sys::Address& at) {
  std::array<char, 64> to_text;
  std::array<char, 64> at_text;
  const std::string_view host = at.host(at_text);
  if (to.port() != at.port()) return false;
  if (to.host(to_text) == host) return true;
  const bool takes_family = host == "::" || (host == "0.0.0.0" && to.raw()->sa_family == AF_INET);
  return takes_family && sys::is_own_address(to);
}

/// Null: the route has none.
std::unique_ptr<RouteTls> make_tls(const Route& route) {
  if (!route.has_tls()) return nullptr;
  auto made = std::make_unique<RouteTls>();
  made->settings = route.tls;
  made->settings.certificates = {route.certificate};
  made->facts = tls::probe_session_facts(
      {.transmit = route.tls.kernel_tls, .receive = route.tls.kernel_receive});
  return made;
}

}  // namespace

struct Relay::Parts {
  explicit Parts(const Settings& all) : settings(all), shared{.settings = settings, .routes = {}} {}
  ~Parts();

  tl::expected<void, StartError> open();
  tl::expected<void, StartError> open_routes();
  tl::expected<void, StartError> open_mirrors();
  tl::expected<void, StartError> open_workers();
  /// Of each route, for each worker; none where it has no TLS.
  tl::expected<std::vector<tls::Contexts>, StartError> load_tls();
  tl::expected<void, StartError> open_tls();
  tl::expected<void, StartError> refuse_circles() const;
  bool leads_to_route(std::size_t from, std::size_t to, std::vector<bool>& seen) const;
  tl::expected<void, StartError> open_log();
  tl::expected<void, StartError> open_admin();
  std::vector<const Counters*> counters() const;
  std::string metrics_text() const;
  bool has_tls() const;

  const Settings settings;
  std::string splice_note;
  std::unique_ptr<log::AccessLog> access_log;
  Shared shared;
  std::atomic<bool> draining{false};
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<UpstreamThreads>> upstream_threads;  ///< of each route
  std::unique_ptr<service::Admin> admin;  // goes first: it reads what stands above
};

Relay::Relay() = default;

Relay::~Relay() = default;

tl::expected<void, StartError> Relay::start(const Settings& settings) {
  // splice(2) raises SIGPIPE like write(2) and has no MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  auto parts = std::make_unique<Parts>(settings);
  if (auto opened = parts->open(); !opened) return opened;
  parts_ = std::move(parts);
  for (const std::unique_ptr<Worker>& worker : parts_->workers) worker->start();
  if (parts_->admin != nullptr) parts_->admin->start();
  return {};
}

Relay::Parts::~Parts() {
  for (const std::unique_ptr<Worker>& worker : workers) worker->stop();
  for (const std::unique_ptr<Worker>& worker : workers) worker->join();
}

tl::expected<void, StartError> Relay::Parts::open() {
  splice_note = probe_splice();
  if (auto opened = open_routes(); !opened) return opened;
  if (auto opened = open_mirrors(); !opened) return opened;
  if (auto opened = open_workers(); !opened) return opened;
  if (auto fine = refuse_circles(); !fine) return fine;
  if (auto opened = open_log(); !opened) return opened;
  return open_admin();
}

tl::expected<void, StartError> Relay::Parts::open_routes() {
  for (std::size_t i = 0; i < settings.routes.size(); ++i) {
    const Route& route = settings.routes[i];
    if (route.path == Path::Splice && !splice_note.empty()) {
      return tl::unexpected(StartError{"path splice cannot be had: " + splice_note});
    }
    if (route.transparent) {
      if (const std::string why = why_not_transparent(); !why.empty()) {
        return tl::unexpected(StartError{"transparent cannot be had: " + why});
      }
    }
    shared.routes.push_back({
        .route = route,
        .rules = rules_of(route, settings, splice_note.empty()),
        .upstreams = std::make_unique<Upstreams>(UpstreamsSettings{
            .names = route.to,
            .balance = route.balance,
            .max_connections = route.max_upstream_connections,
            .max_queue = route.max_queue,
            .workers = settings.workers,
            .wake = [this, i](std::size_t worker) { workers[worker]->post_deliver(i); },
        }),
        .mirror = nullptr,
        .tls = make_tls(route),
        .addresses = route.listen,
    });
    auto threads = UpstreamThreads::start(route, *shared.routes[i].upstreams, settings.tell);
    if (!threads) return tl::unexpected(threads.error());
    upstream_threads.push_back(std::move(*threads));
  }
  return {};
}

tl::expected<void, StartError> Relay::Parts::open_mirrors() {
  for (RouteParts& route : shared.routes) {
    Mirror::Settings mirror_settings = route.route.mirror;
    if (mirror_settings.target.empty()) continue;
    mirror_settings.workers = settings.workers;
    Result<std::unique_ptr<Mirror>> opened = Mirror::open(mirror_settings);
    if (!opened) {
      return tl::unexpected(StartError{"cannot open the mirror " + mirror_settings.target + ": " +
                                       describe(opened.error())});
    }
    route.mirror = std::move(*opened);
  }
  return {};
}

tl::expected<void, StartError> Relay::Parts::open_workers() {
  loop::Settings loop_settings;
  loop_settings.coalesce_us = static_cast<std::int64_t>(settings.coalesce_us);
  for (std::size_t i = 0; i < settings.workers; ++i) {
    Result<std::unique_ptr<loop::Loop>> loop = loop::make_epoll_loop(loop_settings);
    if (!loop) {
      return tl::unexpected(StartError{"cannot make the loop: " + describe(loop.error())});
    }
    workers.push_back(std::make_unique<Worker>(i, shared, std::move(*loop)));
  }
  if (auto opened = open_tls(); !opened) return opened;
  for (const std::unique_ptr<Worker>& worker : workers) {
    if (auto opened = worker->open(); !opened) return opened;
  }
  return {};
}

tl::expected<void, StartError> Relay::Parts::open_tls() {
  auto contexts = load_tls();
  if (!contexts) return tl::unexpected(contexts.error());
  for (std::size_t route = 0; route < contexts->size(); ++route) {
    if ((*contexts)[route].empty()) continue;
    for (std::size_t i = 0; i < workers.size(); ++i) {
      workers[i]->use_tls(route, std::move((*contexts)[route][i]));
    }
  }
  return {};
}

tl::expected<std::vector<tls::Contexts>, StartError> Relay::Parts::load_tls() {
  std::vector<tls::Contexts> all;
  for (const RouteParts& route : shared.routes) {
    all.emplace_back();
    if (route.tls == nullptr) continue;
    auto loaded = tls::load_contexts(route.tls->settings, route.tls->ticket_keys, workers.size());
    if (!loaded) return tl::unexpected(StartError{loaded.error()});
    if (settings.tell) {
      for (const std::string& note : loaded->front()->notes()) settings.tell(note);
    }
    all.back() = std::move(*loaded);
  }
  return all;
}

/// A route whose connections would come back to it would make new ones until nothing is left. What
/// names become later is not looked at.
tl::expected<void, StartError> Relay::Parts::refuse_circles() const {
  for (std::size_t i = 0; i < shared.routes.size(); ++i) {
    std::vector<bool> seen(shared.routes.size());
    if (!leads_to_route(i, i, seen)) continue;
    const RouteParts& route = shared.routes[i];
    return tl::unexpected(StartError{fmt::format(
        "an upstream of {} ({}) leads back to its own listener {}: each connection "
        "would make another one, without end",
        route.route.name, fmt::join(route.route.to, ", "), route.addresses.front().to_string())});
  }
  return {};
}

/// By its upstreams, or by those of the routes that these are.
bool Relay::Parts::leads_to_route(std::size_t from, std::size_t to, std::vector<bool>& seen) const {
  for (const Upstreams::Target& target : shared.routes[from].upstreams->targets()) {
    for (std::size_t next = 0; next < shared.routes.size(); ++next) {
      const std::vector<sys::Address>& at = shared.routes[next].addresses;
      const bool reached = std::any_of(at.begin(), at.end(), [&](const sys::Address& listener) {
        return leads_to(target.address, listener);
      });
      if (!reached || seen[next]) continue;
      seen[next] = true;
      if (next == to || leads_to_route(next, to, seen)) return true;
    }
  }
  return false;
}

tl::expected<void, StartError> Relay::Parts::open_log() {
  if (settings.access_log.file.empty()) return {};
  log::Settings log_settings = settings.access_log;
  log_settings.workers = settings.workers;
  Result<std::unique_ptr<log::AccessLog>> opened = log::AccessLog::open(log_settings);
  if (!opened) {
    return tl::unexpected(StartError{"cannot open the access log " + log_settings.file + ": " +
                                     std::strerror(opened.error().errno_value)});
  }
  access_log = std::move(*opened);
  shared.access_log = access_log.get();
  return {};
}

tl::expected<void, StartError> Relay::Parts::open_admin() {
  if (!settings.admin_enabled) return {};
  admin = std::make_unique<service::Admin>(service::AdminAnswers{
      .metrics = [this] { return metrics_text(); },
      .healthy = [this] { return !draining.load(); },
      .engine = "epoll",
  });
  return admin->open(settings.admin);
}

std::vector<const Counters*> Relay::Parts::counters() const {
  std::vector<const Counters*> all;
  for (const std::unique_ptr<Worker>& worker : workers) {
    all.push_back(&std::as_const(*worker).counters());
  }
  return all;
}

std::string Relay::Parts::metrics_text() const {
  std::vector<UpstreamsOfRoute> routes;
  std::vector<NamedMirror> mirrors;
  for (std::size_t i = 0; i < shared.routes.size(); ++i) {
    const RouteParts& route = shared.routes[i];
    routes.push_back({.route = route.route.name,
                      .upstreams = *route.upstreams,
                      .lookups = upstream_threads[i]->lookups()});
    if (route.mirror != nullptr) mirrors.push_back({route.route.name, *route.mirror});
  }
  return counters_text(
             counters(),
             {.version = PAGEWIRE_VERSION, .splice_works = splice_note.empty(), .tls = has_tls()}) +
         upstreams_text(routes) + mirrors_text(mirrors) +
         metrics::system_text(metrics::ask_system());
}

std::vector<std::vector<sys::Address>> Relay::addresses() const {
  std::vector<std::vector<sys::Address>> all;
  for (const RouteParts& route : parts_->shared.routes) all.push_back(route.addresses);
  return all;
}

std::vector<std::string> Relay::mirrors() const {
  std::vector<std::string> all;
  for (const RouteParts& route : parts_->shared.routes) {
    all.push_back(route.mirror == nullptr ? "" : route.mirror->first_name());
  }
  return all;
}

sys::Address Relay::admin_address() const {
  return parts_->admin == nullptr ? sys::Address() : parts_->admin->address();
}

std::string Relay::splice_note() const {
  return parts_->splice_note;
}

void Relay::begin_drain() {
  if (parts_->draining.exchange(true)) return;
  for (const std::unique_ptr<Worker>& worker : parts_->workers) worker->begin_drain();
}

bool Relay::drained() const {
  for (const std::unique_ptr<Worker>& worker : parts_->workers) {
    if (worker->running()) return false;
  }
  return true;
}

bool Relay::drain() {
  begin_drain();
  for (const std::unique_ptr<Worker>& worker : parts_->workers) worker->join();
  return parts_->shared.cut_off.load() == 0;
}

void Relay::reopen_logs() {
  if (parts_->access_log != nullptr) parts_->access_log->reopen();
  for (const RouteParts& route : parts_->shared.routes) {
    if (route.mirror != nullptr) route.mirror->reopen();
  }
}

bool Relay::Parts::has_tls() const {
  return std::any_of(shared.routes.begin(), shared.routes.end(),
                     [](const RouteParts& route) { return route.tls != nullptr; });
}

bool Relay::has_tls() const {
  return parts_->has_tls();
}

tl::expected<void, StartError> Relay::reload_certificates() {
  auto contexts = parts_->load_tls();
  if (!contexts) return tl::unexpected(contexts.error());
  for (std::size_t route = 0; route < contexts->size(); ++route) {
    if ((*contexts)[route].empty()) continue;
    for (std::size_t i = 0; i < parts_->workers.size(); ++i) {
      parts_->workers[i]->post_tls(route, std::move((*contexts)[route][i]));
    }
  }
  return {};
}

metrics::Totals Relay::totals() const {
  metrics::Totals totals;
  for (const Counters* const worker : parts_->counters()) {
    totals.requests += worker->accepted.value();
    totals.bytes += worker->bytes_up.value() + worker->bytes_down.value();
    totals.connections_open += worker->open.value();
  }
  return totals;
}

std::string Relay::metrics_text() const {
  return parts_->metrics_text();
}

}  // namespace pagewire::relay
