// A port of 127.0.0.1 where nobody listens, and that is nobody else's: neither bind(2) to port 0
// nor an outgoing connection takes it meanwhile. Whoever sets SO_REUSEADDR, as sys::listen_on()
// does, may listen there.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "sys/fd.h"
#include "sys/socket.h"

namespace pagewire::test {

class ReservedPort {
 public:
  ReservedPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    EXPECT_EQ(::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    const sys::Address any = *sys::Address::parse("127.0.0.1:0");
    EXPECT_EQ(::bind(fd_.get(), any.raw(), any.raw_size()), 0);
    address_ = *sys::local_address(fd_.get());
  }
  const sys::Address& address() const { return address_; }

 private:
  sys::Fd fd_;
  sys::Address address_;
};

}  // namespace pagewire::test
