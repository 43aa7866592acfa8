// TPM namespaces: sets of clients that have quotas, NV indices and persistent handles of their own.
//
// Idea: who belongs to one is said by conditions as a rule's; what its members get is said by a profile, which can be
// more than they would get outside. It is the configuration's, never a kernel's namespace, which users can make.
// Threads: a value. Units: beside the fields. Limits: whoever reads a file bounds how many there are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "guard/profile.h"
#include "guard/rule.h"
#include "wire/numbers.h"

namespace tpmspace::guard {

// What all members together may have.
struct Quotas {
  std::uint32_t connections = kUnlimited;
  std::uint32_t sessions = kUnlimited;  // active ones
  std::uint32_t objects = kUnlimited;   // transient objects and sequences
  std::uint64_t bytes = UINT64_MAX;     // of saved contexts
  bool operator==(const Quotas&) const = default;
};

struct Namespace {
  int line = 0;  // where it was written, for people; 0: nowhere
  std::string name = {};
  Rule members = {};                        // its conditions count, but its profile, the executable and the chip
  std::optional<std::string> profile = {};  // of members whom no rule of the file matches
  Quotas quotas = {};
  bool separate_users = false;           // its members' users cannot be one another: each has shares of his own
  std::optional<Numbers> nv = {};        // no others exist for its members
  std::optional<std::string> chip = {};  // the TPM of members whose listener has none
  // The chip's persistent handles that its members know by other numbers (books/view.h).
  std::optional<Numbers::Range> window = {};

  bool operator==(const Namespace&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

}  // namespace tpmspace::guard
