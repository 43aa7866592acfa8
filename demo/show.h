// The demonstration of `./dev run`: the same clients on a bare TPM and on tpmspace, side by side.
//
// Threads: one; starts the daemon, the helper and the clients, and ends them all before it returns.
#pragma once

namespace tpmspace::demo {

// The exit code: 0 if on tpmspace nothing failed while the bare TPM did not get its clients through.
int show();

}  // namespace tpmspace::demo
