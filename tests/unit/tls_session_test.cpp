// A Session against OpenSSL's own client: what is sealed by us must be what it opens, whatever the
// version, the cipher, the number of tickets and of KeyUpdates before it.
#include "tls/session.h"

#include <string>

#include "tls_session_fixture.h"

namespace pagewire::tls {
namespace {

constexpr Wish every_cipher[] = {
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},
    {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
    {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"},
};

TEST(TlsSession, EveryVersionAndCipher) {
  for (const Wish& wish : every_cipher) {
    Both both(wish);
    ASSERT_EQ(both.shake(), Session::Step::Done) << wish.cipher;
    EXPECT_EQ(both.session->cipher(), wish.cipher);
    both.write("ping");
    EXPECT_EQ(both.receive(), Kind::Bytes);
    EXPECT_EQ(both.received, "ping");
    const std::string text = pattern(600'001);
    both.send(text);
    EXPECT_TRUE(both.client_reads() == text) << wish.cipher;
    both.session->close_notify();
    both.carry();
    EXPECT_EQ(both.client_reads(), "");
    EXPECT_EQ(both.client_error, SSL_ERROR_ZERO_RETURN) << wish.cipher;
  }
}

/// OpenSSL's client takes no record that is larger than it asked for.
TEST(TlsSession, RecordsAreNoLargerThanTheClientAskedFor) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const int limit : {TLSEXT_max_fragment_length_512, TLSEXT_max_fragment_length_4096}) {
      Both both({.version = version, .max_fragment = static_cast<std::uint8_t>(limit)});
      ASSERT_EQ(both.shake(), Session::Step::Done);
      EXPECT_TRUE(both.session->outlet().records_limited());
      const std::string text = pattern(100'001);
      both.session->outlet().begin_response(1, ByteCount{text.size()});
      both.send(text);
      EXPECT_TRUE(both.client_reads() == text);
    }
  }
}

TEST(TlsSession, TheSequenceNumberIsBehindTheTickets) {
  for (const std::size_t tickets : {0U, 1U, 5U}) {
    Both both({.tickets = tickets});
    ASSERT_EQ(both.shake(), Session::Step::Done);
    EXPECT_EQ(both.session->outlet().sequence(), tickets);
    both.send("hello");
    EXPECT_EQ(both.client_reads(), "hello");
  }
}

TEST(TlsSession, AHandshakeThatComesByteByByte) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Both both({.version = version});
    ASSERT_EQ(both.shake(1), Session::Step::Done);
    both.send("hello");
    EXPECT_EQ(both.client_reads(), "hello");
  }
}

TEST(TlsSession, RecordsThatComeInParts) {
  Both both;
  ASSERT_EQ(both.shake(), Session::Step::Done);
  both.write("one");
  both.write("two");
  const std::string bytes = both.client_bytes();
  for (const char c : bytes) both.receive(std::string(1, c));
  EXPECT_EQ(both.received, "onetwo");
}

TEST(TlsSession, AKeyUpdateIsAnsweredAndBothKeysChange) {
  Both both({.cipher = "TLS_AES_256_GCM_SHA384"});
  ASSERT_EQ(both.shake(), Session::Step::Done);
  for (std::uint32_t round = 1; round <= 3; ++round) {
    ASSERT_EQ(::SSL_key_update(both.client, SSL_KEY_UPDATE_REQUESTED), 1);
    both.write("ping");
    both.receive();
    EXPECT_EQ(both.session->key_updates(), round);
    EXPECT_EQ(both.session->outlet().sequence(), 0U) << "the first record of the new keys";
    both.send("pong");
    EXPECT_EQ(both.client_reads(), "pong");
  }
  EXPECT_EQ(both.received, "pingpingping");
}

TEST(TlsSession, AKeyUpdateBehindOurCloseNotifyIsNotAnswered) {
  Both both;
  ASSERT_EQ(both.shake(), Session::Step::Done);
  both.session->close_notify();
  ASSERT_EQ(::SSL_key_update(both.client, SSL_KEY_UPDATE_REQUESTED), 1);
  both.write("ping");
  const std::size_t before = both.session->outlet().waiting().size();
  both.receive();
  EXPECT_EQ(both.received, "ping");
  EXPECT_EQ(both.session->outlet().waiting().size(), before);
}

