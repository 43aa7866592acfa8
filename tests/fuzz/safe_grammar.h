// Well-formed parameters of TPM commands, at random: what a correct client could send, and a little beside it.
//
// Idea: each command has a line of letters, one for each parameter; a letter stands for a type of the specification,
// and `append` writes a value of that type. Values are mostly such as TPMs know (algorithms, curves, sizes), now and
// then any number. What only the TPM makes (blobs, contexts, tickets) comes from a `Pool` that is filled from its
// responses. Threads: values. Source: TPM 2.0 library, Part 3 (parameters), Part 2 (types).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <random>
#include <string_view>
#include <vector>

#include "wire/bytes.h"
#include "wire/command_table.h"

namespace tpmspace::fuzz {

using wire::Bytes;
using wire::ByteView;

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t any() { return engine_(); }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(engine_() % n); }
  bool one_in(unsigned n) { return below(n) == 0; }
  template <typename Range>
  auto pick(const Range& range) {
    return range[below(std::size(range))];
  }
  Bytes bytes(std::size_t n);

 private:
  std::mt19937_64 engine_;
};

// Results of the TPM. Each list keeps the newest kMost.
struct Pool {
  static constexpr std::size_t kMost = 24;

  std::deque<Bytes> blobs;     // TPM2B_PRIVATE and TPM2B_PUBLIC
  std::deque<Bytes> publics;   // TPM2B_PUBLIC
  std::deque<Bytes> contexts;  // TPMS_CONTEXT
  std::deque<Bytes> names;     // TPM2B_NAME
  std::deque<Bytes> pieces;    // TPM2Bs of any kind: signatures' digests, ciphertexts, points, seeds
  std::deque<Bytes> tails;     // the end of a response: tickets, signatures

  static void keep(std::deque<Bytes>& list, Bytes one);
  void learn(wire::CommandCode code, ByteView parameters);
};

// The letters of a command; nullptr: no letters are known, so it is not sent.
[[nodiscard]] const char* letters_of(wire::CommandCode code);
[[nodiscard]] Bytes parameters(std::string_view letters, Dice& dice, const Pool& pool,
                               const std::vector<std::uint32_t>& handles);

}  // namespace tpmspace::fuzz
