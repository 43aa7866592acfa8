// At least one well-formed example of every command that libtpms knows: the commands of the checks, and the start of
// the mutations.
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
  // The response code of libtpms; a code other than 0 is a refusal after all checks that the parser makes.
  wire::Rc answer = 0;
  std::vector<Party> also = {};  // on stage, but not in the handle area
  // The first handle is authorized by a policy session that permits this command (roles ADMIN and DUP).
  bool by_policy = false;
  bool audited = false;  // the HMAC session must be an audit session
};

[[nodiscard]] const std::vector<Example>& examples();
// "TPM2_Certify(transient, persistent)".
[[nodiscard]] std::string name_of(const Example& example);

// Prepares the entities of the example, and `dummies` more objects.
void stage(World& world, const Example& example, unsigned dummies = 0);
// The command. Precondition: staged.
[[nodiscard]] Bytes command_of(World& world, const Example& example);

// After success the world has changed, although `World::intact` may not notice: rebuild it.
[[nodiscard]] bool changes_for_good(wire::CommandCode code);

}  // namespace tpmspace::differential
