// Builds the smallest command for words of a command line: for asking the guard.
//
// Idea: "TPM2_NV_Write 0x1500016" gives the row and the handle area; handles that follow from other handles or belong
// to the client (the index's own authorization, a session, a sequence) can be omitted. Parameters that the guard reads
// are given by name: "index=0x1500016". An unnamed parameter is left out, so that a guard that must read the parameter
// reports the omission.
// Threads: functions of their arguments. Limits: of a command line. Errors: a sentence.
// Source: TPM 2.0 library, Part 3 (handle areas and parameters of each command).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "wire/command.h"
#include "wire/command_table.h"
#include "wire/numbers.h"

namespace tpmspace::explain {

struct SampleCommand {
  std::string text;  // for people: "TPM2_NV_Write 0x01500016 0x01500016"
  wire::Command command;
  std::string wanted;  // the named parameters still missing: "pcr=NUMBER, or pcr=none"; empty: none
};

// `words`: COMMAND, then HANDLEs and NAME=VALUEs. `table` needs room for a command that it lacks, and outlives the
// result.
[[nodiscard]] tl::expected<SampleCommand, std::string> sample_command(std::span<const std::string> words,
                                                                      wire::CommandTable& table);

}  // namespace tpmspace::explain
