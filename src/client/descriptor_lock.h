// One process at a time uses a socket that several processes have.
//
// Idea: a POSIX record lock on the socket itself. It belongs to a process: a child has the descriptor, but not the
// lock, and the kernel gives it back when the process ends. (flock and OFD locks belong to the descriptor, so that they
// would keep nobody out who inherited it.) Who had the lock last is written where all processes see it: as the owner of
// the socket (F_SETOWN), which means nothing else while nobody asks for signals. The kernel also gives the lock back
// when the process closes any descriptor of the socket. Two users in one process are not kept apart. Threads: functions
// of the kernel. Errors: false where the lock is another process's; a socket that cannot be locked counts as free.
// Source: fcntl(2), "Traditional (process-associated) UNIX record locking".
#pragma once

#include <sys/types.h>

namespace tpmspace::client {

// False: another process has it.
[[nodiscard]] bool lock_descriptor(int fd);
void unlock_descriptor(int fd);
// Who has it; 0: nobody else, or a process that this one cannot see.
[[nodiscard]] pid_t lock_holder(int fd);

// Whether this process was the last that called `mark_as_last_user`.
[[nodiscard]] bool was_last_user(int fd);
void mark_as_last_user(int fd);

}  // namespace tpmspace::client
