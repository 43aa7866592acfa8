// The state of the embedded TPM: named blobs, in memory or in a directory.
//
// Idea: libtpms uses three names only; no other text becomes a file name. A directory belongs to one process at a time
// (flock), only to this user (owner, mode 0700), and always holds a whole blob: the old one or the new one.
// Threads: the transacting thread.
// Limits: a blob is at most 1 MiB (libtpms' permanent state is about 140 KiB at most).
// Errors: sentences.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "wire/bytes.h"

namespace tpmspace::tpm {

class StateStore {
 public:
  StateStore() = default;
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;
  virtual ~StateStore() = default;

  // nullopt: never stored.
  [[nodiscard]] virtual tl::expected<std::optional<wire::Bytes>, std::string> load(std::string_view name) = 0;
  [[nodiscard]] virtual tl::expected<void, std::string> store(std::string_view name, wire::ByteView blob) = 0;
  // True: the blob existed.
  [[nodiscard]] virtual tl::expected<bool, std::string> remove(std::string_view name) = 0;

  // Whether the state ends with this process.
  [[nodiscard]] virtual bool ephemeral() const = 0;
  // The last failure, kept because libtpms only learns the fact of a failure. Empty: no failure.
  [[nodiscard]] const std::string& error() const { return error_; }

 protected:
  tl::unexpected<std::string> fail(std::string sentence) {
    error_ = sentence;
    return tl::unexpected(std::move(sentence));
  }

 private:
  std::string error_;
};

[[nodiscard]] std::unique_ptr<StateStore> memory_store();
// Creates a missing directory, but not its parents; takes the lock, which the destructor releases.
[[nodiscard]] tl::expected<std::unique_ptr<StateStore>, std::string> directory_store(const std::string& directory);

}  // namespace tpmspace::tpm
