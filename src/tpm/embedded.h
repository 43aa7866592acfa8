// A whole TPM in this process: libtpms.
//
// Idea: libtpms is one global machine with callbacks; this class is the only one that touches it, and there is at most
// one of it in a process. It answers in the caller's thread.
// State: permanent state (seeds, NV, persistent objects, the clock) is kept in memory, or in a directory of ours: made
// 0700 if its parent is there, locked while in use, each write atomic (a new file, fsync, rename). What is transient
// ends with the object, as it does on a chip that loses power. A directory is left in order: on destruction the TPM is
// told Shutdown(CLEAR), unless its last command was a Shutdown, because a TPM counts a disorderly stop against the
// dictionary-attack limit. Threads: as wire::Tpm: one thread transacts; `cancel` is for any thread and never touches a
// later command. Sizes: commands and responses up to 4096 octets. Errors: `open` gives sentences; kNotPossible for a
// locality of 5..31, which libtpms would take for 0. State that cannot be written puts the TPM in failure mode
// (response code 0x101), and `storage_error` says why. From any other failure mode it is switched off and on: that
// one command is answered 0x101, the next wants a Startup. A 0x101 outside of failure mode is an answer like any other.
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
  // An empty `directory`: memory only. The TPM is powered on and wants a Startup.
  [[nodiscard]] static tl::expected<std::unique_ptr<EmbeddedTpm>, std::string> open(const std::string& directory,
                                                                                    const News& news = {});
  ~EmbeddedTpm() override;

  Answer transact(wire::ByteView command, std::uint8_t locality) override;
  void cancel() override;
  void hang_up() override { cancel(); }

  // Power off and on: nothing is told to the TPM before, permanent state stays, and the next command must be a Startup.
  // For the transacting thread. On an error the TPM is off for good.
  [[nodiscard]] tl::expected<void, std::string> power_cycle();

  // Empty, or why state could not be read or written; then the TPM is in failure mode.
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
  // Of the transacting thread.
  std::uint8_t locality_ = 0;
  bool powered_ = false;
  bool orderly_ = true;                // nothing happened since power-on or the last successful Shutdown
  unsigned char* response_ = nullptr;  // libtpms' buffer, reallocated by it as it likes
  std::uint32_t response_capacity_ = 0;

  std::mutex mutex_;
  bool running_ = false;  // guarded by mutex_: a command is inside libtpms
};

}  // namespace tpmspace::tpm
