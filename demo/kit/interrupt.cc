#include "demo/kit/interrupt.h"

#include <csignal>

namespace tpmspace::demo {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

}  // namespace

void notice_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_interrupted = 1; };  // without SA_RESTART: poll returns
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() {
  return g_interrupted != 0;
}

}  // namespace tpmspace::demo
