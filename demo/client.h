// One client of the demonstration: a program of its own that signs, quotes and unseals, and checks every answer.
//
// Idea: it is written as if the TPM were its alone. Once set up it holds three objects (a signing key, a quoting key, a
// sealed secret: what a small TPM has room for) and an HMAC session that authorizes all it does; every unsealing takes
// a policy session besides. At the end it just goes, and leaves tidying up to whoever cares.
// It speaks with the demonstration over its standard input and output: see client_words.h.
#pragma once

#include <string>

namespace tpmspace::demo {

// The exit code. `number` tells this client from the others.
int run_client(unsigned number, const std::string& tcti, unsigned rounds);

}  // namespace tpmspace::demo
