// Suggests a command for a word that is no command's name.
//
// Idea: names are compared without case, underscores and "tpm2": so a tool's name of tpm2-tools is found, and a name
// with two wrong letters or a missing end.
// Threads: a function of its arguments. Limits: only the first 64 bytes of the word count. Errors: none.
#pragma once

#include <string>

#include "wire/command_table.h"

namespace tpmspace::explain {

// A sentence: the error of the word, and the right word. Precondition: the word is no command's name.
[[nodiscard]] std::string no_such_command(const std::string& word, const wire::CommandTable& table);

}  // namespace tpmspace::explain
