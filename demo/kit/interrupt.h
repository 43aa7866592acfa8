// Being told to stop (^C, SIGTERM): noticed, and every wait of ours ends at once, so that the ordinary way out cleans
// up.
//
// Threads: for main programs; `notice_interrupts` once, before anything is started.
#pragma once

namespace tpmspace::demo {

// Also ignores SIGPIPE: `write` reports a closed reader.
void notice_interrupts();
[[nodiscard]] bool interrupted();

}  // namespace tpmspace::demo
