// A TPM in another process: swtpm, on Unix or TCP sockets.
//
// Idea: two connections. On the data channel commands and responses as they are; on the control channel what a chip's
// bus would carry: power (INIT), locality, cancel. An swtpm that was not started with `--flags not-need-init` answers
// nothing before an INIT; one that runs already is not given one, because it would be a reset.
// swtpm (0.7) serves both channels from one thread, so a cancel that arrives while a command runs is read when that
// command has ended and comes too late. It is sent all the same (others may do better), nobody waits for its answer,
// and the next command waits until it has been answered, so it never hits a later command.
// Threads: as backend.h.
// Sizes: control messages are a 4-octet command code and a few octets; results are 4 octets, big-endian, 0 for success.
// Errors: kNotPossible for a locality that swtpm refuses (above 4, or 4 under reject-locality-4). kGone when a channel
// has closed; a control channel that does not answer an idle swtpm's question within 10 s counts as closed; after 1 s
// `News` is told. `open` fails soon after `given_up`, from any thread.
// Source: the manual pages swtpm(8) and swtpm_ioctls(3); the numbers are those of swtpm's tpm_ioctl.h.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <tl/expected.hpp>

#include "tpm/backend.h"
#include "tpm/news.h"
#include "tpm/spec.h"
#include "tpm/stream.h"

namespace tpmspace::tpm {

class SwtpmControl;

class SwtpmTpm final : public BackEnd {
 public:
  [[nodiscard]] static tl::expected<std::unique_ptr<SwtpmTpm>, std::string> open(const SwtpmUnixSpec& spec,
                                                                                 const News& news = {},
                                                                                 const std::stop_token& given_up = {});
  [[nodiscard]] static tl::expected<std::unique_ptr<SwtpmTpm>, std::string> open(const SwtpmTcpSpec& spec,
                                                                                 const News& news = {},
                                                                                 const std::stop_token& given_up = {});
  ~SwtpmTpm() override;

  Answer transact(wire::ByteView command, std::uint8_t locality) override;
  void cancel() override;
  void hang_up() override;

  // Power off and on by INIT: the next command must be a Startup. For the transacting thread.
  [[nodiscard]] tl::expected<void, std::string> power_cycle();

 private:
  SwtpmTpm(std::unique_ptr<Stream> data, std::unique_ptr<SwtpmControl> control);
  // `control_place`: where its control channel is, for sentences.
  [[nodiscard]] static tl::expected<std::unique_ptr<SwtpmTpm>, std::string> connected(base::Fd data, base::Fd control,
                                                                                      const std::string& name,
                                                                                      const std::string& control_place,
                                                                                      const News& news,
                                                                                      const std::stop_token& given_up);
  [[nodiscard]] tl::expected<void, Error> take_locality(std::uint8_t locality);

  const std::unique_ptr<Stream> data_;
  const std::unique_ptr<SwtpmControl> control_;
  std::optional<std::uint8_t> locality_;  // what swtpm was last told; nullopt: nothing yet

  std::mutex mutex_;
  bool running_ = false;  // guarded by mutex_: a command is on the data channel
};

}  // namespace tpmspace::tpm
