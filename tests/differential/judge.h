// Whether the parser and libtpms agree about one command.
//
// Idea: libtpms checks in this order, and stops at the first fault (its ExecCommand.c, SessionProcess.c):
//   1. tag, size, command code;
//   2. every handle's type, as far as the command goes;
//   3. every handle's entity: is it there, is it enabled;
//   4. the size of the authorization area, whether the command takes sessions at all;
//   5. the authorizations, one after the other: first its form, then whether the session is there and may be used so;
//   6. whether every handle that needs an authorization has one;
//   7. the authorizations' values; the form of a parameter that a session decrypts; the parameters.
// The parser judges 1, 4, 6, the encrypted parameter's form in 7, the form in 5, and of 2 only whether the handles are
// there: it cannot know the entities. So where the parser refuses, libtpms must refuse with the same code, or with the
// code of a fault in 2, 3, 5 or 7 that really is in this command and comes before. Where the parser accepts, libtpms
// must not answer with a code that only 1, 4, 5, 6 and the encrypted parameter give. There is no other excuse. Threads:
// pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "wire/bytes.h"
#include "wire/command.h"
#include "wire/command_table.h"
#include "wire/rc.h"

namespace tpmspace::differential {

using wire::Bytes;
using wire::ByteView;

enum class Agreement : std::uint8_t {
  kSameCode,  // both refuse, with the same code
  kEarlier,   // both refuse; libtpms met an earlier fault that is not the parser's to know
  kAccepted,  // the parser accepts, and libtpms has no quarrel with the form
  kDisagreement,
};

struct Case {
  ByteView seed;     // a well-formed command whose handles all name something
  ByteView command;  // the parsed form
  const tl::expected<wire::Command, wire::Rc>& parsed;
  wire::Rc answer = 0;  // libtpms's
};

// The world's sessions are loaded: number 0 is the HMAC session, 1 the policy session.
[[nodiscard]] Agreement judge(const Case& one, const wire::CommandTable& table);

// The rule for an accepted command: its parts lie one behind the other and are the whole of `command`. Empty: the rule
// holds.
[[nodiscard]] std::string inconsistency(const wire::Command& parsed, ByteView command);

}  // namespace tpmspace::differential
