// [[chip]] of the configuration: one more TPM beside the one that `tpm` names.
//
// Idea: listeners, namespaces and rules name a chip; "main" is the one that is always there.
//
// Threads: values. Limits: limits::kChips beside the main one. Errors: in `Faults`.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/table_reader.h"
#include "daemon/toml_tree.h"

namespace tpmspace::daemon {

// The chip that `tpm` names, or --tpm.
inline constexpr std::string_view kMainChip = "main";

// A TPM that is served, and as what.
struct Chip {
  std::string name = std::string(kMainChip);
  std::string tpm = {};         // a back end's specification, as --tpm takes it
  std::string ledger = {};      // where the sessions that are ours on a shared chip are written; empty: nowhere
  bool default_ledger = false;  // nobody named it: the directory of the default socket is made for it
  bool operator==(const Chip&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};
// "main, other"
[[nodiscard]] std::string names_of(const std::vector<Chip>& chips);

// What somebody wrote.
struct ChipTable {
  int line = 0;
  std::string name = {};
  std::string tpm = {};                               // a back end's specification that can be one
  std::optional<std::string> ledger = {};             // path; "": none
  Place tpm_place = {}, ledger_place = {};            // of their values
  bool operator==(const ChipTable&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Names differ, and none is "main".
[[nodiscard]] std::vector<ChipTable> read_chips(const TomlNode& root, Faults& faults);
// "chip.name"
[[nodiscard]] std::vector<std::string> known_chip_keys();

// A path; "": none.
[[nodiscard]] Fault take_ledger(const TomlNode& node, std::optional<std::string>& out);

}  // namespace tpmspace::daemon
