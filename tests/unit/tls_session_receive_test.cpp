// What the kernel leaves to a Session of records that it has opened; and that a session goes on by
// itself where the kernel does not take the keys. (That it opens what clients send, with these
// keys, is tests/vm/test_relay_receive.py's: the usual kernel has no TLS.)
#include <array>
#include <vector>

#include "tls_session_fixture.h"

namespace pagewire::tls {
namespace {

using Message = std::vector<unsigned char>;

constexpr std::uint8_t alert = 21;
constexpr std::uint8_t handshake = 22;

class Records : public Both {
 public:
  explicit Records(int version, std::uint32_t key_updates = 32)
      : Both({.version = version, .key_updates = key_updates}) {
    EXPECT_EQ(shake(), Session::Step::Done);
  }
  Kind take(std::uint8_t type, const Message& message) {
    return session->take_record(fd(), type, message).kind;
  }
  /// The reason that the client's OpenSSL gives for the alert that it was sent.
  int told() {
    carry();
    client_reads();
    const int reason = ERR_GET_REASON(::ERR_peek_last_error());
    ::ERR_clear_error();
    return reason;
  }
};

TEST(TlsSessionReceive, CloseNotifyIsTheEnd) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Records records(version);
    EXPECT_EQ(records.take(alert, {1, 0}), Kind::Closed);
    EXPECT_TRUE(records.session->peer_closed());
    EXPECT_EQ(records.session->outcome(), Outcome::Ok);
    records.send("an answer behind it");
    EXPECT_EQ(records.client_reads(), "an answer behind it");
  }
}

TEST(TlsSessionReceive, AnAlertEndsTheConnection) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Records records(version);
    EXPECT_EQ(records.take(alert, {2, 20}), Kind::Failed);
    EXPECT_EQ(records.session->outcome(), Outcome::PeerAlert);
  }
  Records mild(TLS1_3_VERSION);  // a level means nothing any more
  EXPECT_EQ(mild.take(alert, {1, 20}), Kind::Failed);
}

TEST(TlsSessionReceive, WarningsArePassedOverAFewTimes) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Records records(version);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(records.take(alert, {1, 90}), Kind::WantInput);
    EXPECT_EQ(records.take(alert, {1, 90}), Kind::Failed);
    EXPECT_EQ(records.session->outcome(), Outcome::Protocol);
    EXPECT_EQ(records.told(), SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE);
  }
}

TEST(TlsSessionReceive, WhatIsNoMessageIsRefused) {
  const struct {
    std::uint8_t type;
    Message message;
  } wrong[] = {
      {alert, {}},
      {alert, {1}},
      {alert, {1, 0, 1, 0}},
      {handshake, {}},
      {handshake, {24, 0, 0, 1}},
      {handshake, {24, 0, 0, 1, 2}},
      {handshake, {24, 0, 0, 2, 0, 0}},
      {handshake, {24, 0, 0, 1, 0, 24, 0, 0, 1, 0}},
      {handshake, {4, 0, 0, 0}},  // NewSessionTicket: a server's
      {20, {1}},
      {24, {1, 0, 0}},
  };
  for (const auto& one : wrong) {
    Records records(TLS1_3_VERSION);
    EXPECT_EQ(records.take(one.type, one.message), Kind::Failed);
    EXPECT_EQ(records.session->outcome(), Outcome::Protocol);
    EXPECT_EQ(records.told(), SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE);
    EXPECT_EQ(records.session->key_updates(), 0U);
  }
}

TEST(TlsSessionReceive, AKeyUpdateNeedsAKernelThatTakesAnotherKey) {
  Records records(TLS1_3_VERSION);
  EXPECT_EQ(records.take(handshake, {24, 0, 0, 1, 0}), Kind::Failed);
  EXPECT_EQ(records.session->outcome(), Outcome::CannotRekey);
  EXPECT_EQ(records.session->key_updates(), 1U);
  Records none(TLS1_3_VERSION, 0);
  EXPECT_EQ(none.take(handshake, {24, 0, 0, 1, 1}), Kind::Failed);
  EXPECT_EQ(none.session->outcome(), Outcome::KeyUpdates);
}

