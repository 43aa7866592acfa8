#include "tpm/swtpm.h"

#include <fmt/core.h>

#include <chrono>
#include <functional>

#include "tpm/connect.h"
#include "tpm/overdue.h"

namespace tpmspace::tpm {
namespace {

using Error = wire::Tpm::Error;
using wire::Bytes;
using wire::ByteView;

constexpr std::chrono::milliseconds kControlLimit{10'000};
// An idle swtpm answers at once.
constexpr std::chrono::milliseconds kSilence{1'000};

std::function<void()> tells_waiting(const News& news, const char* channel, const std::string& place) {
  if (!news.waiting) return {};
  return [&news, sentence = fmt::format("waiting for swtpm's {} channel at {}", channel, place)] {
    news.waiting(sentence);
  };
}

tl::expected<base::Fd, std::string> reach(const std::string& path, const char* channel, const News& news,
                                          const std::stop_token& given_up) {
  const Overdue overdue(kSilence, tells_waiting(news, channel, path));
  auto fd = connect_unix(path, given_up);
  if (fd) return fd;
  return tl::unexpected(fmt::format(
      "cannot reach swtpm's {} channel at {}: {}. Start it with 'swtpm socket --tpm2 --tpmstate dir=DIR --server "
      "type=unixio,path=SOCKET --ctrl type=unixio,path=SOCKET.ctrl'",
      channel, path, fd.error()));
}

std::string tcp_place(const std::string& host, std::uint16_t port) {
  return fmt::format("{} port {}", host, port);
}

tl::expected<base::Fd, std::string> reach(const std::string& host, std::uint16_t port, const char* channel,
                                          const News& news, const std::stop_token& given_up) {
  const Overdue overdue(kSilence, tells_waiting(news, channel, tcp_place(host, port)));
  auto fd = connect_tcp(host, port, given_up);
  if (fd) return fd;
  return tl::unexpected(
      fmt::format("cannot reach swtpm's {} channel at {}: {}. Start it with 'swtpm socket --tpm2 --tpmstate dir=DIR "
                  "--server type=tcp,port=PORT --ctrl type=tcp,port=PORT+1'",
                  channel, tcp_place(host, port), fd.error()));
}

}  // namespace

// The control channel. `ask` belongs to the transacting thread. `cancel` is for any thread and never waits; `settle`
// reads its answer, before the next `ask` and the next command.
class SwtpmControl {
 public:
  explicit SwtpmControl(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  // The 4-byte result, 0 for success, of a command with `body`.
  tl::expected<std::uint32_t, Error> ask(std::uint32_t command, ByteView body) {
    const std::lock_guard lock(mutex_);
    wire::Writer request;
    request.u32(command).raw(body);
    if (auto sent = stream_->send(request.bytes()); !sent) return tl::unexpected(sent.error());
    return read_u32();
  }
  // The data after a result of 0.
  tl::expected<std::uint32_t, Error> read_u32() {
    const auto data = stream_->receive(4, kControlLimit);
    if (!data) return tl::unexpected(data.error());
    return wire::Reader(*data).u32().value_or(~0U);
  }

  tl::expected<void, Error> settle() {
    const std::lock_guard lock(mutex_);
    if (!owed_) return {};
    owed_ = false;
    // Whether swtpm could cancel does not matter here: the command's own response shows the outcome.
    if (auto answer = read_u32(); !answer) return tl::unexpected(answer.error());
    return {};
  }

  void cancel() {
    const std::lock_guard lock(mutex_);
    // One unanswered cancel is enough, and keeps the outstanding answers (and the socket's buffer) bounded.
    if (owed_) return;
    wire::Writer request;
    request.u32(kCancel);
    owed_ = stream_->send(request.bytes()).has_value();
  }

  void hang_up() { stream_->hang_up(); }

  static constexpr std::uint32_t kGetCapability = 1, kInit = 2, kGetEstablished = 4, kSetLocality = 5, kCancel = 9;

 private:
  const std::unique_ptr<Stream> stream_;
  std::mutex mutex_;
  bool owed_ = false;  // guarded by mutex_: a cancel was sent and its answer was not read
};

namespace {

// Checks that the control channel answers, and that the TPM behind has power.
tl::expected<void, std::string> make_ready(SwtpmControl& control, const std::string& name) {
  const auto failed = [&name](const std::string& why) {
    return tl::unexpected(fmt::format("{} did not come up: {}", name, why));
  };
  // Two words: a result and the capability flags (older versions: one 64-bit word that looks the same).
  auto known = control.ask(SwtpmControl::kGetCapability, {});
  if (known && *known == 0) known = control.read_u32();
  if (!known) return failed(known.error().what + "; perhaps another program is connected to its control channel");

  // The cheapest question to a running TPM.
  auto running = control.ask(SwtpmControl::kGetEstablished, {});
  if (!running) return failed(running.error().what);
  if (*running == 0) {
    if (auto bit = control.read_u32(); !bit) return failed(bit.error().what);
    return {};
  }
  const auto on = control.ask(SwtpmControl::kInit, wire::Writer().u32(0).bytes());
  if (!on) return failed(on.error().what);
  if (*on != 0) return failed(fmt::format("it answered {:#x} to INIT; its own log says why", *on));
  return {};
}

}  // namespace

SwtpmTpm::SwtpmTpm(std::unique_ptr<Stream> data, std::unique_ptr<SwtpmControl> control)
    : data_(std::move(data)), control_(std::move(control)) {}

SwtpmTpm::~SwtpmTpm() = default;

tl::expected<std::unique_ptr<SwtpmTpm>, std::string> SwtpmTpm::connected(base::Fd data_fd, base::Fd control_fd,
                                                                         const std::string& name,
                                                                         const std::string& control_place,
                                                                         const News& news,
                                                                         const std::stop_token& given_up) {
  auto data = Stream::open(std::move(data_fd), name);
  if (!data) return tl::unexpected(data.error());
  auto control_stream = Stream::open(std::move(control_fd), fmt::format("the control channel of {}", name));
  if (!control_stream) return tl::unexpected(control_stream.error());
  auto control = std::make_unique<SwtpmControl>(std::move(*control_stream));
  const Overdue overdue(kSilence, tells_waiting(news, "control", control_place));
  const auto ready = [&] {
    const std::stop_callback when_given_up(given_up, [it = control.get()] { it->hang_up(); });
    return make_ready(*control, name);
  }();
  if (!ready) return tl::unexpected(ready.error());
  return std::unique_ptr<SwtpmTpm>(new SwtpmTpm(std::move(*data), std::move(control)));
}

tl::expected<std::unique_ptr<SwtpmTpm>, std::string> SwtpmTpm::open(const SwtpmUnixSpec& spec, const News& news,
                                                                    const std::stop_token& given_up) {
  auto data = reach(spec.path, "data", news, given_up);
  if (!data) return tl::unexpected(data.error());
  auto control = reach(spec.control, "control", news, given_up);
  if (!control) return tl::unexpected(control.error());
  return connected(std::move(*data), std::move(*control), fmt::format("swtpm at {}", spec.path), spec.control, news,
                   given_up);
}

tl::expected<std::unique_ptr<SwtpmTpm>, std::string> SwtpmTpm::open(const SwtpmTcpSpec& spec, const News& news,
                                                                    const std::stop_token& given_up) {
  auto data = reach(spec.host, spec.port, "data", news, given_up);
  if (!data) return tl::unexpected(data.error());
  auto control = reach(spec.host, spec.control_port, "control", news, given_up);
  if (!control) return tl::unexpected(control.error());
  return connected(std::move(*data), std::move(*control), fmt::format("swtpm at {}", tcp_place(spec.host, spec.port)),
                   tcp_place(spec.host, spec.control_port), news, given_up);
}

wire::Tpm::Answer SwtpmTpm::transact(ByteView command, std::uint8_t locality) {
  if (auto settled = control_->settle(); !settled) return tl::unexpected(settled.error());
  if (auto taken = take_locality(locality); !taken) return tl::unexpected(taken.error());
  if (auto sent = data_->send_command(command); !sent) return tl::unexpected(sent.error());
  {
    // Only now: a cancel that arrives before its command would be lost.
    const std::lock_guard lock(mutex_);
    running_ = true;
  }
  Answer answer = data_->receive_response();
  const std::lock_guard lock(mutex_);
  running_ = false;
  return answer;
}

tl::expected<void, Error> SwtpmTpm::take_locality(std::uint8_t locality) {
  if (locality_ == locality) return {};
  const auto result = control_->ask(SwtpmControl::kSetLocality, wire::Writer().u8(locality).bytes());
  if (!result) return tl::unexpected(result.error());
  if (*result != 0)
    return tl::unexpected(Error{Error::Kind::kNotPossible, fmt::format("{} refuses locality {}: it answered {:#x}",
                                                                       data_->name(), locality, *result)});
  locality_ = locality;
  return {};
}

void SwtpmTpm::cancel() {
  const std::lock_guard lock(mutex_);
  if (running_) control_->cancel();
}

void SwtpmTpm::hang_up() {
  data_->hang_up();
  control_->hang_up();
}

tl::expected<void, std::string> SwtpmTpm::power_cycle() {
  locality_.reset();
  if (auto settled = control_->settle(); !settled) return tl::unexpected(settled.error().what);
  const auto result = control_->ask(SwtpmControl::kInit, wire::Writer().u32(0).bytes());
  if (!result) return tl::unexpected(result.error().what);
  if (*result != 0) return tl::unexpected(fmt::format("{} answered {:#x} to INIT", data_->name(), *result));
  return {};
}

}  // namespace tpmspace::tpm
