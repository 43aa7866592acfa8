// TPM namespaces: sets of clients with their own quotas, NV indices and persistent handles.
//
// Idea: conditions as in a rule define the members; a profile defines the members' rights, which can exceed the rights
// outside. A TPM namespace comes from the configuration, never from a kernel namespace, which users can make. Threads:
// a value. Units: beside the fields. Limits: the reader of a file bounds the number of namespaces.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "guard/profile.h"
#include "guard/rule.h"
#include "wire/numbers.h"

namespace tpmspace::guard {

// Quotas of all members together.
struct Quotas {
  std::uint32_t connections = kUnlimited;
  std::uint32_t sessions = kUnlimited;  // active sessions
  std::uint32_t objects = kUnlimited;   // transient objects and sequences
  std::uint64_t bytes = UINT64_MAX;     // of saved contexts
  bool operator==(const Quotas&) const = default;
};

struct Namespace {
  int line = 0;  // its line in the file, for people; 0: none
  std::string name = {};
  Rule members = {};                        // all its conditions count except profile, executable and chip
  std::optional<std::string> profile = {};  // for members that match no rule of the file
  Quotas quotas = {};
  bool separate_users = false;           // the members' users cannot become one another: each has separate shares
  std::optional<Numbers> nv = {};        // the members see no other NV indices
  std::optional<std::string> chip = {};  // the TPM of members whose listener has none
  // The chip's persistent handles that the members see under other numbers (books/view.h).
  std::optional<Numbers::Range> window = {};

  bool operator==(const Namespace&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

}  // namespace tpmspace::guard
