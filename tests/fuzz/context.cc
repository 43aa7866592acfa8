// space::read_context is total, and an accepted context is exactly one TPMS_CONTEXT of a known kind.

#include "books/context.h"

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  const wire::ByteView blob(data, size);
  const auto info = space::read_context(blob);
  if (!info) {
    fuzz::require(info.error() == 0x1DA || info.error() == 0x1C4 || info.error() == 0x095, "a code that libtpms gives");
    return 0;
  }
  const int kinds = (info->is_session() ? 1 : 0) + (info->is_object() ? 1 : 0) + (info->is_sequence() ? 1 : 0);
  fuzz::require(kinds == 1, "it is one thing");
  wire::Writer plain;
  plain.u64(info->sequence).u32(info->saved_handle).u32(info->hierarchy).tpm2b(blob.subspan(18));
  fuzz::require(wire::same_bytes(plain.bytes(), blob), "the plain fields are where they are said to be");
  fuzz::require(space::digest_of(blob) == space::digest_of(plain.bytes()), "equal bytes, equal digests");
  return 0;
}