TEST(TlsSessionReceive, RenegotiationIsRefused) {
  Records records(TLS1_2_VERSION);
  EXPECT_EQ(records.take(handshake, {1, 0, 0, 0}), Kind::Failed);
  EXPECT_EQ(records.session->outcome(), Outcome::Renegotiation);
  Records other(TLS1_2_VERSION);
  EXPECT_EQ(other.take(handshake, {24, 0, 0, 1, 0}), Kind::Failed) << "TLS 1.2 has no KeyUpdate";
  EXPECT_EQ(other.session->outcome(), Outcome::Protocol);
}

TEST(TlsSessionReceive, WhatIsNoRecordIsToldToThePeer) {
  const struct {
    int errno_value;
    Outcome outcome;
    int told;
  } errors[] = {
      {EBADMSG, Outcome::BadRecord, SSL_R_SSLV3_ALERT_BAD_RECORD_MAC},
      {EMSGSIZE, Outcome::Oversized, SSL_R_TLSV1_ALERT_RECORD_OVERFLOW},
      {EINVAL, Outcome::Protocol, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION},
  };
  for (const auto& error : errors) {
    Records records(TLS1_3_VERSION);
    records.session->refuse_record(error.errno_value);
    EXPECT_EQ(records.session->outcome(), error.outcome);
    EXPECT_EQ(records.told(), error.told);
  }
}

TEST(TlsSessionReceive, ItIsSwitchedOffUnlessAskedFor) {
  Records records(TLS1_3_VERSION);
  records.session->begin_receiving(records.fd());
  EXPECT_FALSE(records.session->kernel_receives());
  EXPECT_EQ(records.session->receive_reason(), KernelReason::Off);
  records.write("read by OpenSSL");
  EXPECT_EQ(records.receive(), Kind::Bytes);
  EXPECT_EQ(records.received, "read by OpenSSL");
}

TEST(TlsSessionReceive, WhatIsLeftOfWhatWasOfferedKeepsItInTheProgram) {
  Both both({.kernel_receive = true});
  ASSERT_EQ(both.shake(), Session::Step::Done);
  both.write("read by OpenSSL");
  const std::string bytes = both.client_bytes();
  both.session->offer(std::string_view(bytes));
  both.session->begin_receiving(both.fd());
  EXPECT_EQ(both.session->receive_reason(), KernelReason::Buffered);
  EXPECT_EQ(both.receive(bytes), Kind::Bytes);
  EXPECT_EQ(both.received, "read by OpenSSL");
}

TEST(TlsSessionReceive, PartOfARecordThatOpensslHasKeepsItInTheProgram) {
  for (const std::size_t part : {1, 5, 6, 20}) {  // a header has 5
    Both both({.kernel_receive = true});
    ASSERT_EQ(both.shake(), Session::Step::Done);
    both.write("read by OpenSSL");
    const std::string bytes = both.client_bytes();
    EXPECT_EQ(both.receive(bytes.substr(0, part)), Kind::WantInput);
    both.session->begin_receiving(both.fd());
    EXPECT_EQ(both.session->receive_reason(), KernelReason::Buffered) << part;
    EXPECT_EQ(both.receive(bytes.substr(part)), Kind::Bytes);
    EXPECT_EQ(both.received, "read by OpenSSL");
  }
}

TEST(TlsSessionReceive, IsLeftToKernelsThatSpliceInOrder) {
  const Result<bool> none = false;
  for (const char* const release : {"6.1.0-18-amd64", "6.1", "6.18.44-fc", "7.0.1", "10.0"}) {
    EXPECT_EQ(why_not_received(release, none), KernelReason::None) << release;
  }
  for (const char* const release : {"5.6.0", "5.19.17-200", "5.20", "6.0.19", "4.19", "six", ""}) {
    EXPECT_EQ(why_not_received(release, none), KernelReason::OldKernel) << release;
  }
  EXPECT_EQ(token(KernelReason::OldKernel), "old-kernel");
}

TEST(TlsSessionReceive, IsNotLeftToACard) {
  EXPECT_EQ(why_not_received("6.1", true), KernelReason::Card);
  const Result<bool> not_told = failure("ethtool(GFEATURES)", EPERM);
  EXPECT_EQ(why_not_received("6.1", not_told), KernelReason::Card);
  EXPECT_EQ(why_not_received("5.19", true), KernelReason::OldKernel);
}

}  // namespace
}  // namespace pagewire::tls
