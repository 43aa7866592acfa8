// One client of the demonstration: a program of its own that signs, quotes and unseals, and checks every answer.
//
// Idea: the client is written as if it had the TPM for itself. Once set up it holds three objects (a signing key, a
// quoting key, a sealed secret: a small TPM has room for three) and an HMAC session that authorizes all commands; every
// unsealing takes a policy session besides. At the end the client exits without flushing. It speaks with the
// demonstration over standard input and output: see client_words.h.
#pragma once

#include <string>

namespace tpmspace::demo {

// The exit code. `number` tells this client from the others.
int run_client(unsigned number, const std::string& tcti, unsigned rounds);

}  // namespace tpmspace::demo
