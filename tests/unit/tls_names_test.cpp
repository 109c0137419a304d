// SNI to certificates: exact names, wildcards of one label, and what a certificate says.
#include "tls/names.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/tls_certificates.h"

namespace pagewire::tls {
namespace {

constexpr std::size_t nobody = 99;

Names three() {
  Names names;
  names.add({"a.test", "www.a.test"}, 0);
  names.add({"*.b.test", "b.test"}, 1);
  names.add({"special.b.test", "a.test"}, 2);
  return names;
}

TEST(TlsNames, AnExactNameIsFound) {
  EXPECT_EQ(three().find("www.a.test", nobody), 0U);
  EXPECT_EQ(three().find("b.test", nobody), 1U);
}

TEST(TlsNames, TheFirstCertificateKeepsAName) {
  EXPECT_EQ(three().find("a.test", nobody), 0U);
}

TEST(TlsNames, AWildcardStandsForOneLabel) {
  EXPECT_EQ(three().find("any.b.test", nobody), 1U);
  EXPECT_EQ(three().find("x.b.test", nobody), 1U);
  EXPECT_EQ(three().find("two.labels.b.test", nobody), nobody);
  EXPECT_EQ(three().find(".b.test", nobody), nobody);
  EXPECT_EQ(three().find("xb.test", nobody), nobody);
}

TEST(TlsNames, AnExactNameGoesBeforeAWildcard) {
  EXPECT_EQ(three().find("special.b.test", nobody), 2U);
}

TEST(TlsNames, CaseAndADotAtTheEndMeanNothing) {
  EXPECT_EQ(three().find("WWW.A.Test", nobody), 0U);
  EXPECT_EQ(three().find("Any.B.TEST.", nobody), 1U);
}

TEST(TlsNames, WhatIsNoNameIsNobodys) {
  EXPECT_EQ(three().find("", nobody), nobody);
  EXPECT_EQ(three().find(".", nobody), nobody);
  EXPECT_EQ(three().find("test", nobody), nobody);
  EXPECT_EQ(three().find("*.b.test", nobody), 1U) << "a name that nobody has, but harmless";
  EXPECT_EQ(three().find(std::string(300, 'a') + ".b.test", nobody), nobody);
}

TEST(TlsNames, OfACertificateAreItsDnsNamesInLowerCase) {
  const auto made =
      test::make_certificate({.names = "DNS:A.test,IP:127.0.0.1,DNS:*.B.test,email:x@c.test"});
  EXPECT_EQ(names_of(*made.certificate), (std::vector<std::string>{"a.test", "*.b.test"}));
  const auto without = test::make_certificate({});
  EXPECT_TRUE(names_of(*without.certificate).empty());
}

}  // namespace
}  // namespace pagewire::tls
