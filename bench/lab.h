// The bench's laboratory: peers of the same make, each with a TPM of its own (swtpm), started and ended here.
//
// Idea: a `Site` is an swtpm and, if there is one, the manager in front of it, reached by the TCTI that its users use.
// A site may have a counting relay between manager and TPM; latencies are measured without.
// Threads: one. Errors: sentences. A peer that is not installed has no site: `missing` says its name.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "bench/relay.h"
#include "demo/kit/process.h"
#include "demo/kit/scratch.h"

namespace tpmspace::bench {

enum class Peer : std::uint8_t { kDirect, kTpmspace, kAbrmd };
[[nodiscard]] const char* name_of(Peer peer);  // "swtpm", "tpmspace", "tpm2-abrmd"

class Site {
 public:
  [[nodiscard]] Peer peer() const { return peer_; }
  [[nodiscard]] const std::string& tcti() const { return tcti_; }
  // tpmspace's own; empty for others.
  [[nodiscard]] const std::string& socket() const { return socket_; }
  [[nodiscard]] Relay& relay() { return *relay_; }  // precondition: it was asked for
  // Of the manager alone, its TPM not included. Bytes; 0 for a bare TPM.
  [[nodiscard]] std::uint64_t resident_bytes() const;

  // The manager stops; then it is started anew, on the same TPM. Precondition: there is one.
  void stop_manager() { manager_.reset(); }
  [[nodiscard]] tl::expected<void, std::string> start_manager();

 private:
  friend class Lab;
  Peer peer_ = Peer::kDirect;
  std::string tcti_, socket_;
  demo::Program program_;  // the manager's
  std::optional<demo::Child> tpm_;
  std::optional<Relay> relay_;
  std::optional<demo::Child> manager_;
};

class Lab {
 public:
  // Starts a message bus of our own, and points this program and its children to it.
  [[nodiscard]] static tl::expected<Lab, std::string> make();

  [[nodiscard]] bool has(Peer peer) const;
  // The program's own words about its version; "" if it is not installed.
  [[nodiscard]] std::string version(Peer peer) const;
  // Ready for clients. `config`: of tpmspace.
  [[nodiscard]] tl::expected<Site, std::string> build(Peer peer, bool counted, const std::string& config = "");

 private:
  explicit Lab(demo::Scratch scratch) : scratch_(std::move(scratch)) {}
  [[nodiscard]] tl::expected<void, std::string> start_bus();
  [[nodiscard]] tl::expected<void, std::string> start_tpm(Site& site, const std::string& socket, bool counted);
  [[nodiscard]] demo::Program manager_for(Peer peer, const std::string& name, const std::string& tpm_socket,
                                          const std::string& settings) const;

  demo::Scratch scratch_;
  std::optional<demo::Child> bus_;
  std::string bus_address_;
  unsigned sites_ = 0;
};

}  // namespace tpmspace::bench
