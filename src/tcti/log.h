// Why a TCTI could not be set up, for the person at the terminal: a TSS2_RC alone cannot say it.
//
// Idea: one line on stderr in the form of the TSS's own messages, unless TSS2_LOG (its variable) turns errors of "tcti"
// or of "all" off with "+none".
// Threads: reads the environment: not while another thread changes it.
#pragma once

#include <string>

namespace tpmspace::tcti {

void log_error(const std::string& sentence);

}  // namespace tpmspace::tcti
