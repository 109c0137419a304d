// The groups of the table of `pagewire serve`: each adds its entries. For serve_options.cpp alone.
#pragma once

#include <vector>

#include "cli/option_kinds.h"
#include "cli/serve_options.h"
#include "cli/service_options.h"

namespace pagewire::cli {

using Make = OptionKinds<ServeSettings>;
using Shared = ServiceOptions<ServeSettings>;

void add_files(std::vector<ServeOption>& table);
void add_listening(std::vector<ServeOption>& table);
void add_tls(std::vector<ServeOption>& table);
void add_workers(std::vector<ServeOption>& table);
void add_sending(std::vector<ServeOption>& table);
void add_limits(std::vector<ServeOption>& table);
void add_timeouts(std::vector<ServeOption>& table);
void add_watching(std::vector<ServeOption>& table);
void add_configuration(std::vector<ServeOption>& table);

}  // namespace pagewire::cli
