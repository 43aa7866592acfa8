// Many clients, each with a connection, an errand and a secret of its own, that take each step together.
//
// Idea: `all` lets every client take one step, on a few threads, and returns when the last has taken it: the barrier
// between steps. A client whose step fails takes no further one until it is `renew`ed; the tally has the failures.
// Threads: `all` is called by one thread; a client is used by one thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "errand.h"

namespace tpmspace::storm {

// The results of the errands.
struct Tally {
  unsigned right = 0;                     // correct secrets
  unsigned wrong = 0;                     // or were not
  std::map<TSS2_RC, unsigned> failures;   // by response code
  std::map<std::string, unsigned> where;  // by kind and command; wrong secrets too

  void add(const Tally& other);
};
[[nodiscard]] std::string hex(TSS2_RC code);

class Client {
 public:
  Client(const Kind& kind, std::unique_ptr<Errand> errand, unsigned number, const std::string& tcti);

  void prepare() {
    take([this] {
      errand_->prepare(*tpm_, secret_);
      prepared_ = true;
    });
  }
  void start() {
    take([this] { errand_->start(*tpm_); });
  }
  void fulfil() {
    take([this] { errand_->fulfil(*tpm_); });
  }
  // As a step: the session's policyDigest is correct.
  void compare_digest();
  void use(bool keep);
  void restart_policy() {
    take([this] { tpm_->policy_restart(errand_->session()); });
  }
  // It may go on after a failure, if it was prepared.
  void go_on() { failed_ = !prepared_; }
  // Its sessions go, and it may begin again.
  void renew();
  void finish();

  [[nodiscard]] const Tally& tally() const { return tally_; }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] Tally take_tally() { return std::exchange(tally_, {}); }

 private:
  void take(const std::function<void()>& step);
  void fail(const Failure& failure);

  const char* kind_;
  std::unique_ptr<Errand> errand_;
  const Bytes secret_;
  std::unique_ptr<Tpm> tpm_;
  bool prepared_ = false, failed_ = false;
  Tally tally_;
};

class Crowd {
 public:
  // `count` clients of these kinds in turn, connected. Each kind without and with a cipher.
  Crowd(std::span<const Kind> kinds, unsigned count, unsigned first_number, const std::string& tcti, unsigned threads);

  void all(const std::function<void(Client&)>& step) { part(0, clients_.size(), step); }
  void part(std::size_t first, std::size_t last, const std::function<void(Client&)>& step);

  [[nodiscard]] std::size_t size() const { return clients_.size(); }
  [[nodiscard]] Tally tally() const;
  // Clients of which no step ever failed and no secret was wrong.
  [[nodiscard]] unsigned successes() const;

 private:
  const unsigned threads_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace tpmspace::storm
