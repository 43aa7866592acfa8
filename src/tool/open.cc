#include "tool/open.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "client/connection.h"
#include "tool/exit_code.h"
#include "tool/own_connection.h"
#include "tool/time_limits.h"
#include "wire/rc.h"

namespace tpmspace::tool {
namespace {

std::string open_error(const client::Error& error, const std::string& profile) {
  if (error.code == wire::from_manager(wire::rc::kValue))
    return error.what + ": there is no profile \"" + profile +
           "\"; tpmspace ships safe, storage, attest, provision and admin, and the configuration of tpmspaced may have "
           "others";
  return error.what;
}

}  // namespace

int open_narrowed(const OpenOptions& options) {
  auto connection = connect_to(options.manager);
  if (!connection) return fail(connection.error().what, kExitRunFailed);
  if (const auto narrowed = connection->narrow(options.profile, kChangeMs); !narrowed)
    return fail(open_error(narrowed.error(), options.profile), kExitRunFailed);

  const auto own = own_connection(*connection);
  if (!own) return fail(own.error(), kExitRunFailed);
  for (const Variable& variable : own->environment)
    if (variable.value) ::setenv(variable.name.c_str(), variable.value->c_str(), 1);

  std::vector<char*> words;
  auto command = options.command;
  words.reserve(command.size() + 1);
  for (std::string& word : command) words.push_back(word.data());
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  return cannot_run(options.command[0], errno);
}

}  // namespace tpmspace::tool
