#include "tool/signals.h"

#include <unistd.h>

namespace tpmspace::tool {

Signals::Signals() {
  // If inherited as ignored, SIGCHLD would make the kernel reap the children unnoticed.
  (void)std::signal(SIGCHLD, SIG_DFL);
  sigset_t ours;
  sigemptyset(&ours);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD}) sigaddset(&ours, number);
  sigprocmask(SIG_BLOCK, &ours, &outer_);
  fd_ = base::Fd(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
}

Signals::~Signals() {
  sigprocmask(SIG_SETMASK, &outer_, nullptr);
}

std::optional<signalfd_siginfo> Signals::next() const {
  signalfd_siginfo info{};
  if (read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return info;
}

}  // namespace tpmspace::tool
