// A directory for sockets and logs, gone with its owner.
//
// Threads: one owner. Errors: a sentence. Its path is short enough for a socket's.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace tpmspace::demo {

class Scratch {
 public:
  [[nodiscard]] static tl::expected<Scratch, std::string> make();
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();

  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// The contents of a file, at most the last `bytes`; for error sentences.
[[nodiscard]] std::string tail_of(const std::string& path, std::size_t bytes = 2000);

}  // namespace tpmspace::demo
