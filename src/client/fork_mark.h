// A mark that tells whether this process set the mark or was forked afterwards.
//
// Idea: a page of memory that the kernel clears in a child (MADV_WIPEONFORK, Linux 4.14). A process id is not enough: a
// child may get the id of an ancestor that has ended. If the kernel lacks such pages, or memory is exhausted, the
// process id must serve.
// Threads: as the marked object. Errors: none.
#pragma once

#include <sys/types.h>

namespace tpmspace::client {

class ForkMark {
 public:
  // Sets the mark for this process.
  ForkMark();
  ~ForkMark();
  ForkMark(const ForkMark&) = delete;
  ForkMark& operator=(const ForkMark&) = delete;

  // True: this process was forked after the mark was set.
  [[nodiscard]] bool is_forked() const;
  // Sets the mark for this process again.
  void set();

 private:
  volatile unsigned char* page_ = nullptr;  // null: no page
  pid_t pid_ = 0;
};

}  // namespace tpmspace::client
