// HTTPS in flags and file: which certificates, where, and what goes without which.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/config_file.h"
#include "cli/flags.h"
#include "cli/serve_settings.h"

namespace pagewire::cli {
namespace {

using Arguments = std::vector<std::string>;

OrUsageError<ServeSettings> settings_of(const Arguments& arguments, const std::string& toml = "") {
  const auto flags = parse_flags(serve_command(), arguments);
  if (!flags) return tl::unexpected(flags.error());
  const auto file = parse_config(serve_command(), {.name = "edge.toml", .text = toml});
  if (!file) return tl::unexpected(file.error());
  const Machine machine{.cpus = {0, 1}};
  return build_settings({.file = *file, .flags = flags->assignments}, machine);
}

ServeSettings good(const Arguments& arguments, const std::string& toml = "") {
  const auto settings = settings_of(arguments, toml);
  EXPECT_TRUE(settings.has_value()) << settings.error().text;
  return settings.value_or(default_settings());
}

std::string error_of(const Arguments& arguments, const std::string& toml = "") {
  const auto settings = settings_of(arguments, toml);
  EXPECT_FALSE(settings.has_value());
  return settings ? "" : settings.error().text;
}

/// "chain key ocsp" of each.
std::vector<std::string> files_of(const ServeSettings& settings) {
  std::vector<std::string> shown;
  for (const tls::CertificateFiles& each : settings.server.tls->certificates) {
    shown.push_back(each.chain + " " + each.key + " " + each.ocsp);
  }
  return shown;
}

std::string port_of_tls(const ServeSettings& settings) {
  std::string text;
  for (const sys::Address& address : settings.server.listen_tls) text += address.to_string() + " ";
  return text;
}

TEST(ServeTls, IsOffWithoutACertificate) {
  const ServeSettings settings = good({});
  EXPECT_FALSE(settings.server.tls.has_value());
  EXPECT_TRUE(settings.server.listen_tls.empty());
}

TEST(ServeTls, FlagsReachTheirMembers) {
  const ServeSettings settings =
      good({"--tls-cert",          "c.pem",  "--tls-key",         "k.pem",
            "--tls-ocsp",          "o.der",  "--listen-tls",      "127.0.0.1:1",
            "--tls-client-ca",     "ca.pem", "--tls-client-cert", "optional",
            "--tls-min-version",   "1.3",    "--tls-tickets",     "off",
            "--tls-ktls",          "off",    "--tls-zerocopy-ro", "on",
            "--handshake-timeout", "3s",     "--handshake-rate",  "40"});
  EXPECT_EQ(files_of(settings), (std::vector<std::string>{"c.pem k.pem o.der"}));
  EXPECT_EQ(port_of_tls(settings), "127.0.0.1:1 ");
  const tls::Settings& tls = *settings.server.tls;
  EXPECT_EQ(tls.client_ca, "ca.pem");
  EXPECT_EQ(tls.client_certificates, tls::ClientCertificates::Optional);
  EXPECT_EQ(tls.min_version, tls::Version::Tls13);
  EXPECT_FALSE(tls.tickets);
  EXPECT_FALSE(tls.kernel_tls);
  EXPECT_TRUE(tls.zero_copy_ro);
  EXPECT_EQ(tls.handshake_timeout_ms, 3'000);
  EXPECT_EQ(tls.handshakes_per_second, 40U);
}

TEST(ServeTls, DefaultsAreSafe) {
  const ServeSettings settings = good({"--tls-cert", "c", "--tls-key", "k"});
  EXPECT_EQ(port_of_tls(settings), "[::]:8443 ");
  const tls::Settings& tls = *settings.server.tls;
  EXPECT_EQ(tls.min_version, tls::Version::Tls12);
  EXPECT_EQ(tls.client_certificates, tls::ClientCertificates::Required);
  EXPECT_TRUE(tls.tickets);
  EXPECT_TRUE(tls.kernel_tls);
  EXPECT_FALSE(tls.zero_copy_ro);
  EXPECT_EQ(tls.handshake_timeout_ms, 10'000);
  EXPECT_EQ(tls.handshakes_per_second, 0U);
}

constexpr const char* two_tables =
    "tls-cert = \"a.pem\"\ntls-key = \"a.key\"\n"
    "[[certificate]]\nchain = \"b.pem\"\nkey = \"b.key\"\nocsp = \"b.der\"\n"
    "[[certificate]]\nkey = \"c.key\"\nchain = \"c \\\"x\\\".pem\"\n";

TEST(ServeTls, TheFileMayNameMoreCertificates) {
  EXPECT_EQ(files_of(good({}, two_tables)),
            (std::vector<std::string>{"a.pem a.key ", "b.pem b.key b.der", "c \"x\".pem c.key "}));
  EXPECT_EQ(files_of(good({"--tls-cert", "z", "--tls-key", "y"}, two_tables)).front(), "z y ");
  EXPECT_EQ(files_of(good({}, "certificate = [{chain = \"b\", key = \"k\"}]\n")),
            (std::vector<std::string>{"b k "}));
}

TEST(ServeTls, ShownSettingsAreAFileThatMeansTheSame) {
  const std::string shown = show_settings(good({}, two_tables));
  EXPECT_NE(shown.find("certificate = [{ chain = \"b.pem\", key = \"b.key\", ocsp = \"b.der\" }, "
                       "{ chain = \"c \\\"x\\\".pem\", key = \"c.key\" }]\n"),
            std::string::npos)
      << shown;
  EXPECT_EQ(show_settings(good({}, shown)), shown);
  EXPECT_EQ(files_of(good({}, shown)), files_of(good({}, two_tables)));
}

TEST(ServeTls, PlainHttpMayBeOff) {
  const ServeSettings settings =
      good({"--listen", "off", "--tls-cert", "c", "--tls-key", "k"}, "listen = [\":80\"]\n");
  EXPECT_TRUE(settings.server.listen.empty());
  EXPECT_EQ(show_settings(good({}, show_settings(settings))), show_settings(settings));
}

TEST(ServeTls, WhatIsMissingIsNamed) {
  EXPECT_EQ(error_of({"--tls-cert", "c"}), "pagewire serve: tls-cert is given without tls-key");
  EXPECT_EQ(error_of({"--tls-key", "k"}), "pagewire serve: tls-key is given without tls-cert");
  EXPECT_EQ(error_of({"--tls-ocsp", "o"}), "pagewire serve: tls-ocsp is given without tls-cert");
  EXPECT_EQ(error_of({"--listen-tls", ":1"}),
            "pagewire serve: listen-tls is given without a certificate");
  EXPECT_EQ(error_of({"--tls-client-ca", "ca"}),
            "pagewire serve: tls-client-ca is given without a certificate");
}

TEST(ServeTls, AWrongTableIsNamed) {
  const std::string head = "[[certificate]]\n";
  EXPECT_EQ(error_of({}, head + "chain = \"b\"\n"), "edge.toml:1: certificate has no 'key'");
  EXPECT_EQ(error_of({}, head + "chian = \"b\"\n"),
            "edge.toml:2: unknown key 'chian' (did you mean 'chain'?)");
  EXPECT_EQ(error_of({}, head + "chain = 5\n"),
            "edge.toml:2: chain of certificate takes a text, not 5");
  EXPECT_EQ(error_of({}, head + "chain = \"\"\n"),
            "edge.toml:2: chain of certificate takes a text, not \"\"");
  const std::string takes =
      "edge.toml:1: certificate takes tables with the keys chain, key and, if there is one, ocsp, ";
  EXPECT_EQ(error_of({}, "certificate = \"b.pem\"\n"), takes + "not \"b.pem\"");
  EXPECT_EQ(error_of({}, "certificate = [1]\n"), takes + "not 1");
  EXPECT_EQ(error_of({"--certificate", "b"}),
            "pagewire serve: there is no flag --certificate; see pagewire serve --help");
}

}  // namespace
}  // namespace pagewire::cli
