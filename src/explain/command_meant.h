// What somebody may have meant by a word that is no command's name.
//
// Idea: names are compared without case, underscores and "tpm2": so the tools of tpm2-tools are found by their names,
// and what differs by two letters or is cut short.
// Threads: a function of its arguments. Limits: the first 64 octets of the word are looked at. Errors: none.
#pragma once

#include <string>

#include "wire/command_table.h"

namespace tpmspace::explain {

// A sentence: what is wrong with the word, and what to write. Precondition: it is no command's name.
[[nodiscard]] std::string no_such_command(const std::string& word, const wire::CommandTable& table);

}  // namespace tpmspace::explain