TEST(TlsSession, AKeyUpdateThatAsksForNoneIsNotAnswered) {
  Both both;
  ASSERT_EQ(both.shake(), Session::Step::Done);
  const std::uint64_t sequence = both.session->outlet().sequence();
  ASSERT_EQ(::SSL_key_update(both.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
  both.write("ping");
  both.receive();
  EXPECT_EQ(both.received, "ping");
  EXPECT_EQ(both.session->outlet().sequence(), sequence);
  EXPECT_FALSE(both.session->wants_flush());
}

TEST(TlsSession, TooManyKeyUpdatesEndTheConnection) {
  Both both({.key_updates = 2});
  ASSERT_EQ(both.shake(), Session::Step::Done);
  Kind kind = Kind::Bytes;
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(::SSL_key_update(both.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    both.write("x");
    kind = both.receive();
    EXPECT_EQ(kind == Kind::Failed, round == 2);
  }
  EXPECT_EQ(both.session->outcome(), Outcome::KeyUpdates);
  EXPECT_TRUE(both.session->may_still_send());
  both.send("an answer that was under way");
  both.session->close_notify();
  both.carry();
  EXPECT_EQ(both.client_reads(), "an answer that was under way");
  EXPECT_EQ(both.client_reads(), "");
  EXPECT_EQ(both.client_error, SSL_ERROR_ZERO_RETURN) << "a clean end";
}

TEST(TlsSession, BehindOneKeyUpdateTooManyNothingIsRead) {
  Both both({.key_updates = 2});
  ASSERT_EQ(both.shake(), Session::Step::Done);
  std::string all_at_once;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(::SSL_key_update(both.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ASSERT_EQ(::SSL_do_handshake(both.client), 1);
    all_at_once += both.client_bytes();
  }
  EXPECT_EQ(both.receive(all_at_once), Kind::Failed);
  EXPECT_EQ(both.session->outcome(), Outcome::KeyUpdates);
  EXPECT_EQ(both.session->key_updates(), 3U);
  EXPECT_TRUE(both.session->input_left());
}

TEST(TlsSession, RenegotiationIsRefused) {
  Both both({.version = TLS1_2_VERSION});
  ASSERT_EQ(both.shake(), Session::Step::Done);
  ASSERT_EQ(::SSL_renegotiate(both.client), 1);
  ::SSL_do_handshake(both.client);
  EXPECT_EQ(both.receive(), Kind::Failed);
  EXPECT_EQ(both.session->outcome(), Outcome::Renegotiation);
  both.carry();
  both.client_reads();
  EXPECT_EQ(ERR_GET_REASON(::ERR_peek_last_error()), SSL_R_NO_RENEGOTIATION);
  ::ERR_clear_error();
}

TEST(TlsSession, ARecordThatDoesNotDecrypt) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Both both({.version = version});
    ASSERT_EQ(both.shake(), Session::Step::Done);
    both.write("ping");
    std::string bytes = both.client_bytes();
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    EXPECT_EQ(both.receive(bytes), Kind::Failed);
    EXPECT_EQ(both.session->outcome(), Outcome::BadRecord);
    both.carry();
    both.client_reads();
    EXPECT_EQ(ERR_GET_REASON(::ERR_peek_last_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC)
        << "OpenSSL's alert, in a record of ours";
    ::ERR_clear_error();
  }
}

TEST(TlsSession, TheEndOfThePeer) {
  Both both;
  ASSERT_EQ(both.shake(), Session::Step::Done);
  both.write("last");
  ::SSL_shutdown(both.client);
  EXPECT_EQ(both.receive(), Kind::Closed);
  EXPECT_EQ(both.received, "last");
  EXPECT_TRUE(both.session->peer_closed());
  both.send("an answer behind it");
  EXPECT_EQ(both.client_reads(), "an answer behind it");
}

TEST(TlsSession, WhatIsNoHandshake) {
  struct Case {
    std::string bytes;
    Outcome outcome;
  };
  const Case cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", Outcome::PlainHttp},
      {std::string(64, '\x80'), Outcome::Garbage},
      {std::string("\0\1\2\3\4\5\6\7\10\11\12\13", 12), Outcome::Garbage},
      {std::string("\x16\x03\x01\xff\xff", 5) + std::string(100, 'x'), Outcome::Oversized},
      {std::string("\x15\x03\x01\x00\x02\x02\x28", 7), Outcome::Protocol},  // an alert
  };
  for (const Case& each : cases) {
    Both both;
    both.session->offer(each.bytes);
    EXPECT_EQ(both.session->handshake(), Session::Step::Failed);
    EXPECT_EQ(both.session->outcome(), each.outcome) << token(both.session->outcome());
  }
}

TEST(TlsSession, AClientThatDoesNotTrustTheCertificate) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Both both({.version = version});
    ::SSL_set_verify(both.client, SSL_VERIFY_PEER, nullptr);
    EXPECT_EQ(both.shake(), Session::Step::Failed);
    EXPECT_EQ(both.session->outcome(), Outcome::PeerAlert);
    ::ERR_clear_error();
  }
}

