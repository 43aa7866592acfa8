// Damages well-formed commands, the same way every time: a mutation is a function of the seed's number.
//
// Idea: each kind of damage aims at one thing that the parser judges (tag, sizes, handles, authorizations) or at none
// of them (parameters); sometimes two are put together. Header and authorization sizes are mostly made right again
// afterwards, so that damage further in is reached.
// Threads: a value.
#pragma once

#include <cstdint>
#include <vector>

#include "wire/bytes.h"
#include "wire/command_table.h"

namespace tpmspace::differential {

using wire::Bytes;
using wire::ByteView;

// splitmix64: small, and the same on every platform.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  [[nodiscard]] std::uint64_t next();
  // 0 <= result < n.
  [[nodiscard]] std::uint64_t below(std::uint64_t n) { return next() % n; }
  [[nodiscard]] bool one_in(std::uint64_t n) { return below(n) == 0; }
  template <typename List>
  [[nodiscard]] auto pick(const List& list) {
    return list[static_cast<std::size_t>(below(std::size(list)))];
  }

 private:
  std::uint64_t state_;
};

class Mutator {
 public:
  // `handles`: the replacements of a swapped handle.
  Mutator(const wire::CommandTable& table, std::vector<std::uint32_t> handles);

  // The mutation with that number of a well-formed command.
  [[nodiscard]] Bytes mutate(ByteView command, std::uint64_t number);

 private:
  enum class Damage : std::uint8_t {
    kBits,
    kByte,
    kTruncate,
    kExtend,
    kSizeField,
    kTag,
    kHeaderSize,
    kHuge,
    kHandle,
    kCode,
    kAuthorizations,
    kAuthorizationSize,
    kNoAuthorizations,
  };

  void damage(Damage kind, Bytes& command);
  void damage_size_field(Bytes& command);
  void damage_header_size(Bytes& command);
  void make_huge(Bytes& command);
  void swap_handle(Bytes& command);
  void change_code(Bytes& command);
  void replace_authorizations(Bytes& command);
  void damage_authorization_size(Bytes& command);
  void remove_authorizations(Bytes& command);
  [[nodiscard]] Bytes authorization();
  [[nodiscard]] std::uint32_t session_handle();

  const wire::CommandTable& table_;
  std::vector<std::uint32_t> handles_;
  Random random_{0};
  bool keep_sizes_ = false;  // the damage is to a size: it must stay
};

}  // namespace tpmspace::differential
