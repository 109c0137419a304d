// libdwfl's callbacks get one pointer, `current_`: whose registers and stack are walked now.
#include "profile/user_symbols.h"

#include <cxxabi.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "sys/clock.h"
#include "sys/text_file.h"

namespace pagewire::profile {

namespace {

constexpr std::size_t most_frames = 127;  // as the kernel's own chains

constexpr std::string_view deleted = " (deleted)";

std::string folder_of(pid_t process) {
  return "/proc/" + std::to_string(process) + "/";
}

int open_to_read(const std::string& name) {
  return ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/// What is mapped under a name that the file system has no more: the program was upgraded while it
/// runs. proc_pid_map_files(5) names it by addresses, "400000-452000".
int open_deleted(pid_t process, std::string_view name) {
  const std::string maps = sys::read_text(folder_of(process) + "maps", 64U << 20).value_or("");
  const std::size_t at = maps.find(" " + std::string(name) + "\n");
  if (at != maps.npos) {
    const std::size_t line = maps.rfind('\n', at) + 1;  // npos + 1 is the first one
    const std::string range = maps.substr(line, maps.find(' ', line) - line);
    const int fd = open_to_read(folder_of(process) + "map_files/" + range);
    if (fd >= 0) return fd;  // EPERM: needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN
  }
  // The program itself everybody may open who may trace the process.
  std::array<char, 4096> target{};
  const std::string program = folder_of(process) + "exe";
  const ssize_t size = ::readlink(program.c_str(), target.data(), target.size());
  const bool is_it =
      size > 0 && name == std::string_view(target.data(), static_cast<std::size_t>(size));
  return is_it ? open_to_read(program) : -1;
}

/// As the process sees its files: it may live in another mount namespace.
int find_elf(Dwfl_Module*, void** user_data, const char* name, Dwarf_Addr, char** file_name,
             Elf**) {
  const auto& owner = *static_cast<const Owner*>(*user_data);
  if (name == nullptr || *name != '/') return -1;  // [vdso], [heap], anonymous memory
  int fd = -1;
  if (std::string_view(name).ends_with(deleted)) {
    fd = open_deleted(owner.process, name);
  } else {
    fd = open_to_read(folder_of(owner.process) + "root" + name);
    // EACCES: the root of another user's process; ENOENT: it has ended.
    if (fd < 0 && owner.has_our_root) fd = open_to_read(name);
  }
  if (fd >= 0) *file_name = ::strdup(name);
  return fd;
}

int set_owner(Dwfl_Module*, void** user_data, const char*, Dwarf_Addr, void* argument) {
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

bool has_our_root(pid_t process) {
  struct stat ours {};
  struct stat its {};
  return ::stat("/", &ours) == 0 && ::stat((folder_of(process) + "root/").c_str(), &its) == 0 &&
         ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

std::string file_name_of(std::string_view path) {
  if (path.ends_with(deleted)) path.remove_suffix(deleted.size());
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
    : owner_(std::make_unique<const Owner>(
          Owner{.process = process, .has_our_root = has_our_root(process)})),
      current_(std::make_unique<const sys::UserState*>(nullptr)),
      jit_(process) {
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
  if (dwfl_ == nullptr || ::access((folder_of(owner_->process) + "maps").c_str(), R_OK) != 0)
    return;
  ::dwfl_report_begin_add(dwfl_.get());
  // EACCES, ESRCH: not ours, or gone.
  const bool reported = ::dwfl_linux_proc_report(dwfl_.get(), owner_->process) == 0;
  ::dwfl_report_end(dwfl_.get(), nullptr, nullptr);
  if (!reported) return;
  known_ = true;
  ::dwfl_getmodules(dwfl_.get(), set_owner, const_cast<Owner*>(owner_.get()), 0);
  if (!attached_) attached_ = attach();
}

bool UserSymbols::attach() {
  return ::dwfl_attach_state(dwfl_.get(), nullptr, owner_->process, &thread_callbacks,
                             current_.get());
}

/// Looks at the maps again, once in half a second at most, for an address that was in none of them:
/// a library that was loaded since.
Dwfl_Module* UserSymbols::module_of(std::uint64_t address) {
  constexpr std::int64_t pause_ns = 500'000'000;
  if (dwfl_ == nullptr) return nullptr;
  Dwfl_Module* const module = ::dwfl_addrmodule(dwfl_.get(), address);
  if (module != nullptr || sys::monotonic_ns() < next_refresh_ns_) return module;
  refresh();
  next_refresh_ns_ = sys::monotonic_ns() + pause_ns;
  return ::dwfl_addrmodule(dwfl_.get(), address);
}

std::optional<Frame> UserSymbols::named_by_module(Dwfl_Module* module,
                                                  std::uint64_t address) const {
  if (module == nullptr) return std::nullopt;
  const char* const path =
      ::dwfl_module_info(module, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  Frame frame{.function = {}, .module = file_name_of(path == nullptr ? "" : path)};
  GElf_Off offset = 0;
  GElf_Sym symbol{};
  const char* const name =
      ::dwfl_module_addrinfo(module, address, &offset, &symbol, nullptr, nullptr, nullptr);
  // A stripped program has names of what it exports alone: one far before is another function's.
  const bool within = symbol.st_size == 0 ? offset < 4096 : offset < symbol.st_size;
  frame.function = name != nullptr && within ? demangled(name) : "[" + frame.module + "]";
  return frame;
}

Frame UserSymbols::frame_of(std::uint64_t address) {
  const auto found = frames_.find(address);
  if (found != frames_.end()) return found->second;
  std::optional<Frame> frame = named_by_module(module_of(address), address);
  if (!frame || frame->function.starts_with('[')) {
    // Memory that no file backs, or one in memory alone: code that was made while it ran.
    if (const auto name = jit_.find(address)) frame = Frame{.function = *name, .module = "[jit]"};
  }
  // What nobody knows now may be known later.
  if (!frame) return {.function = "[unknown]", .module = "[unknown]"};
  return frames_.emplace(address, std::move(*frame)).first->second;
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