TEST(TlsSession, NoCommonVersion) {
  Both both({.version = TLS1_1_VERSION});
  ::SSL_CTX_set_security_level(::SSL_get_SSL_CTX(both.client), 0);
  ::SSL_set_security_level(both.client, 0);
  EXPECT_EQ(both.shake(), Session::Step::Failed);
  EXPECT_EQ(both.session->outcome(), Outcome::NothingShared);
  ::ERR_clear_error();
}

/// A cipher that records cannot be written with ends the handshake.
TEST(TlsSession, ACipherThatIsNoAead) {
  Both both({.version = TLS1_2_VERSION, .cipher = "ECDHE-ECDSA-AES128-SHA256"});
  EXPECT_EQ(both.shake(), Session::Step::Failed);
}

TEST(TlsSession, KeysThatHaveSealedEnoughAreChanged) {
  Both both;
  ASSERT_EQ(both.shake(), Session::Step::Done);
  both.session->outlet().begin_response(1, ByteCount{5});
  EXPECT_EQ(both.session->outlet().sequence(), 2U) << "fresh ones are not";
  // As after 2^24 records: the client is told nothing of the number, so it only sees the KeyUpdate.
  SendBuffers buffers;
  Outlet outlet(buffers);
  WriteKeys keys = both.session->outlet().keys();
  ASSERT_TRUE(outlet.install(keys, (1U << 24U) - 1));
  outlet.begin_response(1, ByteCount{5});
  EXPECT_EQ(outlet.sequence(), (1U << 24U) - 1);
  const iovec piece{keys.key.data(), 5};
  outlet.seal({&piece, 1});
  outlet.taken(outlet.waiting().size());
  outlet.begin_response(1, ByteCount{5});
  EXPECT_EQ(outlet.sequence(), 0U);
  EXPECT_NE(outlet.keys().key, keys.key);
  EXPECT_FALSE(outlet.empty()) << "the KeyUpdate waits";
}

/// TLS 1.2 has no KeyUpdate: the connection has to end.
TEST(TlsSession, AWornKeyOfTls12EndsTheConnection) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Both both({.version = version});
    ASSERT_EQ(both.shake(), Session::Step::Done);
    EXPECT_FALSE(both.session->key_is_worn(ByteCount{}, 0));
    const WriteKeys keys = both.session->outlet().keys();
    ASSERT_TRUE(both.session->outlet().install(keys, records_per_key - 1));
    EXPECT_FALSE(both.session->key_is_worn(ByteCount{}, 0));
    ASSERT_TRUE(both.session->outlet().install(keys, records_per_key));
    EXPECT_EQ(both.session->key_is_worn(ByteCount{}, 0), version == TLS1_2_VERSION);
  }
}

TEST(TlsSession, RecordsOfTheKernelAreCountedByBytesAndResponses) {
  EXPECT_LT(kernel_records(ByteCount{255 * gib}, 1'000), records_per_key);
  EXPECT_GE(kernel_records(ByteCount{256 * gib}, 1), records_per_key);
  EXPECT_GE(kernel_records(ByteCount{}, records_per_key / 2), records_per_key);
}

}  // namespace
}  // namespace pagewire::tls
