// Where the embedded TPM keeps its state: named blobs, in memory or in a directory.
//
// Idea: libtpms asks for three names only; nothing else ever becomes a file name. A directory belongs to one process at
// a time (flock), to us alone (owner, mode 0700), and always holds a whole blob: the old one or the new one.
// Threads: the transacting thread.
// Sizes: a blob is at most 1 MiB (libtpms' permanent state is about 140 KiB at most).
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
  // True: it was there.
  [[nodiscard]] virtual tl::expected<bool, std::string> remove(std::string_view name) = 0;

  // Nobody needs this state after this process.
  [[nodiscard]] virtual bool ephemeral() const = 0;
  // The last failure, kept because libtpms can only be told that there was one. Empty if there was none.
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
// Makes the directory, not its parents, if it is not there; takes the lock, which is given back on destruction.
[[nodiscard]] tl::expected<std::unique_ptr<StateStore>, std::string> directory_store(const std::string& directory);

}  // namespace tpmspace::tpm
