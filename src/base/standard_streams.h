// Programs may be started with standard input, output or error closed. Then the next opened descriptor gets the number
// of a standard stream, and output for the stream goes into a socket or a pipe. So a program first opens the standard
// streams.
// Threads: before any thread exists. Errors: none; without /dev/null no remedy exists.
#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace tpmspace::base {

inline void open_standard_streams() {
  for (int fd = ::open("/dev/null", O_RDWR); fd >= 0; fd = ::open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;  // the stream was closed, and is open now
    ::close(fd);
    return;
  }
}

}  // namespace tpmspace::base
