// A TPM behind a character device, or behind a descriptor that behaves like a device.
//
// Idea: the kernel's driver takes a command in one write and gives the response in one read. The descriptor is
// non-blocking (O_NONBLOCK): the driver then works in the background and poll reports the response, so a chip that
// never answers can be hung up. Drivers before Linux 5.0 work inside write; there `hang_up` and close wait for the
// driver's own time limit.
// Threads: as backend.h. `cancel` does nothing: Linux cannot cancel a TPM 2.0 command.
// Errors: kNotPossible for any locality but 0, the kernel's locality.
#pragma once

#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "base/fd.h"
#include "tpm/backend.h"
#include "tpm/stream.h"

namespace tpmspace::tpm {

class DeviceTpm final : public BackEnd {
 public:
  [[nodiscard]] static tl::expected<std::unique_ptr<DeviceTpm>, std::string> open(const std::string& path);
  // Takes over an open descriptor.
  [[nodiscard]] static tl::expected<std::unique_ptr<DeviceTpm>, std::string> adopt(base::Fd fd, std::string name);

  Answer transact(wire::ByteView command, std::uint8_t locality) override;
  void hang_up() override { stream_->hang_up(); }

 private:
  explicit DeviceTpm(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  const std::unique_ptr<Stream> stream_;
};

}  // namespace tpmspace::tpm
