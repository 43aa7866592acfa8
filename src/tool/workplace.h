// The directory of one `run`: socket, logs, the command's FAPI configuration and key store. Gone when it is over.
//
// Idea: made by mkdtemp (0700) under $XDG_RUNTIME_DIR, or under /tmp where that does not exist, cannot be written, is
// too long for a socket's path or has a comma in it (a TCTI's configuration splits at commas).
// Threads: one. Errors: a sentence.
// Source: fapi-config(5) of tpm2-tss for the configuration's fields.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace tpmspace::tool {

class Workplace {
 public:
  [[nodiscard]] static tl::expected<Workplace, std::string> make();
  Workplace(Workplace&& other) noexcept;
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  Workplace& operator=(Workplace&&) = delete;
  ~Workplace();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string socket() const { return path_ + "/tpm.sock"; }
  [[nodiscard]] std::string notify_socket() const { return path_ + "/notify.sock"; }
  [[nodiscard]] std::string log() const { return path_ + "/tpmspaced.log"; }
  [[nodiscard]] std::string daemon_config() const {
    return path_ + "/tpmspaced.toml";
  }  // empty: the system's is not for us
  [[nodiscard]] std::string fapi_config() const { return path_ + "/fapi-config.json"; }

 private:
  explicit Workplace(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] tl::expected<void, std::string> furnish() const;

  std::string path_;
};

}  // namespace tpmspace::tool
