// libdwfl's callbacks get one pointer, `current_`: whose registers and stack are walked now.
#include "profile/user_symbols.h"

#include <cxxabi.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

namespace pagewire::profile {

namespace {

constexpr std::size_t most_frames = 127;  // as the kernel's own chains

/// As the process sees its files: it may live in another mount namespace.
int find_elf(Dwfl_Module*, void** user_data, const char* name, Dwarf_Addr, char** file_name,
             Elf**) {
  const auto process = static_cast<pid_t>(reinterpret_cast<std::intptr_t>(*user_data));
  if (name == nullptr || *name != '/') return -1;  // [vdso], [heap], anonymous memory
  const std::string seen = "/proc/" + std::to_string(process) + "/root" + name;
  int fd = ::open(seen.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  // EACCES: the root of another user's process; ENOENT: it has ended.
  if (fd < 0) fd = ::open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) *file_name = ::strdup(name);
  return fd;
}

int set_process(Dwfl_Module*, void** user_data, const char*, Dwarf_Addr, void* argument) {
  *user_data = argument;
  return DWARF_CB_OK;
}

/// Also without the version of a symbol: "__libc_start_main@@GLIBC_2.34".
std::string demangled(const char* mangled) {
  const std::string name(mangled, std::strcspn(mangled, "@"));
  int status = 0;
  char* const plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  if (status != 0 || plain == nullptr) return name;
  std::string text = plain;
  std::free(plain);
  return text;
}

std::string file_name_of(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));
}

// ---------------------------------------------------------------- what libdwfl asks for

using Current = const sys::UserState*;

pid_t next_thread(Dwfl*, void* argument, void** thread_argument) {
  if (*thread_argument != nullptr) return 0;  // there was the one already
  *thread_argument = argument;
  return 1;
}

bool read_memory(Dwfl*, Dwarf_Addr address, Dwarf_Word* result, void* argument) {
  const sys::UserState& state = **static_cast<Current*>(argument);
  const std::uint64_t offset = address - state.stack_pointer;
  if (address < state.stack_pointer || offset + sizeof *result > state.stack.size()) return false;
  std::memcpy(result, state.stack.data() + offset, sizeof *result);
  return true;
}

bool set_registers(Dwfl_Thread* thread, void* argument) {
  const sys::UserState& state = **static_cast<Current*>(argument);
  ::dwfl_thread_state_register_pc(thread, state.pc);
  const auto* const values = reinterpret_cast<const Dwarf_Word*>(state.registers.data());
  return ::dwfl_thread_state_registers(thread, 0, static_cast<unsigned>(state.registers.size()),
                                       values);
}

constexpr Dwfl_Thread_Callbacks thread_callbacks{.next_thread = next_thread,
                                                 .get_thread = nullptr,
                                                 .memory_read = read_memory,
                                                 .set_initial_registers = set_registers,
                                                 .detach = nullptr,
                                                 .thread_detach = nullptr};

int take_frame(Dwfl_Frame* frame, void* argument) {
  auto& addresses = *static_cast<std::vector<std::uint64_t>*>(argument);
  Dwarf_Addr pc = 0;
  bool is_activation = false;
  if (!::dwfl_frame_pc(frame, &pc, &is_activation)) return DWARF_CB_ABORT;
  // A return address may be the next function's first one: the call is what stands before it.
  addresses.push_back(is_activation ? pc : pc - 1);
  return addresses.size() < most_frames ? DWARF_CB_OK : DWARF_CB_ABORT;
}

}  // namespace

void UserSymbols::Closer::operator()(Dwfl* dwfl) const {
  ::dwfl_end(dwfl);
}

UserSymbols::UserSymbols(pid_t process)
    : process_(process), current_(std::make_unique<const sys::UserState*>(nullptr)) {
  static const Dwfl_Callbacks callbacks{.find_elf = find_elf,
                                        .find_debuginfo = ::dwfl_standard_find_debuginfo,
                                        .section_address = nullptr,
                                        .debuginfo_path = nullptr};
  // libdwfl would otherwise ask servers for what the disk does not have.
  (void)::unsetenv("DEBUGINFOD_URLS");
  dwfl_.reset(::dwfl_begin(&callbacks));
  refresh();
}

UserSymbols::~UserSymbols() = default;

// What has gone from the maps meanwhile (the process has ended) stays as it was.
void UserSymbols::refresh() {
  if (dwfl_ == nullptr ||
      ::access(("/proc/" + std::to_string(process_) + "/maps").c_str(), R_OK) != 0)
    return;
  ::dwfl_report_begin_add(dwfl_.get());
  // EACCES, ESRCH: not ours, or gone.
  const bool reported = ::dwfl_linux_proc_report(dwfl_.get(), process_) == 0;
  ::dwfl_report_end(dwfl_.get(), nullptr, nullptr);
  if (!reported) return;
  known_ = true;
  auto* const argument = reinterpret_cast<void*>(static_cast<std::intptr_t>(process_));
  ::dwfl_getmodules(dwfl_.get(), set_process, argument, 0);
  if (!attached_) attached_ = attach();
}

bool UserSymbols::attach() {
  return ::dwfl_attach_state(dwfl_.get(), nullptr, process_, &thread_callbacks, current_.get());
}

Frame UserSymbols::frame_of(std::uint64_t address) {
  const auto found = frames_.find(address);
  if (found != frames_.end()) return found->second;
  Frame frame{.function = "[unknown]", .module = "[unknown]", .in_kernel = false};
  Dwfl_Module* const module = dwfl_ == nullptr ? nullptr : ::dwfl_addrmodule(dwfl_.get(), address);
  if (module != nullptr) {
    const char* const path =
        ::dwfl_module_info(module, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
    frame.module = file_name_of(path == nullptr ? "" : path);
    GElf_Off offset = 0;
    GElf_Sym symbol{};
    const char* const name =
        ::dwfl_module_addrinfo(module, address, &offset, &symbol, nullptr, nullptr, nullptr);
    // A stripped program has names of what it exports alone: one far before is another function's.
    const bool within = symbol.st_size == 0 ? offset < 4096 : offset < symbol.st_size;
    frame.function = name != nullptr && within ? demangled(name) : "[" + frame.module + "]";
  }
  return frames_.emplace(address, std::move(frame)).first->second;
}

std::vector<std::uint64_t> UserSymbols::unwind(const sys::StackSample& sample) {
  std::vector<std::uint64_t> chain(sample.user.begin(), sample.user.end());
  if (!attached_ || sample.state.registers.empty() || sample.user.empty()) return chain;
  std::vector<std::uint64_t> by_dwarf = unwind_by_dwarf(sample.state);
  return by_dwarf.size() >= chain.size() ? by_dwarf : chain;
}

std::vector<std::uint64_t> UserSymbols::unwind_by_dwarf(const sys::UserState& state) {
  *current_ = &state;
  std::vector<std::uint64_t> addresses;
  (void)::dwfl_getthread_frames(dwfl_.get(), 1, take_frame, &addresses);
  *current_ = nullptr;
  return addresses;
}

}  // namespace pagewire::profile
