// Admin: /healthz and /metrics on a listener and a thread of its own, off the data path.
//
// It reads the workers' counters and nothing else of theirs. One request a connection; a small
// limit on connections and time, since it answers monitoring systems only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "loop/loop.h"
#include "server/server.h"
#include "sys/fd.h"

namespace pagewire::server {

struct AdminAnswers {
  std::function<std::string()> metrics;  ///< any thread
  std::function<bool()> healthy;         ///< any thread; false once draining
  std::string_view engine;               ///< of the workers
};

class Admin final : public loop::Acceptor {
 public:
  explicit Admin(AdminAnswers answers) : answers_(std::move(answers)) {}
  ~Admin() override;

  tl::expected<void, StartError> open(const sys::Address& address);
  void start();
  sys::Address address() const { return address_; }

  void accepted(sys::Accepted accepted) override;
  loop::AfterFailure accept_failed(Error error) override;

 private:
  void open_spare();

  AdminAnswers answers_;
  sys::Address address_;
  sys::Fd listener_;
  sys::Fd spare_;  // given up for a client when descriptors have run out, which is when one looks
  std::unique_ptr<loop::Loop> loop_;
  std::thread thread_;
};

}  // namespace pagewire::server
