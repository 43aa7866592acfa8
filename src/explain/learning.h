// What a connection needs, learned from what it sends: `tpmspace policy learn`.
//
// Idea: each command, whether it goes on or is refused, makes a profile grow by as little as guard::learn can. The
// report is that profile for the configuration, with comments on what somebody should look at before he gives it to
// anybody: what was refused, and what could not be learned narrowly. Its limits are twice what its space held at most,
// and at least kLeastLimit: the most that one run had is what the next one goes beyond.
// Whoever connects may have this about his own connection: it is made of nothing but his own commands and the codes
// that answered them. Threads: belongs to the event loop. Limits: guard::has_room; kMostRefused commands are told of.
// Beyond the first learning ends, and the report says so. One is at most 16 KiB, a report below 64 KiB.
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

  // `code`: what the manager answered, our layer included; 0: it goes on to the TPM.
  void record(const wire::Command& command, std::uint8_t locality, wire::Rc code);

  // So much its space has now.
  void record(const observe::Held& held);

  // A table of the configuration with that name. Precondition: may_be_learned_as(name).
  [[nodiscard]] std::string report(const std::string& name) const;

 private:
  guard::Profile profile_;
  std::uint64_t commands_ = 0;
  observe::Held most_;
  bool full_ = false;                                   // some command found no room
  std::map<std::string, wire::Rc> refused_;             // by command; the first code
  std::map<std::string_view, std::string> everything_;  // sets that became "all": because of that command
};

// A name that a profile of the configuration can have.
[[nodiscard]] bool may_be_learned_as(std::string_view name);

}  // namespace tpmspace::explain
