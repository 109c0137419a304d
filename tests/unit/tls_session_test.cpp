// A Session against OpenSSL's own client: what is sealed by us must be what it opens, whatever the
// version, the cipher, the number of tickets and of KeyUpdates before it.
#include "tls/session.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <string>

#include "support/tls_certificates.h"
#include "sys/socket.h"
#include "tls/key_schedule.h"

namespace pagewire::tls {
namespace {

using Kind = Session::Read::Kind;
using SslCtx = std::shared_ptr<SSL_CTX>;

SslCtx server_context() {
  static const test::MadeCertificate certificate = test::make_certificate({});
  static const LibraryPtr library = make_library();
  SslCtx context = make_server_context(library.get());
  ::SSL_CTX_use_certificate(context.get(), certificate.certificate.get());
  ::SSL_CTX_use_PrivateKey(context.get(), certificate.key.get());
  return context;
}

struct Wish {
  int version = TLS1_3_VERSION;
  const char* cipher = "";
  std::size_t tickets = 2;
  std::uint32_t key_updates = 32;
  std::uint8_t max_fragment = TLSEXT_max_fragment_length_DISABLED;
};

/// The server's Session on one end of a connection, OpenSSL on the other. What the client writes is
/// offered without a socket between.
class Both {
 public:
  explicit Both(const Wish& wish = {}) : facts_{.key_updates = wish.key_updates} {
    ::SSL_CTX_set_num_tickets(context_.get(), wish.tickets);
    session = Session::make(*context_, context_, buffers, facts_);
    client_context_ = SslCtx(::SSL_CTX_new(::TLS_client_method()), ::SSL_CTX_free);
    ::SSL_CTX_set_min_proto_version(client_context_.get(), wish.version);
    ::SSL_CTX_set_max_proto_version(client_context_.get(), wish.version);
    ::SSL_CTX_set_tlsext_max_fragment_length(client_context_.get(), wish.max_fragment);
    if (*wish.cipher != '\0') {
      wish.version == TLS1_3_VERSION
          ? ::SSL_CTX_set_ciphersuites(client_context_.get(), wish.cipher)
          : ::SSL_CTX_set_cipher_list(client_context_.get(), wish.cipher);
    }
    client = ::SSL_new(client_context_.get());
    to_client_ = ::BIO_new(::BIO_s_mem());
    from_client_ = ::BIO_new(::BIO_s_mem());
    ::SSL_set_bio(client, to_client_, from_client_);
    ::SSL_set_connect_state(client);
  }
  ~Both() {
    session.reset();  // before the buffers that it gives back to
    ::SSL_free(client);
  }

  int fd() const { return sockets_.sender.get(); }
  std::string client_bytes() {
    std::string bytes(::BIO_ctrl_pending(from_client_), '\0');
    ::BIO_read(from_client_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  /// What the server has sent so far, to the client.
  void carry() {
    EXPECT_TRUE(session->flush(fd()).value_or(false));
    std::string buffer(1 << 17, '\0');
    for (;;) {
      const ssize_t n = ::recv(sockets_.receiver.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n <= 0) return;
      ::BIO_write(to_client_, buffer.data(), static_cast<int>(n));
    }
  }
  /// Until both have done, or the server has failed. `step`: bytes offered at a time.
  Session::Step shake(std::size_t step = 1 << 20) {
    Session::Step server = Session::Step::WantInput;
    for (int i = 0; i < 10 && server == Session::Step::WantInput; ++i) {
      ::SSL_do_handshake(client);
      const std::string bytes = client_bytes();
      for (std::size_t at = 0; at < bytes.size(); at += step) {
        const std::string_view part = std::string_view(bytes).substr(at, step);
        session->offer(part);
        server = session->handshake();
        EXPECT_FALSE(session->input_left() && server == Session::Step::WantInput);
      }
      carry();
    }
    ::SSL_do_handshake(client);
    return server;
  }
  void write(std::string_view text) {
    ASSERT_EQ(::SSL_write(client, text.data(), static_cast<int>(text.size())), int(text.size()));
  }
  /// Everything that the server reads of `bytes`.
  Kind receive(const std::string& bytes) {
    session->offer(bytes);
    std::string plain(most_plain_bytes, '\0');
    Session::Read read{Kind::WantInput, 0};
    while (session->input_left()) {
      read = session->read(plain);
      if (read.kind == Kind::Bytes) received += plain.substr(0, read.count);
      if (read.kind == Kind::Closed || read.kind == Kind::Failed) break;
    }
    return read.kind;
  }
  Kind receive() { return receive(client_bytes()); }
  void send(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = session->outlet().next_record(ByteCount{text.size() - at});
      if (size == 0) {
        carry();
        continue;
      }
      // In three pieces, as a head and parts of a body come.
      const std::size_t first = size / 3;
      const std::size_t second = size / 2 - first;
      char* const from = const_cast<char*>(text.data()) + at;
      const std::array<iovec, 3> pieces = {iovec{from, first}, iovec{from + first, second},
                                           iovec{from + first + second, size - first - second}};
      session->outlet().seal(pieces);
      at += size;
    }
    carry();
  }
  std::string client_reads() {
    std::string text;
    std::string buffer(most_plain_bytes, '\0');
    for (;;) {
      const int n = ::SSL_read(client, buffer.data(), static_cast<int>(buffer.size()));
      client_error = ::SSL_get_error(client, n);
      if (n <= 0) return text;
      text += buffer.substr(0, static_cast<std::size_t>(n));
    }
  }

  SendBuffers buffers;  // before the session, whose buffer comes back to it
  std::unique_ptr<Session> session;
  SSL* client = nullptr;
  std::string received;
  int client_error = SSL_ERROR_NONE;

 private:
  SslCtx context_ = server_context();
  SslCtx client_context_;
  SessionFacts facts_;
  sys::SocketPair sockets_ = std::move(*sys::tcp_pair_over_loopback());
  BIO* to_client_ = nullptr;
  BIO* from_client_ = nullptr;
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 256);
  return text;
}

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
