// For tests: a directory of their own that is gone afterwards, and a listening socket in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/fd.h"
#include "wire/bytes.h"

namespace tpmspace::testing_support {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "tpmspace-test-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string path(const std::string& name = "") const {
    return name.empty() ? path_ : path_ + "/" + name;
  }

 private:
  std::string path_;
};

// The manager's end of a connection, driven by the test itself: data in the kernel's buffers needs no thread.
class Peer {
 public:
  explicit Peer(base::Fd fd) : fd_(std::move(fd)) {}

  void send(wire::ByteView bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(n, 0);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }
  // Exactly n bytes.
  wire::Bytes read(std::size_t n) {
    wire::Bytes out(n);
    EXPECT_EQ(recv(fd_.get(), out.data(), n, MSG_WAITALL), static_cast<ssize_t>(n));
    return out;
  }
  // One frame, as its header announces it.
  wire::Bytes read_frame() {
    wire::Bytes out = read(10);
    const std::size_t size = std::size_t{out[2]} << 24 | std::size_t{out[3]} << 16 | std::size_t{out[4]} << 8 | out[5];
    const wire::Bytes body = read(size - out.size());
    out.insert(out.end(), body.begin(), body.end());
    return out;
  }
  // Whether something is there to be read.
  bool has_more() {
    std::uint8_t byte = 0;
    return recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
  }
  [[nodiscard]] bool closed() {
    std::uint8_t byte = 0;
    return recv(fd_.get(), &byte, 1, MSG_PEEK) == 0;
  }
  void hang_up() { fd_.reset(); }

 private:
  base::Fd fd_;
};

// A served socket: connecting succeeds at once, `accept` gives the other end.
class Service {
 public:
  explicit Service(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);  // NOLINT
    EXPECT_EQ(listen(fd_.get(), 16), 0);
  }
  Peer accept() { return Peer(base::Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC))); }

 private:
  base::Fd fd_;
};

// Sets an environment variable (null: unsets it) until the end of the scope.
class Variable {
 public:
  Variable(std::string name, const char* value) : name_(std::move(name)) {
    if (const char* old = std::getenv(name_.c_str())) {
      had_ = true;
      old_ = old;
    }
    set(value);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { set(had_ ? old_.c_str() : nullptr); }

 private:
  void set(const char* value) const {
    if (value != nullptr)
      setenv(name_.c_str(), value, 1);
    else
      unsetenv(name_.c_str());
  }
  std::string name_;
  bool had_ = false;
  std::string old_;
};

}  // namespace tpmspace::testing_support
