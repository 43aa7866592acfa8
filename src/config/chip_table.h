// [[chip]] of the configuration: one more TPM beside the TPM of the key `tpm`.
//
// Idea: listeners, namespaces and rules name a chip; "main" is the chip that always exists.
//
// Threads: values. Limits: limits::kChips beside the main chip. Errors: in `Faults`.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/table_reader.h"
#include "config/toml_tree.h"
#include "guard/access.h"

namespace tpmspace::config {

// "main, other"
[[nodiscard]] std::string names_of(const std::vector<guard::Chip>& chips);

// A [[chip]] table as written.
struct ChipTable {
  int line = 0;
  std::string name = {};
  std::string tpm = {};                               // a well-formed back end's specification
  std::optional<std::string> ledger = {};             // path; "": none
  Place tpm_place = {}, ledger_place = {};            // places of the values
  bool operator==(const ChipTable&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
};

// Names differ, and none is "main".
[[nodiscard]] std::vector<ChipTable> read_chips(const TomlNode& root, Faults& faults);
// "chip.name"
[[nodiscard]] std::vector<std::string> known_chip_keys();

// A path; "": none.
[[nodiscard]] Fault take_ledger(const TomlNode& node, std::optional<std::string>& out);

}  // namespace tpmspace::config
