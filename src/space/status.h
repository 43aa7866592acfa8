// The result of a step of the manager: success, a response code, or a result that no TPM has a code for.
// Threads: a value. Source: Part 2, 6.6 (TPM_RC).
#pragma once

#include <cstdint>

#include "wire/rc.h"

namespace tpmspace::space {

class Status {
 public:
  // A response code without a layer; SUCCESS by default.
  Status(wire::Rc code = wire::rc::kSuccess) : code_(code) {}  // NOLINT(google-explicit-constructor)
  // The books were corrected meanwhile, so results from the books are void: the caller begins again.
  [[nodiscard]] static Status start_over() { return Status(Kind::kStartOver); }
  // A rebuilt policy differs from the policy before.
  [[nodiscard]] static Status not_the_same() { return Status(Kind::kNotTheSame); }

  [[nodiscard]] bool ok() const { return kind_ == Kind::kCode && code_ == wire::rc::kSuccess; }
  [[nodiscard]] bool starts_over() const { return kind_ == Kind::kStartOver; }
  [[nodiscard]] bool is_not_the_same() const { return kind_ == Kind::kNotTheSame; }
  // FAILURE for a result without a code.
  [[nodiscard]] wire::Rc code() const { return code_; }
  [[nodiscard]] bool is(wire::Rc code) const { return kind_ == Kind::kCode && code_ == code; }

 private:
  enum class Kind : std::uint8_t { kCode, kStartOver, kNotTheSame };
  explicit Status(Kind kind) : kind_(kind), code_(wire::rc::kFailure) {}

  Kind kind_ = Kind::kCode;
  wire::Rc code_;
};

}  // namespace tpmspace::space
