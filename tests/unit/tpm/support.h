// Shared by the tests of this room: commands to send, a scripted TPM, a clock that only moves when told, a directory
// that goes away.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tpm/backend.h"
#include "tpm/timer.h"
#include "wire/command.h"
#include "wire/response.h"

namespace tpmspace::tpm::test {

using wire::Bytes;
using wire::ByteView;
using Answer = wire::Tpm::Answer;
using ErrorKind = wire::Tpm::Error::Kind;
namespace cc = wire::cc;
namespace rc = wire::rc;

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tpmspace-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// --- commands ---

inline Bytes plain(wire::CommandCode code, ByteView rest = {}) {
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + rest.size());
  return wire::Writer().u16(wire::kTagNoSessions).u32(size).u32(code).raw(rest).take();
}
// One handle authorised by an empty password.
inline Bytes authorised(wire::CommandCode code, std::uint32_t handle, ByteView parameters = {}) {
  const auto size = static_cast<std::uint32_t>(wire::kHeaderSize + 4 + 4 + 9 + parameters.size());
  return wire::Writer()
      .u16(wire::kTagSessions)
      .u32(size)
      .u32(code)
      .u32(handle)
      .u32(9)
      .u32(wire::kPasswordSession)
      .u16(0)
      .u8(0)
      .u16(0)
      .raw(parameters)
      .take();
}
inline Bytes startup(std::uint16_t type = 0) {
  return plain(cc::kStartup, wire::Writer().u16(type).bytes());
}
inline Bytes shutdown(std::uint16_t type) {
  return plain(cc::kShutdown, wire::Writer().u16(type).bytes());
}
inline Bytes get_random(std::uint16_t bytes = 8) {
  return plain(cc::kGetRandom, wire::Writer().u16(bytes).bytes());
}
inline Bytes read_clock() {
  return plain(cc::kReadClock);
}
inline Bytes flush(std::uint32_t handle) {
  return plain(cc::kFlushContext, wire::Writer().u32(handle).bytes());
}
inline Bytes context_save(std::uint32_t handle) {
  return plain(cc::kContextSave, wire::Writer().u32(handle).bytes());
}
inline Bytes context_load(ByteView context) {
  return plain(cc::kContextLoad, context);
}
inline Bytes pcr_reset(std::uint32_t pcr) {
  return authorised(cc::kPCRReset, pcr);
}

inline Bytes rsa_template() {
  return wire::Writer()
      .u16(0x0001)      // RSA
      .u16(0x000B)      // nameAlg SHA-256
      .u32(0x00040072)  // sign, userWithAuth, sensitiveDataOrigin, fixedParent, fixedTPM
      .u16(0)           // authPolicy
      .u16(0x0010)      // symmetric NULL
      .u16(0x0010)      // scheme NULL
      .u16(2048)
      .u32(0)  // default exponent
      .u16(0)  // unique
      .take();
}
inline Bytes ecc_template() {
  return wire::Writer()
      .u16(0x0023)
      .u16(0x000B)
      .u32(0x00040072)
      .u16(0)
      .u16(0x0010)  // symmetric NULL
      .u16(0x0010)  // scheme NULL
      .u16(0x0003)  // NIST P-256
      .u16(0x0010)  // kdf NULL
      .u16(0)       // unique
      .u16(0)
      .take();
}
inline Bytes create_primary(ByteView public_area, std::uint32_t hierarchy = 0x40000007 /* NULL */) {
  const Bytes no_secret = wire::Writer().u16(0).u16(0).take();
  const Bytes parameters =
      wire::Writer().tpm2b(no_secret).tpm2b(public_area).u16(0 /* outsideInfo */).u32(0 /* creationPCR */).take();
  return authorised(cc::kCreatePrimary, hierarchy, parameters);
}
inline Bytes start_session(std::uint8_t type = 0 /* HMAC; 1: policy */, ByteView salt = {}) {
  const Bytes nonce(16, 0x5A);
  return plain(cc::kStartAuthSession, wire::Writer()
                                          .u32(0x40000007)
                                          .u32(0x40000007)
                                          .tpm2b(nonce)
                                          .tpm2b(salt)
                                          .u8(type)
                                          .u16(0x0010)  // symmetric NULL
                                          .u16(0x000B)  // SHA-256
                                          .bytes());
}

// --- responses ---

// ~0 for no answer and for one without a header.
inline wire::Rc code_of(const Answer& answer) {
  if (!answer) return ~0U;
  const auto header = wire::read_header(*answer);
  return header ? header->code : ~0U;
}
inline std::uint32_t handle_in(const Answer& answer) {
  if (!answer || answer->size() < 14) return 0;
  return wire::Reader(ByteView(*answer).subspan(10)).u32().value_or(0);
}
inline Bytes body_of(const Answer& answer) {
  if (!answer || answer->size() < wire::kHeaderSize) return {};
  return {answer->begin() + wire::kHeaderSize, answer->end()};
}

// --- doubles ---

// Answers with its function's result, and keeps the commands sent.
class ScriptedTpm final : public BackEnd {
 public:
  using Script = std::function<Answer(ByteView command)>;
  explicit ScriptedTpm(Script script) : script_(std::move(script)) {}

  Answer transact(ByteView command, std::uint8_t locality) override {
    sent.push_back(wire::to_bytes(command));
    localities.push_back(locality);
    return script_(command);
  }
  void cancel() override { ++cancels; }
  void hang_up() override { ++hang_ups; }

  std::vector<Bytes> sent;
  std::vector<std::uint8_t> localities;
  int cancels = 0, hang_ups = 0;

 private:
  Script script_;
};

inline ScriptedTpm::Script always(wire::Rc code) {
  return [code](ByteView) -> Answer { return wire::error_response(code); };
}

// Time stands still but for waits, which pass at once, and `advance`. Waits are kept, in microseconds.
class FakeTimer final : public Timer {
 public:
  [[nodiscard]] Time now() const override { return now_; }
  bool wait_until(Time when) override {
    if (woken_) return false;
    if (during_wait) during_wait();
    if (woken_) return false;
    waits.push_back(std::chrono::duration_cast<Duration>(when - now_).count());
    if (when > now_) now_ = when;
    return true;
  }
  void wake() override { woken_ = true; }
  void clear() override { woken_ = false; }
  void advance(Duration by) { now_ += by; }

  std::function<void()> during_wait;
  std::vector<std::int64_t> waits;

 private:
  Time now_{};
  bool woken_ = false;
};

}  // namespace tpmspace::tpm::test
