// A `wire::Tpm` that can be hung up: the base of every back end and decorator in this room.
//
// Idea: `transact` blocks until the TPM answers, and a broken TPM never answers. `cancel` is only a request, so the
// watchdog of deadlines also needs a way to get the thread back.
// Threads: as wire::Tpm; `hang_up` may be called from any thread, at any time, more than once.
#pragma once

#include "wire/tpm.h"

namespace tpmspace::tpm {

class BackEnd : public wire::Tpm {
 public:
  // A `transact` in flight returns soon with kGone, as does every later call. The TPM itself may continue its work. The
  // embedded TPM runs in the caller's thread, which cannot be freed: there `hang_up` is a cancel.
  virtual void hang_up() = 0;
};

}  // namespace tpmspace::tpm
