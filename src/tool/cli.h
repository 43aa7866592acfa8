// The command line, as values. The only header that cli.cc shares with the other files: see CMakeLists.txt about CLI11.
// Threads: none. Errors: printed on stderr; the exit code is in the result.
#pragma once

#include <string>
#include <variant>

#include "tool/flush.h"
#include "tool/learn.h"
#include "tool/manage_listeners.h"
#include "tool/manager_place.h"
#include "tool/open.h"
#include "tool/policy.h"
#include "tool/run.h"

namespace tpmspace::tool {

struct ConnectOptions {
  ManagerPlace manager;
};
struct StatusOptions {
  ManagerPlace manager;
  bool json = false;
};
struct SessionsOptions {
  ManagerPlace manager;
  bool json = false;
};
struct ReloadOptions {
  ManagerPlace manager;
};
struct DoctorOptions {
  ManagerPlace manager;
  bool json = false;
};
struct ClientsOptions {
  ManagerPlace manager;
  bool json = false;
};
struct WhoamiOptions {
  ManagerPlace manager;
  bool json = false;
};
// Nothing is left to do: help was shown, or an error printed.
struct Exit {
  int code = 0;
};
using Invocation = std::variant<Exit, RunOptions, ConnectOptions, StatusOptions, SessionsOptions, FlushOptions,
                                ReserveOptions, DoctorOptions, ListenerOptions, OpenOptions, PolicyOptions,
                                ReloadOptions, LearnOptions, ClientsOptions, WhoamiOptions>;

[[nodiscard]] Invocation parse_command_line(int argc, char** argv);

}  // namespace tpmspace::tool
