// At least one well-formed example of every command that libtpms knows: what the checks send, and what the mutations
// start from.
//
// Idea: an example is a declaration: which of the world's inhabitants its handles name, how its parameters are made,
// how its first handle is authorized. Every other handle that needs an authorization gets an empty password.
// Threads: constant.
// Source: TPM 2.0 library, Part 3; the section is the row's.
#pragma once

#include <string>
#include <vector>

#include "wire/bytes.h"
#include "wire/command_table.h"
#include "world.h"

namespace tpmspace::differential {

struct Example {
  wire::CommandCode code = 0;
  std::vector<Party> handles;
  Bytes (*parameters)(World& world) = nullptr;  // null: none
  // What libtpms answers; anything but 0 is a refusal that comes after all that the parser judges.
  wire::Rc answer = 0;
  std::vector<Party> also = {};  // on stage, but not in the handle area
  // The first handle is authorized by a policy session that permits this command (roles ADMIN and DUP).
  bool by_policy = false;
  bool audited = false;  // the HMAC session must be an audit session
};

[[nodiscard]] const std::vector<Example>& examples();
// "TPM2_Certify(transient, persistent)".
[[nodiscard]] std::string name_of(const Example& example);

// Puts on stage what the example needs, and `dummies` more objects.
void stage(World& world, const Example& example, unsigned dummies = 0);
// The command. Precondition: staged.
[[nodiscard]] Bytes command_of(World& world, const Example& example);

// After success the world is not what it was, though `World::intact` may not see it: rebuild it.
[[nodiscard]] bool changes_for_good(wire::CommandCode code);

}  // namespace tpmspace::differential
