// Events while a TPM is being opened, for a log.
//
// Threads: `waiting` may be called from another thread during the open; no call comes after the open.
// Errors: none; an empty function is not called.
#pragma once

#include <functional>
#include <string>

namespace tpmspace::tpm {

struct News {
  // The open waits for a process that does not answer; a sentence without its end.
  std::function<void(const std::string& sentence)> waiting;
  // A new TPM was made, because none existed.
  std::function<void(const std::string& sentence)> made;
};

}  // namespace tpmspace::tpm
