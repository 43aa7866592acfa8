// A command as somebody names it on a command line, and the smallest octets that say it: for asking the guard.
//
// Idea: "TPM2_NV_Write 0x1500016" is a row and what stands in its handle area; handles that follow from others or are
// of one's own (the index's own authorization, a session, a sequence) need not be said. What the guard reads in
// parameters is said by name: "index=0x1500016". A parameter that nobody named is left out, so that whoever must read
// it says so. Threads: functions of their arguments. Limits: those of a command line. Errors: a sentence. Source:
// TPM 2.0 library, Part 3 (handle areas and parameters of each command).
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
  std::string text;  // as people read it: "TPM2_NV_Write 0x01500016 0x01500016"
  wire::Command command;
  std::string wanted;  // what its parameters name and nobody said: "pcr=NUMBER, or pcr=none"; empty: nothing
};

// `words`: COMMAND, then HANDLEs and NAME=VALUEs. `table` needs room for a command that it lacks, and outlives the
// result.
[[nodiscard]] tl::expected<SampleCommand, std::string> sample_command(std::span<const std::string> words,
                                                                      wire::CommandTable& table);

}  // namespace tpmspace::explain
