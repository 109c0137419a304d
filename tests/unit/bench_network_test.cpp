// The two networks: what goes over them arrives, and nothing of them stays.
#include "bench/network.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "support/position_code.h"
#include "support/stepping_child.h"
#include "sys/netlink.h"

namespace pagewire::bench {
namespace {

ino_t own_namespace() {
  struct stat status {};
  EXPECT_EQ(::stat("/proc/thread-self/ns/net", &status), 0);
  return status.st_ino;
}

ino_t inode_of(const sys::Fd& fd) {
  struct stat status {};
  EXPECT_EQ(::fstat(fd.get(), &status), 0);
  return status.st_ino;
}

std::set<std::string> interfaces() {
  std::set<std::string> names;
  struct if_nameindex* const list = ::if_nameindex();
  for (const struct if_nameindex* i = list; i != nullptr && i->if_index != 0; ++i)
    names.insert(i->if_name);
  if (list != nullptr) ::if_freenameindex(list);
  return names;
}

/// Of those, the ones that have the bench's names; others may come and go with other tests.
std::set<std::string> interfaces_of_the_bench() {
  std::set<std::string> names = interfaces();
  std::erase_if(names, [](const std::string& name) { return !name.starts_with("pw-"); });
  return names;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

constexpr std::size_t stream_bytes = 3'000'000;

/// Connects from the client's namespace and compares all that comes. 0: every byte was right.
int receive_all(const Network& network, const sys::Address& server) {
  if (!enter_namespace(network.client_namespace)) return 1;
  const sys::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = 30, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), server.raw(), server.raw_size()) != 0) return 2;
  std::vector<char> buffer(64 * 1024);
  std::uint64_t received = 0;
  for (;;) {
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0) return 3;
    if (n == 0) return received == stream_bytes ? 0 : 4;
    const std::span bytes(buffer.data(), static_cast<std::size_t>(n));
    if (test::first_wrong(received, bytes) != bytes.size()) return 5;
    received += bytes.size();
  }
}

