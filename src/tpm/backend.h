// A `wire::Tpm` that can be hung up on: what every back end and decorator in this room is.
//
// Idea: `transact` blocks until the TPM answers, which a broken one never does. Whoever watches the deadlines needs one
// more thing than `cancel`, which only asks: a way to get the thread back.
// Threads: as wire::Tpm; `hang_up` may be called from any thread, at any time, more than once.
#pragma once

#include "wire/tpm.h"

namespace tpmspace::tpm {

class BackEnd : public wire::Tpm {
 public:
  // A `transact` in flight returns soon with kGone, and so does every later one. The TPM itself may go on with what it
  // was doing. The embedded TPM runs in the caller's thread and cannot be left behind: there it is a cancel.
  virtual void hang_up() = 0;
};

}  // namespace tpmspace::tpm
