// A TPM in another process: swtpm, on Unix or TCP sockets.
//
// Idea: two connections. The data channel carries commands and responses; the control channel carries the signals of a
// chip's bus: power (INIT), locality, cancel. An swtpm that was started without `--flags not-need-init` answers nothing
// before an INIT; a running swtpm gets no INIT, because an INIT would be a reset.
// swtpm (0.7) serves both channels from one thread, so a cancel during a command is read after the command's end, too
// late. The cancel is sent all the same (other versions may be better); the caller does not wait for its answer, and
// the next command waits for that answer, so a cancel never hits a later command.
// Threads: as backend.h.
// Limits: control messages are a 4-byte command code and a few bytes; results are 4 bytes, big-endian, 0 for success.
// Errors: kNotPossible for a locality that swtpm refuses (above 4, or 4 under reject-locality-4). kGone after a channel
// has closed; if an idle swtpm does not answer on the control channel within 10 s, the channel counts as closed; after
// 1 s `News` is told. `open` fails soon after `given_up`, from any thread.
// Source: the manual pages swtpm(8) and swtpm_ioctls(3); the numbers are from swtpm's tpm_ioctl.h.
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
  // `control_place`: the place of the control channel, for sentences.
  [[nodiscard]] static tl::expected<std::unique_ptr<SwtpmTpm>, std::string> connected(base::Fd data, base::Fd control,
                                                                                      const std::string& name,
                                                                                      const std::string& control_place,
                                                                                      const News& news,
                                                                                      const std::stop_token& given_up);
  [[nodiscard]] tl::expected<void, Error> take_locality(std::uint8_t locality);

  const std::unique_ptr<Stream> data_;
  const std::unique_ptr<SwtpmControl> control_;
  std::optional<std::uint8_t> locality_;  // the locality last sent to swtpm; nullopt: none yet

  std::mutex mutex_;
  bool running_ = false;  // guarded by mutex_: a command is on the data channel
};

}  // namespace tpmspace::tpm
