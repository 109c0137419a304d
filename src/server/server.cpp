#include "server/server.h"

#include <csignal>
#include <cstdio>

#include "server/worker.h"

namespace pagewire::server {

namespace {

using Loops = std::vector<std::unique_ptr<loop::Loop>>;

Result<Loops> make_loops(loop::Engine engine, std::size_t count) {
  Loops made;
  for (std::size_t i = 0; i < count; ++i) {
    Result<std::unique_ptr<loop::Loop>> loop = loop::make_loop(engine, loop::Settings{});
    if (!loop) return tl::unexpected(loop.error());
    made.push_back(std::move(*loop));
  }
  return made;
}

/// One for each worker. There may be io_uring, but not for all of them (ENOMEM: RLIMIT_MEMLOCK,
/// which whatever else the user runs uses up, too): then, if it was ours to choose, all have epoll.
Result<Loops> worker_loops(const Settings& settings, loop::EngineChoice& choice) {
  Result<Loops> made = make_loops(choice.engine, settings.workers);
  const bool ours = settings.engine == loop::Engine::Auto && choice.engine == loop::Engine::Uring;
  if (made || !ours) return made;
  choice = {.engine = loop::Engine::Epoll,
            .note = "no io_uring for all workers (" + describe(made.error()) + "); epoll does"};
  return make_loops(choice.engine, settings.workers);
}

/// Asks the kernel, once, what the settings cannot know.
Settings probed(Settings settings, loop::Engine engine) {
  settings.engine = engine;
  if (settings.paths.paths.empty()) settings.paths = egress::probe_paths(egress::socket_paths());
  return settings;
}

}  // namespace

struct Server::Parts {
  explicit Parts(const Settings& all)
      : engine(loop::choose_engine(all.engine, loop::preferred_engine, loop::probe_uring)),
        loops(worker_loops(all, engine)),
        settings(probed(all, engine.engine)),
        shared(settings) {}
  ~Parts();

  tl::expected<void, service::StartError> open();
  tl::expected<tls::Contexts, service::StartError> load_tls();
  void name_tls();
  tl::expected<void, service::StartError> open_admin();
  std::vector<const metrics::WorkerMetrics*> worker_metrics() const;
  std::string metrics_text() const;

