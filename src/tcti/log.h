// Prints why a TCTI could not be set up, for the person at the terminal: a TSS2_RC cannot tell the reason.
//
// Idea: one line on stderr in the form of the TSS's own messages, unless TSS2_LOG (a variable of the TSS) turns off
// errors of "tcti" or "all" with "+none".
// Threads: reads the environment: not while another thread changes it.
#pragma once

#include <string>

namespace tpmspace::tcti {

void log_error(const std::string& sentence);

}  // namespace tpmspace::tcti
