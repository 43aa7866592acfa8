// The needs of a connection, learned from its commands: `tpmspace policy learn`.
//
// Idea: each command, allowed or refused, makes a profile grow by as little as guard::learn can. The report is the
// profile for the configuration, with comments on the points to check before use: refused commands, and sets that could
// not be learned narrowly. The profile's limits are twice the maximum that the client's space held, and at least
// kLeastLimit: the next run may need more than this run.
// Any client may ask for a report about its own connection: the report has only the client's own commands and their
// response codes.
// Threads: belongs to the event loop.
// Limits: guard::has_room; kMostRefused refused commands are listed. Beyond the limits learning ends, and the report
// says so. A profile is at most 16 KiB, a report below 64 KiB.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "guard/profile.h"
#include "observe/account.h"
#include "wire/command.h"
#include "wire/rc.h"

namespace tpmspace::explain {

class Learning {
 public:
  static constexpr std::size_t kMostRefused = 64;
  static constexpr std::uint32_t kLeastLimit = 4;  // objects, sessions: one command can need three

  // `code`: the manager's response code, our layer included; 0: the command goes on to the TPM.
  void record(const wire::Command& command, std::uint8_t locality, wire::Rc code);

  // The current contents of the client's space.
  void record(const observe::Held& held);

  // A table of the configuration with that name. Precondition: may_be_learned_as(name).
  [[nodiscard]] std::string report(const std::string& name) const;

 private:
  guard::Profile profile_;
  std::uint64_t commands_ = 0;
  observe::Held most_;
  bool full_ = false;                                   // a command found no room
  std::map<std::string, wire::Rc> refused_;             // by command; the first code
  std::map<std::string_view, std::string> everything_;  // sets that became "all", with the causing command
};

// True for a name that a profile of the configuration can have.
[[nodiscard]] bool may_be_learned_as(std::string_view name);

}  // namespace tpmspace::explain
