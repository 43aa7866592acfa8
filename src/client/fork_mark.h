// Whether this process is the one that made something, or was forked from it.
//
// Idea: a page of memory that the kernel empties in a child (MADV_WIPEONFORK, Linux 4.14). A process id would not do: a
// child may get that of an ancestor which has ended. Where the kernel has no such page, or there is no memory for one,
// the process id has to do.
// Threads: as the thing that it marks. Errors: none.
#pragma once

#include <sys/types.h>

namespace tpmspace::client {

class ForkMark {
 public:
  // This process is the one.
  ForkMark();
  ~ForkMark();
  ForkMark(const ForkMark&) = delete;
  ForkMark& operator=(const ForkMark&) = delete;

  // True: this process was forked after the mark was set.
  [[nodiscard]] bool is_forked() const;
  // From now on this process is the one.
  void set();

 private:
  volatile unsigned char* page_ = nullptr;  // null: there is none
  pid_t pid_ = 0;
};

}  // namespace tpmspace::client
