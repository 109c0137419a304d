// The two processes of a bench round, when something goes wrong: each fault is told in one line,
// nobody waits for ever, and nothing is left behind.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <csignal>
#include <set>

#include "bench/engine.h"
#include "support/reserved_port.h"
#include "unit/bench_engine_fixture.h"

namespace pagewire::bench {
namespace {

constexpr std::uint64_t large = 1 * mib + 3;
constexpr const char* shrank = "the file shrank while it was sent";
constexpr const char* overwritten = "the file was overwritten while it was sent";

class FaultTest : public EngineTest {
 protected:
  struct Both {
    OrFault<ServerProcess> server;
    OrFault<ClientProcess> client;
  };
  static std::uint64_t size_for(const egress::Path& by) { return fits(by, large) ? large : 50'000; }
  /// A server and a client of it with two connections, some bytes on their way.
  static Both start(const sys::Fd& file, const egress::Path& by, Mode mode) {
    OrFault<ServerProcess> server = serve(file, by);
    EXPECT_TRUE(server.has_value()) << server.error().text;
    ClientSettings settings = ask(*server, mode, size_for(by));
    settings.connections = 2;
    OrFault<ClientProcess> client = ClientProcess::start(settings);
    EXPECT_TRUE(client.has_value()) << client.error().text;
    EXPECT_TRUE(receives(*client));
    return {std::move(server), std::move(client)};
  }

  /// Whether bytes go on arriving.
  static bool receives(ClientProcess& client) {
    const OrFault<ClientSample> before = client.sample();
    return before && wait_until([&] {
             const OrFault<ClientSample> now = client.sample();
             return !now || now->received_bytes > before->received_bytes;
           }) &&
           client.sample().has_value();
  }
};

// ---------------------------------------------------------------- the file

class EveryPathAndMode
    : public FaultTest,
      public ::testing::WithParamInterface<std::tuple<const egress::Path*, Mode>> {
 protected:
  static const egress::Path& by() { return *std::get<0>(GetParam()); }
  static Mode mode() { return std::get<1>(GetParam()); }
  const sys::Fd file_ = make_file(size_for(by()));
};

TEST_P(EveryPathAndMode, AFileThatShrinksIsAFault) {
  Both both = start(file_, by(), mode());
  ASSERT_EQ(::ftruncate(file_.get(), 10'000), 0);
  EXPECT_EQ(fault_of(*both.server), shrank);
  EXPECT_EQ(fault_of(*both.server), shrank);  // it stays
  EXPECT_NE(fault_of(*both.client).find("the server closed a connection"), std::string::npos);
  // Whoever asks for a sample is told the fault instead.
  const OrFault<ServerSample> sample = both.server->sample();
  ASSERT_FALSE(sample.has_value());
  EXPECT_EQ(sample.error().text, shrank);
}

TEST_P(EveryPathAndMode, AFileThatIsOverwrittenIsAFault) {
  Both both = start(file_, by(), mode());
  ASSERT_EQ(::pwrite(file_.get(), "x", 1, 20'000), 1);
  EXPECT_EQ(fault_of(*both.server), overwritten);
}

/// One that goes out in a single step is looked at, too.
TEST_P(EveryPathAndMode, ASmallFileThatIsOverwrittenIsAFault) {
  const sys::Fd file = make_file(4095);
  OrFault<ServerProcess> server = serve(file, by());
  ASSERT_TRUE(server.has_value()) << server.error().text;
  const OrFault<ClientProcess> client = ClientProcess::start(ask(*server, mode(), 4095));
  ASSERT_TRUE(client.has_value()) << client.error().text;
  ASSERT_EQ(::pwrite(file.get(), "x", 1, 2'000), 1);
  EXPECT_EQ(fault_of(*server), overwritten);
}

INSTANTIATE_TEST_SUITE_P(All, EveryPathAndMode,
                         ::testing::Combine(::testing::ValuesIn(egress::socket_paths().begin(),
                                                                egress::socket_paths().end()),
                                            ::testing::Values(Mode::Stream, Mode::Request)),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param)->name) +
                                  (std::get<1>(instance.param) == Mode::Stream ? "_stream"
                                                                               : "_request");
                         });

TEST_F(FaultTest, OneWrongByteIsFound) {
  const sys::Fd file = make_file(large);
  OrFault<ServerProcess> server = serve(file, path("sendfile"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  for (const off_t at : {off_t{0}, off_t{777'777}, off_t{large - 1}}) {
    const sys::Fd other = make_file(large);
    ASSERT_EQ(::pwrite(other.get(), "\0", 1, at), 1);
    const OrFault<std::uint64_t> verified =
        verify_content(ask(*server, Mode::Request, large), other.get());
    ASSERT_FALSE(verified.has_value());
    EXPECT_EQ(verified.error().text, "byte " + std::to_string(at) + " of the file arrived wrong");
  }
  const sys::Fd shorter = make_file(large - 1);
  const OrFault<std::uint64_t> verified =
      verify_content(ask(*server, Mode::Stream, large), shorter.get());
  ASSERT_FALSE(verified.has_value());
  EXPECT_EQ(verified.error().text, "the file shrank while it was compared");
}

TEST_F(FaultTest, WhatCannotBeSentIsRefused) {
  const sys::Fd empty(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(empty.is_open()) << std::strerror(errno);
  EXPECT_EQ(serve(empty, path("copy")).error().text, "the file is empty: there is nothing to send");
  const sys::Fd folder(::open("/", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(serve(folder, path("copy")).error().text, "the file is not a regular file");
  EXPECT_EQ(serve(sys::Fd(), path("copy")).error().text, "the file: fstat: Bad file descriptor");
  EXPECT_FALSE(ClientProcess::start(ClientSettings{}).has_value());
  EXPECT_FALSE(verify_content(ClientSettings{}, empty.get()).has_value());
}

/// Makes sendfile(2) fail with EPERM from here on, in this process and its children.
bool forbid_sendfile() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendfile, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = std::size(program), .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(FaultTest, ABillForAnotherPathIsRefused) {
  const sys::Fd file = make_file(large);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!forbid_sendfile()) ::_exit(77);
    OrFault<ServerProcess> server = serve(file, path("sendfile"));
    if (!server) ::_exit(2);
    const OrFault<ClientProcess> client = ClientProcess::start(ask(*server, Mode::Request, large));
    const std::string text = fault_of(*server);
    std::fprintf(stderr, "%s\n", text.c_str());
    ::_exit(text == "sendfile does not work on this file; splice was used instead" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no seccomp filter could be set";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// ---------------------------------------------------------------- the processes

TEST_F(FaultTest, AServerOutlivesItsClients) {
  const sys::Fd file = make_file(large);
  OrFault<ServerProcess> server = serve(file, path("splice"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ClientSettings settings = ask(*server, Mode::Stream, large);
  settings.connections = 4;
  for (int round = 0; round < 3; ++round) {
    OrFault<ClientProcess> client = ClientProcess::start(settings);
    ASSERT_TRUE(client.has_value()) << client.error().text;
    EXPECT_TRUE(receives(*client));
    ASSERT_EQ(::kill(client->pid(), SIGKILL), 0);
    EXPECT_EQ(fault_of(*client), "the client process was ended by a signal: Killed");
    EXPECT_FALSE(client->sample().has_value());
  }
  EXPECT_FALSE(server->fault().has_value());
  EXPECT_TRUE(verify_content(ask(*server, Mode::Request, large), file.get()).has_value());
}

TEST_F(FaultTest, AClientSaysThatItsServerHasGone) {
  const sys::Fd file = make_file(large);
  Both both = start(file, path("sendfile"), Mode::Stream);
  ASSERT_EQ(::kill(both.server->pid(), SIGKILL), 0);
  EXPECT_NE(fault_of(*both.client).find("the server closed a connection: "), std::string::npos);
  EXPECT_EQ(fault_of(*both.server), "the server process was ended by a signal: Killed");
}

TEST_F(FaultTest, NobodyToConnectTo) {
  const sys::Fd file = make_file(large);
  const test::ReservedPort nobody;
  ClientSettings settings;
  settings.server = nobody.address();
  settings.mode = Mode::Stream;
  settings.file_bytes = large;
  const std::string expected = "the client cannot connect to " + settings.server.to_string() +
                               ": connect: Connection refused";
  EXPECT_EQ(ClientProcess::start(settings).error().text, expected);
  EXPECT_EQ(verify_content(settings, file.get()).error().text, expected);
}

TEST_F(FaultTest, ACpuThatIsNotThere) {
  const sys::Fd file = make_file(large);
  const ServerSettings settings{
      .file_fd = file.get(), .path = &path("copy"), .network = nullptr, .cpu = 1'000};
  EXPECT_EQ(ServerProcess::start(settings).error().text,
            "the server process could not start: pthread_setaffinity_np: Invalid argument");
}

TEST_F(FaultTest, AWedgedChildIsAFaultAndNoHang) {
  const sys::Fd file = make_file(large);
  OrFault<ServerProcess> server = serve(file, path("copy"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ASSERT_EQ(::kill(server->pid(), SIGSTOP), 0);
  const OrFault<ServerSample> sample = server->sample();
  ASSERT_FALSE(sample.has_value());
  EXPECT_EQ(sample.error().text, "the server process did not answer within 10 s");
}

TEST_F(FaultTest, WaitingForASampleCanBeStopped) {
  const sys::Fd file = make_file(large);
  OrFault<ServerProcess> server = serve(file, path("copy"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ASSERT_EQ(::kill(server->pid(), SIGSTOP), 0);
  int asked = 0;
  const OrFault<ServerSample> sample = server->sample([&] { return ++asked == 2; });
  ASSERT_FALSE(sample.has_value());
  EXPECT_EQ(sample.error().text, "stopped");
  EXPECT_EQ(asked, 2);
}

/// A listener that takes nobody in: what is beyond its queue waits for an answer to its SYN.
class FullQueue {
 public:
  FullQueue() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sys::Address any = *sys::Address::parse("127.0.0.1:0");
    EXPECT_EQ(::bind(listener_.get(), any.raw(), any.raw_size()), 0);
    EXPECT_EQ(::listen(listener_.get(), 0), 0);
  }
  ClientSettings client_of_many() const {
    ClientSettings settings;
    settings.server = *sys::local_address(listener_.get());
    settings.file_bytes = large;
    settings.connections = 20;
    return settings;
  }

 private:
  sys::Fd listener_;
};

TEST_F(FaultTest, ConnectingCanBeStopped) {
  const FullQueue server;
  int asked = 0;
  const OrFault<ClientProcess> client =
      ClientProcess::start(server.client_of_many(), [&] { return ++asked == 3; });
  ASSERT_FALSE(client.has_value());
  EXPECT_EQ(client.error().text, "stopped");
  EXPECT_EQ(asked, 3);
}

/// The client says it itself, before its parent has lost patience.
TEST_F(FaultTest, ConnectingHasOneLimitForAllConnections) {
  const FullQueue server;
  const ClientSettings settings = server.client_of_many();
  std::string text;
  // Its parent has two seconds more, which a client that stands still may need.
  for (int attempt = 0; attempt < 3 && !text.ends_with("timed out"); ++attempt) {
    const OrFault<ClientProcess> client = ClientProcess::start(settings);
    ASSERT_FALSE(client.has_value());
    text = client.error().text;
  }
  EXPECT_EQ(text, "the client cannot connect to " + settings.server.to_string() +
                      ": connect: Connection timed out");
}

TEST_F(FaultTest, VerifyingCanBeStopped) {
  const sys::Fd file = make_file(large);
  OrFault<ServerProcess> server = serve(file, path("copy"));
  ASSERT_TRUE(server.has_value()) << server.error().text;
  ASSERT_EQ(::kill(server->pid(), SIGSTOP), 0);  // it would wait for it
  int asked = 0;
  const OrFault<std::uint64_t> verified =
      verify_content(ask(*server, Mode::Stream, large), file.get(), [&] { return ++asked == 3; });
  ASSERT_FALSE(verified.has_value());
  EXPECT_EQ(verified.error().text, "stopped");
}

// ---------------------------------------------------------------- what a child has and keeps

std::multiset<std::string> descriptors_of(pid_t pid) {
  std::multiset<std::string> targets;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (std::stoi(entry.path().filename()) <= STDERR_FILENO) continue;
    std::error_code gone;
    const std::filesystem::path target = std::filesystem::read_symlink(entry.path(), gone);
    if (!gone) targets.insert(target.string());
  }
  return targets;
}

TEST_F(FaultTest, ChildrenHoldNothingOfTheParents) {
  const sys::Fd file = make_file(large);
  const sys::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sys::Fd report = make_file(1);
  Both both = start(file, path("sendfile"), Mode::Stream);
  const auto link = [](int fd) {
    return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)).string();
  };
  // Control, file, epoll, wake-up, listener and two connections, once both are accepted.
  std::multiset<std::string> of_server;
  EXPECT_TRUE(wait_until([&] {
    of_server = descriptors_of(both.server->pid());
    return of_server.size() == 7;
  })) << of_server.size();
  // Control, epoll, two connections.
  const std::multiset<std::string> of_client = descriptors_of(both.client->pid());
  EXPECT_EQ(of_server.count(link(listener.get())), 0U);
  EXPECT_EQ(of_client.count(link(listener.get())), 0U);
  EXPECT_EQ(of_server.count(link(report.get())), 0U);
  EXPECT_EQ(of_server.count(link(file.get())), 1U);
  EXPECT_EQ(of_client.size(), 4U);
}

TEST_F(FaultTest, ChildrenLeaveCtrlCToTheParent) {
  const sys::Fd file = make_file(large);
  Both both = start(file, path("sendfile"), Mode::Stream);
  ASSERT_EQ(::kill(both.server->pid(), SIGINT), 0);
  ASSERT_EQ(::kill(both.client->pid(), SIGINT), 0);
  EXPECT_TRUE(receives(*both.client));
  EXPECT_FALSE(both.server->fault().has_value());
}

TEST_F(FaultTest, ChildrenDieWithTheParent) {
  // Orphans become ours, so that their end can be waited for.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  const sys::Fd file = make_file(large);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const sys::Fd read_end(ends[0]);
  sys::Fd write_end(ends[1]);
  const pid_t parent = ::fork();
  if (parent == 0) {
    Both both = start(file, path("sendfile"), Mode::Stream);
    const pid_t pids[2] = {both.server->pid(), both.client->pid()};
    // Stopped, they cannot see that the control socket has ended, which would do as well.
    for (const pid_t pid : pids) {
      ::kill(pid, SIGSTOP);
      ::waitpid(pid, nullptr, WUNTRACED);
    }
    static_cast<void>(::write(write_end.get(), pids, sizeof pids) == sizeof pids);
    ::raise(SIGKILL);
  }
  write_end.close();
  pid_t pids[2] = {-1, -1};
  ASSERT_EQ(::read(read_end.get(), pids, sizeof pids), static_cast<ssize_t>(sizeof pids));
  EXPECT_EQ(::waitpid(parent, nullptr, 0), parent);
  for (const pid_t pid : pids) {
    int status = 0;
    EXPECT_TRUE(wait_until([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }));
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  EXPECT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

}  // namespace
}  // namespace pagewire::bench
