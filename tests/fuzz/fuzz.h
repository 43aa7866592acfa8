// Shared by all fuzzers: reading the input piece by piece, and stating invariants.
//
// Idea: an input that is used up goes on giving zeros, so every prefix of an interesting input is an input too.
// Threads: values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "wire/bytes.h"

namespace tpmspace::fuzz {

using wire::Bytes;
using wire::ByteView;

// Ends the program with a sentence: the fuzzer keeps the input.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not true: %s\n", what);
  std::abort();
}
inline void require(bool holds, const std::string& what) {
  require(holds, what.c_str());
}

// With TPMSPACE_FUZZ_TRACE in the environment: one line for each thing that happens, to read a finding by.
inline void trace(const char* what, ByteView data) {
  static const bool wanted = std::getenv("TPMSPACE_FUZZ_TRACE") != nullptr;
  if (!wanted) return;
  std::fprintf(stderr, "%s ", what);
  for (const auto byte : data) std::fprintf(stderr, "%02x", byte);
  std::fputc('\n', stderr);
}

class Input {
 public:
  explicit Input(ByteView data) : rest_(data) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  [[nodiscard]] ByteView rest() const { return rest_; }
  std::uint8_t u8() {
    const std::uint8_t out = rest_.empty() ? std::uint8_t{0} : rest_[0];
    rest_ = rest_.subspan(std::min<std::size_t>(1, rest_.size()));
    return out;
  }
  std::uint16_t u16() {
    const auto high = u8();
    return static_cast<std::uint16_t>(high << 8 | u8());
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return high << 16 | u16();
  }
  // At most n bytes.
  ByteView take(std::size_t n) {
    const auto out = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(out.size());
    return out;
  }
  // 0 <= result < n.
  std::size_t below(std::size_t n) { return u8() % n; }

 private:
  ByteView rest_;
};

}  // namespace tpmspace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
