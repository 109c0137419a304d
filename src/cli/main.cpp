#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "cli/cli.h"

int main(int argument_count, char** arguments) {
  try {
    const std::vector<std::string> after_name(arguments + (argument_count > 0 ? 1 : 0),
                                              arguments + argument_count);
    return pagewire::cli::run(after_name);
  } catch (const std::exception& exception) {
    // Out of memory or threads while starting up; everything that a user can cause has a line of
    // its own.
    (void)std::fprintf(stderr, "pagewire: cannot start: %s\n", exception.what());
    return 1;
  }
}
