// A TPM: a command's bytes in, a response's bytes out.
//
// Idea: the smallest interface for all back ends (embedded libtpms, a device, swtpm) and for all test doubles (a model,
// a replay, a decorator that delays, counts or injects faults).
// Threads: only the thread that owns the TPM calls `transact`. Any thread may call `cancel` while `transact` runs:
// `cancel` asks the chip to give up the command in flight and returns at once. The command then ends with CANCELED or,
// if the cancel was too late, normally. A back end that cannot cancel does nothing.
// Limits: a command is 10..max_command bytes, as its header says. A response is returned as received and is *not*
// trusted: check the response with wire::Response before use.
// Errors: a response code from the TPM is not an error here. An `Error` means that no response came.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "wire/bytes.h"

namespace tpmspace::wire {

class Tpm {
 public:
  struct Error {
    enum class Kind : std::uint8_t {
      kGone,         // the back end is closed or broken: no later command is answered
      kNoAnswer,     // the command was given up (deadline); the TPM may still be busy with it
      kNotPossible,  // the back end cannot do the request (for example, a locality)
    };
    Kind kind = Kind::kGone;
    std::string what;  // a sentence for the log: what happened, why
  };
  using Answer = tl::expected<Bytes, Error>;

  Tpm() = default;
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;
  virtual ~Tpm() = default;

  // `locality`: 0..4, or 32..255 (extended). Blocks until the response arrives.
  virtual Answer transact(ByteView command, std::uint8_t locality) = 0;
  virtual void cancel() {}
};

}  // namespace tpmspace::wire
