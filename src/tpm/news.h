// What happens while a TPM is being opened and a person would want to know: for a log.
//
// Threads: `waiting` may be called from a thread of its own while the open goes on; it is over when the open is.
// Errors: none; whoever is not interested leaves a function empty.
#pragma once

#include <functional>
#include <string>

namespace tpmspace::tpm {

struct News {
  // Somebody who does not answer is waited for; a sentence without its end.
  std::function<void(const std::string& sentence)> waiting;
  // There was no TPM before, and now there is.
  std::function<void(const std::string& sentence)> made;
};

}  // namespace tpmspace::tpm
