#include "allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<std::size_t> calls = 0;
}  // namespace

void* operator new(std::size_t size) {
  ++calls;
  if (void* out = std::malloc(size)) return out;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace tpmspace::guard {

std::size_t allocations() {
  return calls;
}

}  // namespace tpmspace::guard
