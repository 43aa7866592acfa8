// A whole TPM in this process: libtpms.
//
// Idea: libtpms is one global machine with callbacks; only this class uses libtpms, and a process has at most one
// object of the class. The TPM runs in the caller's thread.
// State: permanent state (seeds, NV, persistent objects, the clock) is kept in memory, or in a directory: created with
// mode 0700 if the parent exists, locked while in use, each write atomic (a new file, fsync, rename). Transient state
// ends with the object, as on a chip that loses power. On destruction the TPM gets Shutdown(CLEAR), unless the last
// command was a Shutdown, because a TPM counts a disorderly stop against the dictionary-attack limit.
// Threads: as wire::Tpm: one thread transacts; `cancel` is for any thread and never affects a later command.
// Limits: commands and responses up to 4096 bytes.
// Errors: `open` gives sentences; kNotPossible for a locality of 5..31, which libtpms would treat as 0. If state cannot
// be written, the TPM goes into failure mode (response code 0x101), and `storage_error` gives the reason. After any
// other failure mode the TPM is switched off and on: the failing command is answered 0x101, and the next command must
// be a Startup. A 0x101 outside of failure mode is an ordinary response.
// Source: the manual pages TPMLIB_RegisterCallbacks(3), TPMLIB_MainInit(3), TPMLIB_Process(3).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <tl/expected.hpp>

#include "tpm/backend.h"
#include "tpm/news.h"
#include "tpm/state_store.h"

namespace tpmspace::tpm {

class EmbeddedTpm final : public BackEnd {
 public:
  // An empty `directory`: memory only. The TPM is powered on and needs a Startup.
  [[nodiscard]] static tl::expected<std::unique_ptr<EmbeddedTpm>, std::string> open(const std::string& directory,
                                                                                    const News& news = {});
  ~EmbeddedTpm() override;

  Answer transact(wire::ByteView command, std::uint8_t locality) override;
  void cancel() override;
  void hang_up() override { cancel(); }

  // Power off and on without a Shutdown: permanent state stays, and the next command must be a Startup. For the
  // transacting thread. After an error the TPM stays off.
  [[nodiscard]] tl::expected<void, std::string> power_cycle();

  // Empty, or why state could not be read or written; the TPM is then in failure mode.
  [[nodiscard]] std::string storage_error() const;

 private:
  struct Library;  // libtpms' C callbacks

  explicit EmbeddedTpm(std::unique_ptr<StateStore> store) : store_(std::move(store)) {}
  [[nodiscard]] tl::expected<void, std::string> power_on();
  [[nodiscard]] Answer process(wire::ByteView command);
  [[nodiscard]] bool is_in_failure_mode();
  void shut_down_in_order();
  void leave_failure_mode();

  const std::unique_ptr<StateStore> store_;
  // Used by the transacting thread.
  std::uint8_t locality_ = 0;
  bool powered_ = false;
  bool orderly_ = true;                // no command since power-on or the last successful Shutdown
  unsigned char* response_ = nullptr;  // libtpms' buffer, which libtpms may reallocate
  std::uint32_t response_capacity_ = 0;

  std::mutex mutex_;
  bool running_ = false;  // guarded by mutex_: a command is inside libtpms
};

}  // namespace tpmspace::tpm
