// Programs may be started with standard input, output or error closed. Then the next descriptor that is opened gets
// that number, and what is meant for nobody goes into a socket or a pipe. So the first thing a program does is to open
// them. Threads: before there are any. Errors: none; without /dev/null nothing can be done.
#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace tpmspace::base {

inline void open_standard_streams() {
  for (int fd = ::open("/dev/null", O_RDWR); fd >= 0; fd = ::open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;  // it was closed, and now it is not
    ::close(fd);
    return;
  }
}

}  // namespace tpmspace::base
