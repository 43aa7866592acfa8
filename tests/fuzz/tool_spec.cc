// tpm::parse_spec (behind --tpm) is total, and its own text parses into the same.

#include "fuzz.h"
#include "tpm/spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tpmspace;
  std::string text;
  for (const auto byte : std::span(data, size)) text.push_back(static_cast<char>(byte));
  const auto spec = tpm::parse_spec(text);
  if (!spec) {
    fuzz::require(!spec.error().empty(), "an error is a sentence");
    return 0;
  }
  const auto again = tpm::parse_spec(tpm::to_text(*spec));
  fuzz::require(again && *again == *spec, "its text parses into the same");
  (void)tpm::name_of(spec->kind());
  return 0;
}