  loop::EngineChoice engine;
  Result<Loops> loops;  // until the workers have them
  const Settings settings;
  Shared shared;
  std::vector<sys::Address> addresses;
  std::vector<sys::Address> tls_addresses;
  tls::TicketKeys ticket_keys;
  metrics::Names names;
  std::atomic<bool> draining{false};
  std::unique_ptr<log::AccessLog> access_log;
  DiskHelpers disk_helpers;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<service::Admin> admin;  // goes first: it reads what stands above
};

Server::Server() = default;

Server::~Server() = default;

tl::expected<void, service::StartError> Server::start(const Settings& settings) {
  // sendfile(2) and splice(2) raise SIGPIPE like write(2) and have no MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  auto parts = std::make_unique<Parts>(settings);
  if (auto opened = parts->open(); !opened) return opened;
  parts_ = std::move(parts);
  parts_->disk_helpers.start(settings.disk_threads);
  for (const std::unique_ptr<Worker>& worker : parts_->workers) worker->start();
  if (parts_->admin != nullptr) parts_->admin->start();
  return {};
}

/// Workers, then helpers: no worker asks any more, but the jobs that come back find their loop.
Server::Parts::~Parts() {
  for (const std::unique_ptr<Worker>& worker : workers) {
    worker->stop();
    worker->join();
  }
  disk_helpers.stop();
}

tl::expected<void, service::StartError> Server::Parts::open() {
  shared.disk_helpers = &disk_helpers;
  for (const egress::Path* path : egress::paths()) {
    names.paths.push_back(path->name);
    const egress::PathReport* const report = settings.paths.find(*path);
    const egress::PathState state = report == nullptr ? egress::PathState::Usable : report->state;
    names.path_use.push_back(
        {.usable = state == egress::PathState::Usable, .why = egress::token(state)});
  }
  if (settings.paths.took_us > 0) {
    names.self_test_s = static_cast<double>(settings.paths.took_us) / 1e6;
  }
  for (std::size_t i = 0; i < egress::reason_count; ++i) {
    names.reasons.push_back(egress::token(static_cast<egress::Reason>(i)));
  }
  name_tls();
  names.version = PAGEWIRE_VERSION;
  names.engine = loop::name(engine.engine);
  if (!loops) {
    return tl::unexpected(service::StartError{"cannot make the " +
                                              std::string(loop::name(engine.engine)) +
                                              " loop: " + describe(loops.error())});
  }
  addresses = settings.listen;
  tls_addresses = settings.listen_tls;
  for (std::size_t i = 0; i < settings.workers; ++i) {
    workers.push_back(std::make_unique<Worker>(i, shared, std::move((*loops)[i])));
  }
  if (settings.tls) {
    shared.tls = tls::probe_session_facts(
        {.transmit = settings.tls->kernel_tls, .zero_copy_ro = settings.tls->zero_copy_ro});
    const auto contexts = load_tls();
    if (!contexts) return tl::unexpected(contexts.error());
    for (std::size_t i = 0; i < workers.size(); ++i) workers[i]->use_tls((*contexts)[i]);
  }
  for (const std::unique_ptr<Worker>& worker : workers) {
    if (auto opened = worker->open({.http = addresses, .https = tls_addresses}); !opened)
      return opened;
  }
  if (!settings.access_log.file.empty()) {
    log::Settings log_settings = settings.access_log;
    log_settings.workers = settings.workers;
    Result<std::unique_ptr<log::AccessLog>> opened = log::AccessLog::open(log_settings);
    if (!opened) {
      return tl::unexpected(service::StartError{"cannot open the access log " + log_settings.file +
                                                ": " + std::strerror(opened.error().errno_value)});
    }
    access_log = std::move(*opened);
    shared.access_log = access_log.get();
  }
  return open_admin();
}

void Server::Parts::name_tls() {
  const auto outcomes = tls::outcome_tokens();
  const auto kernel = tls::kernel_tokens();
  const auto reasons = tls::kernel_reason_tokens();
  names.tls_served = settings.tls.has_value();
  names.tls.outcomes.assign(outcomes.begin(), outcomes.end());
  names.tls.kernel.assign(kernel.begin(), kernel.end());
  names.tls.kernel_reasons.assign(reasons.begin(), reasons.end());
}

/// One for each worker.
tl::expected<tls::Contexts, service::StartError> Server::Parts::load_tls() {
  auto contexts = tls::load_contexts(*settings.tls, ticket_keys, workers.size());
  if (!contexts) return tl::unexpected(service::StartError{contexts.error()});
  for (const std::string& note : contexts->front()->notes()) {
    (void)std::fprintf(stderr, "pagewire: %s\n", note.c_str());
  }
  return *contexts;
}

tl::expected<void, service::StartError> Server::Parts::open_admin() {
  if (!settings.admin_enabled) return {};
  admin = std::make_unique<service::Admin>(service::AdminAnswers{
      .metrics = [this] { return metrics_text(); },
      .healthy = [this] { return !draining.load(); },
      .engine = loop::name(engine.engine),
      .doctor_report = settings.doctor_report,
  });
  return admin->open(settings.admin);
}

std::vector<const metrics::WorkerMetrics*> Server::Parts::worker_metrics() const {
  std::vector<const metrics::WorkerMetrics*> all;
  for (const std::unique_ptr<Worker>& worker : workers)
    all.push_back(&std::as_const(*worker).metrics());
  return all;
}

std::string Server::Parts::metrics_text() const {
  return metrics::prometheus_text(worker_metrics(), names, metrics::ask_system());
}

std::vector<sys::Address> Server::addresses() const {
  return parts_->addresses;
}

std::vector<sys::Address> Server::tls_addresses() const {
  return parts_->tls_addresses;
}

sys::Address Server::admin_address() const {
  return parts_->admin == nullptr ? sys::Address() : parts_->admin->address();
}

void Server::begin_drain() {
  if (parts_->draining.exchange(true)) return;
  for (const std::unique_ptr<Worker>& worker : parts_->workers) worker->begin_drain();
}

bool Server::drained() const {
  for (const std::unique_ptr<Worker>& worker : parts_->workers) {
    if (worker->running()) return false;
  }
  return true;
}

bool Server::drain() {
  begin_drain();
  for (const std::unique_ptr<Worker>& worker : parts_->workers) worker->join();
  return parts_->shared.cut_off.load() == 0;
}

void Server::reopen_logs() {
  if (parts_->access_log != nullptr) parts_->access_log->reopen();
}

tl::expected<void, service::StartError> Server::reload_certificates() {
  if (!parts_->settings.tls) return {};
  auto contexts = parts_->load_tls();
  if (!contexts) return tl::unexpected(contexts.error());
  for (std::size_t i = 0; i < contexts->size(); ++i) {
    parts_->workers[i]->post_tls(std::move((*contexts)[i]));
  }
  return {};
}

metrics::Totals Server::totals() const {
  return metrics::totals(parts_->worker_metrics());
}

std::string Server::metrics_text() const {
  return parts_->metrics_text();
}

loop::Engine Server::engine() const {
  return parts_->engine.engine;
}

std::string Server::engine_note() const {
  return parts_->engine.note;
}

}  // namespace pagewire::server
