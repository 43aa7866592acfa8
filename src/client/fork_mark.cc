#include "client/fork_mark.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace tpmspace::client {
namespace {

constexpr std::size_t kSize = 1;  // the kernel rounds up to a page

}  // namespace

ForkMark::ForkMark() {
  void* const page = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED) {
    if (madvise(page, kSize, MADV_WIPEONFORK) == 0)
      page_ = static_cast<unsigned char*>(page);
    else
      munmap(page, kSize);
  }
  set();
}

ForkMark::~ForkMark() {
  if (page_ != nullptr) munmap(const_cast<unsigned char*>(page_), kSize);  // NOLINT: no longer volatile
}

bool ForkMark::is_forked() const {
  return page_ != nullptr ? *page_ == 0 : pid_ != getpid();
}

void ForkMark::set() {
  if (page_ != nullptr) *page_ = 1;
  pid_ = getpid();
}

}  // namespace tpmspace::client
