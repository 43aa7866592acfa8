// space::decode is total, a decoded image re-encodes to the same bytes, and check never fails on a damaged image.

#include "books/books.h"

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  const wire::ByteView image(data, size);
  const auto books = space::decode(image);
  if (!books) return 0;
  fuzz::require(wire::same_bytes(space::encode(*books), image), "what decodes re-encodes identically");
  const space::Chip chip;
  (void)space::check(*books, chip);
  (void)space::loaded_sessions(*books);
  return 0;
}