/// Listens in the server's namespace and sends position-coded bytes to a client in its own.
int send_all(const Network& network) {
  if (!enter_namespace(network.server_namespace)) return 11;
  const Result<sys::Fd> listener = sys::listen_on(network.server_address, {});
  if (!listener) return 12;
  const Result<sys::Address> address = sys::local_address(listener->get());
  if (!address || address->port() == 0) return 13;
  const pid_t client = ::fork();
  if (client == 0) ::_exit(receive_all(network, *address));
  pollfd ready{.fd = listener->get(), .events = POLLIN, .revents = 0};
  int result = 14;
  if (::poll(&ready, 1, 30'000) == 1) {
    const sys::Fd connection(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::string data = test::positions(0, stream_bytes);
    std::size_t sent = 0;
    while (sent < data.size()) {
      const ssize_t n = ::send(connection.get(), data.data() + sent, data.size() - sent, 0);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
    result = sent == data.size() ? 0 : 15;
  }
  int status = 0;
  ::waitpid(client, &status, 0);
  if (result != 0) return result;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 16;
}

/// In a process of its own, as the bench does it.
int carry_a_stream(const Network& network) {
  const pid_t server = ::fork();
  if (server == 0) ::_exit(send_all(network));
  int status = 0;
  ::waitpid(server, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Loopback, NeedsNothing) {
  const Result<Network> network = make_network(NetKind::Loopback);
  ASSERT_TRUE(network);
  EXPECT_EQ(network->server_address.to_string(), "127.0.0.1:0");
  EXPECT_FALSE(network->server_namespace.is_open());
  EXPECT_TRUE(enter_namespace(network->server_namespace));
  EXPECT_EQ(carry_a_stream(*network), 0);
}

TEST(Veth, CarriesAStreamBetweenTwoNamespaces) {
  const ino_t before = own_namespace();
  const std::set<std::string> interfaces_before = interfaces_of_the_bench();
  const Result<Network> network = make_network(NetKind::Veth);
  if (!network) GTEST_SKIP() << describe(network.error());
  EXPECT_EQ(own_namespace(), before);
  EXPECT_EQ(interfaces_of_the_bench(), interfaces_before);
  EXPECT_EQ(network->kind, NetKind::Veth);
  EXPECT_EQ(network->server_address.port(), 0);
  const std::set<ino_t> namespaces{before, inode_of(network->server_namespace),
                                   inode_of(network->client_namespace)};
  EXPECT_EQ(namespaces.size(), 3u) << "three different ones";
  EXPECT_EQ(carry_a_stream(*network), 0);
}

TEST(Veth, HidesTheServerFromEveryOtherNamespace) {
  const Result<Network> network = make_network(NetKind::Veth);
  if (!network) GTEST_SKIP() << describe(network.error());
  std::set<std::string> seen[2];
  const sys::Fd* const inside[2] = {&network->server_namespace, &network->client_namespace};
  for (int i = 0; i < 2; ++i) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (!enter_namespace(*inside[i])) ::_exit(1);
      std::string names;
      for (const std::string& name : interfaces()) names += name + " ";
      ::_exit(::write(ends[1], names.data(), names.size()) > 0 ? 0 : 1);
    }
    ::close(ends[1]);
    std::array<char, 256> text{};
    EXPECT_GT(::read(ends[0], text.data(), text.size() - 1), 0);
    ::close(ends[0]);
    ::waitpid(pid, nullptr, 0);
    std::istringstream words(text.data());
    for (std::string word; words >> word;) seen[i].insert(word);
  }
  EXPECT_EQ(seen[0], (std::set<std::string>{"lo", "pw-server"}));
  EXPECT_EQ(seen[1], (std::set<std::string>{"lo", "pw-client"}));
}

// The names of the interfaces are the same each time: the pairs cannot be in each other's way.
TEST(Veth, CanBeHadTwiceAndLeavesNothing) {
  const std::set<std::string> interfaces_before = interfaces_of_the_bench();
  const std::size_t descriptors = open_descriptors();
  const ino_t before = own_namespace();
  {
    const Result<Network> one = make_network(NetKind::Veth);
    if (!one) GTEST_SKIP() << describe(one.error());
    const Result<Network> other = make_network(NetKind::Veth);
    ASSERT_TRUE(other) << describe(other.error());
    EXPECT_NE(inode_of(one->server_namespace), inode_of(other->server_namespace));
    EXPECT_EQ(carry_a_stream(*one), 0);
    EXPECT_EQ(carry_a_stream(*other), 0);
    EXPECT_EQ(open_descriptors(), descriptors + 4);
  }
  EXPECT_EQ(open_descriptors(), descriptors);
  EXPECT_EQ(interfaces_of_the_bench(), interfaces_before);
  EXPECT_EQ(own_namespace(), before);
}

TEST(Veth, IsNotForNobody) {
  const int status = test::run_as_nobody([] {
    const std::size_t descriptors = open_descriptors();
    const Result<Network> network = make_network(NetKind::Veth);
    if (network) return 1;
    if (network.error().errno_value != EPERM) return 2;
    return open_descriptors() == descriptors ? 0 : 3;
  });
  if (status < 0) GTEST_SKIP() << "setresuid is not permitted";
  EXPECT_EQ(status, 0);
}

void limit_descriptors(rlim_t limit) {
  const rlimit both{.rlim_cur = limit, .rlim_max = 1024};
  ::setrlimit(RLIMIT_NOFILE, &both);
}

/// Makes networks with room for ever more descriptors. 0: the first ones failed and the last did
/// not, all came home, and those that failed left nothing open.
int make_with_little_room() {
  constexpr rlim_t limit = 64;
  limit_descriptors(limit);
  std::vector<sys::Fd> filling;
  for (int fd = 0; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) filling.emplace_back(fd);
  limit_descriptors(limit + 4);
  const std::size_t full = open_descriptors();  // some may lie above the limit
  const ino_t home = own_namespace();
  bool failed_before = true;
  for (int room = 0; room < 12; ++room) {
    limit_descriptors(limit);
    const Result<Network> network = make_network(NetKind::Veth);
    const Error error = network ? Error{} : network.error();
    limit_descriptors(limit + 4);
    if (own_namespace() != home) return 1;
    if (!network && error.errno_value != EMFILE) return 2;
    const std::size_t ours = network ? 2 : 0;
    if (open_descriptors() != full - static_cast<std::size_t>(room) + ours) return 3;
    if (network && room < 4) return 4;  // two namespaces, the way home and a socket
    if (!network && !failed_before) return 5;
    failed_before = !network;
    filling.pop_back();
  }
  return failed_before ? 6 : 0;
}

// Out of descriptors it fails now at one step, now at another.
TEST(Veth, ComesHomeWhereverItFails) {
  if (!make_network(NetKind::Veth)) GTEST_SKIP() << "no permission for namespaces, or no veth";
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(make_with_little_room());
  int status = 0;
  ::waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Netlink, SaysThatThereIsNoSuchInterface) {
  Result<sys::Netlink> netlink = sys::Netlink::open();
  ASSERT_TRUE(netlink) << describe(netlink.error());
  const Result<void> up = netlink->set_up("pw-none");
  ASSERT_FALSE(up);
  EXPECT_EQ(up.error().errno_value, ENODEV);
}

}  // namespace
}  // namespace pagewire::bench
