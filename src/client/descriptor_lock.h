// A lock that lets one process at a time use a shared socket.
//
// Idea: a POSIX record lock on the socket itself. The lock belongs to a process: a child has the descriptor but not the
// lock, and the kernel releases the lock when the process ends. (flock and OFD locks belong to the descriptor, so a
// process that inherited the descriptor would have the lock as well.) The last user is recorded where all processes see
// it: as the owner of the socket (F_SETOWN), which has no other effect while no process requests signals. The kernel
// also releases the lock when the process closes any descriptor of the socket. Two users in one process are not kept
// apart.
// Threads: functions of the kernel. Errors: false if another process has the lock; a socket that cannot be locked
// counts as free.
// Source: fcntl(2), "Traditional (process-associated) UNIX record locking".
#pragma once

#include <sys/types.h>

namespace tpmspace::client {

// False: another process has the lock.
[[nodiscard]] bool lock_descriptor(int fd);
void unlock_descriptor(int fd);
// The process with the lock; 0: no other process, or a process outside this pid namespace.
[[nodiscard]] pid_t lock_holder(int fd);

// Whether this process made the last call of `mark_as_last_user`.
[[nodiscard]] bool was_last_user(int fd);
void mark_as_last_user(int fd);

}  // namespace tpmspace::client
