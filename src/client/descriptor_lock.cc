#include "client/descriptor_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace tpmspace::client {
namespace {

// The whole file: length 0 means "to the end".
struct flock whole(short type) {
  struct flock out {};
  out.l_type = type;
  out.l_whence = SEEK_SET;
  return out;
}

}  // namespace

bool lock_descriptor(int fd) {
  struct flock lock = whole(F_WRLCK);
  return fcntl(fd, F_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

void unlock_descriptor(int fd) {
  struct flock lock = whole(F_UNLCK);
  (void)fcntl(fd, F_SETLK, &lock);
}

pid_t lock_holder(int fd) {
  struct flock lock = whole(F_WRLCK);
  return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

bool was_last_user(int fd) {
  return fcntl(fd, F_GETOWN) == getpid();
}

void mark_as_last_user(int fd) {
  (void)fcntl(fd, F_SETOWN, getpid());
}

}  // namespace tpmspace::client
