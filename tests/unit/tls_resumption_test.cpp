// Tickets: made by one worker, read by another, across a reload and across new keys.
#include <thread>

#include "unit/tls_fixture.h"

namespace pagewire::tls::testing {
namespace {

class TlsResumption : public TlsTest, public ::testing::WithParamInterface<int> {
 protected:
  Settings settings() { return {.certificates = {make("a", {.names = "DNS:a.test"})}}; }
  Seen first(const Context& context) { return handshake(context, {.version = GetParam()}); }
  Seen again(const Context& context, const SessionPtr& session) {
    return handshake(context, {.version = GetParam(), .session = session});
  }
};

TEST_P(TlsResumption, GoesOnAtAnotherWorker) {
  const auto contexts = load_contexts(settings(), keys_, 2);
  ASSERT_TRUE(contexts.has_value());
  const Seen full = first(*contexts->front());
  EXPECT_TRUE(full.done);
  EXPECT_FALSE(full.resumed);
  EXPECT_EQ(full.tickets, 1);
  EXPECT_TRUE(again(*contexts->back(), full.session).resumed);
}

TEST_P(TlsResumption, GoesOnAfterAReload) {
  const Seen full = first(*load(settings()));
  EXPECT_TRUE(again(*load(settings()), full.session).resumed) << "also with a new certificate";
}

TEST_P(TlsResumption, DoesNotGoOnWithTheKeysOfAnotherServer) {
  const Seen full = first(*load(settings()));
  TicketKeys others;
  const auto elsewhere = Context::load(settings(), others);
  const Seen outcome = again(**elsewhere, full.session);
  EXPECT_TRUE(outcome.done);
  EXPECT_FALSE(outcome.resumed);
}

TEST_P(TlsResumption, GoesOnUnderAnOldKeyAndBringsANewTicket) {
  const auto context = load(settings());
  const Seen full = first(*context);
  now_ms_ += TicketKeys::period_ms;
  const Seen resumed = again(*context, full.session);
  EXPECT_TRUE(resumed.resumed);
  ASSERT_EQ(resumed.tickets, 1);
  now_ms_ += TicketKeys::period_ms;
  EXPECT_TRUE(again(*context, resumed.session).resumed);
  now_ms_ += TicketKeys::ticket_lifetime_ms;
  EXPECT_FALSE(again(*context, full.session).resumed) << "its key is forgotten";
  EXPECT_TRUE(again(*context, full.session).done);
}

TEST_P(TlsResumption, BringsNoNewTicketUnderTheNewestKey) {
  const auto context = load(settings());
  const Seen full = first(*context);
  const Seen resumed = again(*context, full.session);
  EXPECT_TRUE(resumed.resumed);
  EXPECT_EQ(resumed.tickets, 0);
}

TEST_P(TlsResumption, IsSwitchedOffWithTickets) {
  Settings off = settings();
  off.tickets = false;
  const auto context = load(off);
  const Seen full = first(*context);
  EXPECT_TRUE(full.done);
  EXPECT_EQ(full.tickets, 0);
  const Seen with_tickets = first(*load(settings()));
  EXPECT_FALSE(again(*context, with_tickets.session).resumed);
}

TEST_P(TlsResumption, RefusesATicketThatWasChanged) {
  const auto context = load(settings());
  const Seen full = first(*context);
  const unsigned char* ticket = nullptr;
  std::size_t size = 0;
  SSL_SESSION_get0_ticket(full.session.get(), &ticket, &size);
  ASSERT_GT(size, 64U);
  const_cast<unsigned char*>(ticket)[size - 1] ^= 1;
  const Seen outcome = again(*context, full.session);
  EXPECT_TRUE(outcome.done) << outcome.server_reason;
  EXPECT_FALSE(outcome.resumed);
}

/// As a reload does; LeakSanitizer sees what OpenSSL keeps for a thread.
TEST_P(TlsResumption, ContextsAreMadeByOneThreadAndLetGoOfByAnother) {
  std::shared_ptr<const Context> current = load(settings());
  std::thread worker([&] {
    for (int reload = 0; reload < 3; ++reload) {
      const std::shared_ptr<const Context> mine = std::move(current);
      const Seen full = first(*mine);
      EXPECT_TRUE(again(*mine, full.session).resumed);
      std::thread([&] { current = load(settings()); }).join();
    }
  });
  worker.join();
  EXPECT_TRUE(first(*current).done);
}

INSTANTIATE_TEST_SUITE_P(Versions, TlsResumption, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& version) {
                           return version.param == TLS1_2_VERSION ? "Tls12" : "Tls13";
                         });

}  // namespace
}  // namespace pagewire::tls::testing
