// A TPM: a command's bytes in, a response's bytes out.
//
// Idea: the smallest interface that everything below can be (embedded libtpms, a device, swtpm) and everything above
// can be tested against (a model, a replay, a decorator that delays, counts or injects faults). Threads: `transact`
// belongs to one thread, the one that owns this TPM. `cancel` alone may be called from any thread while `transact`
// runs; it asks the chip to give up the command in flight and returns at once; the command then ends by itself with
// CANCELED or, if it was too late, normally. A back end that cannot cancel does nothing. Sizes: a command
// is 10..max_command octets as the header says; a response is returned as received and is *not* trusted: check it with
// wire::Response before using it. Errors: a TPM that answers with a response code is no error here. An `Error` means
// there was no answer at all.
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
      kGone,         // the back end is closed or broken: no command will be answered any more
      kNoAnswer,     // this command was given up on (deadline); the TPM may still be busy with it
      kNotPossible,  // the back end cannot do what was asked (a locality it cannot take, say)
    };
    Kind kind = Kind::kGone;
    std::string what;  // a sentence for the log: what happened, why
  };
  using Answer = tl::expected<Bytes, Error>;

  Tpm() = default;
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;
  virtual ~Tpm() = default;

  // `locality`: 0..4, or 32..255 (extended). Blocks until the response is there.
  virtual Answer transact(ByteView command, std::uint8_t locality) = 0;
  virtual void cancel() {}
};

}  // namespace tpmspace::wire
