// Our own tpmspaced: started, waited for, asked for its status, stopped.
//
// Idea: the daemon's socket appears only when it is ready, so that a connection is the sign of readiness.
// Threads: one. Errors: sentences, with the daemon's log.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "client/connection.h"
#include "demo/kit/process.h"
#include "demo/kit/scratch.h"

namespace tpmspace::demo {

class Daemon {
 public:
  // `tpm` as --tpm takes it. Program and library are looked for beside the running program.
  [[nodiscard]] static tl::expected<Daemon, std::string> start(const Scratch& scratch, const std::string& tpm,
                                                               const std::string& name = "tpm");

  [[nodiscard]] tl::expected<proto::Status, std::string> status() const;
  [[nodiscard]] const std::string& socket() const { return socket_; }
  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  // The wait status; nullopt: it did not end by itself in time and was killed.
  [[nodiscard]] std::optional<int> stop();

 private:
  Daemon(Child child, std::string socket, std::string log)
      : child_(std::move(child)), socket_(std::move(socket)), log_(std::move(log)) {}
  [[nodiscard]] tl::expected<void, std::string> wait_ready();

  Child child_;
  std::string socket_, log_;
};

// The TCTI configuration by which tctildr reaches this socket with our library, wherever the library is installed.
[[nodiscard]] std::string tcti_for(const std::string& socket);

}  // namespace tpmspace::demo
