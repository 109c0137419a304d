// Names of user functions, and user stacks, of one process by its ELF files (elfutils' libdwfl);
// private to the room.
//
// Owns a Dwfl: the process's modules as /proc/PID/maps had them when it was made, and again when an
// address is in none of them. Nothing is fetched from the network. A file that was replaced on the
// disk is not read in its place: the one that is mapped is (proc_pid_map_files(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "profile/jit_symbols.h"
#include "profile/profile.h"
#include "sys/stack_sampler.h"

struct Dwfl;
struct Dwfl_Module;

namespace pagewire::profile {

/// Whose files libdwfl's callbacks open.
struct Owner {
  pid_t process = 0;
  bool has_our_root = false;  ///< its files have the names that they have for us
};

class UserSymbols {
 public:
  explicit UserSymbols(pid_t process);
  UserSymbols(UserSymbols&&) noexcept = default;
  ~UserSymbols();

  /// Whether the modules could be read at all; else every name is "[unknown]".
  bool is_known() const { return known_; }
  /// Takes in what was mapped since.
  void refresh();

  Frame frame_of(std::uint64_t address);
  /// Addresses of the user stack, innermost first, by DWARF's call frame information from the
  /// registers and the copy of the stack; the sample's own chain where that leads further.
  std::vector<std::uint64_t> unwind(const sys::StackSample& sample);

 private:
  struct Closer {
    void operator()(Dwfl* dwfl) const;
  };
  bool attach();
  Dwfl_Module* module_of(std::uint64_t address);
  std::optional<Frame> named_by_module(Dwfl_Module* module, std::uint64_t address) const;
  std::vector<std::uint64_t> unwind_by_dwarf(const sys::UserState& state);

  std::unique_ptr<const Owner> owner_;  // what libdwfl's callbacks get
  bool known_ = false;
  bool attached_ = false;
  std::unique_ptr<Dwfl, Closer> dwfl_;
  std::unique_ptr<const sys::UserState*> current_;  // what libdwfl's callbacks read
  std::int64_t next_refresh_ns_ = 0;
  JitSymbols jit_;
  std::unordered_map<std::uint64_t, Frame> frames_;
};

}  // namespace pagewire::profile
