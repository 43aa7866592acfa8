#include "crowd.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace tpmspace::storm {
namespace {

Bytes secret_of(const char* kind, unsigned number) {
  const std::string text = fmt::format("the secret of client {}, who comes with {}", number, kind);
  return {text.begin(), text.end()};
}

}  // namespace

std::string hex(TSS2_RC code) {
  return fmt::format("0x{:08x}", code);
}

void Tally::add(const Tally& other) {
  right += other.right;
  wrong += other.wrong;
  for (const auto& [code, count] : other.failures) failures[code] += count;
  for (const auto& [place, count] : other.where) where[place] += count;
}

Client::Client(const Kind& kind, std::unique_ptr<Errand> errand, unsigned number, const std::string& tcti)
    : kind_(kind.name), errand_(std::move(errand)), secret_(secret_of(kind.name, number)) {
  const unsigned locality = errand_->locality();
  take([&] { tpm_ = std::make_unique<Tpm>(locality == 0 ? tcti : fmt::format("{},locality={}", tcti, locality)); });
}

void Client::take(const std::function<void()>& step) {
  if (failed_) return;
  try {
    step();
  } catch (const Failure& failure) {
    fail(failure);
  }
}

void Client::fail(const Failure& failure) {
  failed_ = true;
  ++tally_.failures[failure.code];
  ++tally_.where[fmt::format("{} {} {}", kind_, failure.command, hex(failure.code))];
}

void Client::compare_digest() {
  take([this] {
    const TPM2B_DIGEST found = tpm_->policy_digest(errand_->session());
    if (!std::ranges::equal(view(found), view(errand_->digest()))) throw Failure{"another digest", TSS2_RC_SUCCESS};
  });
}

void Client::use(bool keep) {
  take([&] {
    const bool right = errand_->use(*tpm_, keep) == secret_;
    ++(right ? tally_.right : tally_.wrong);
    if (!right) ++tally_.where[fmt::format("{} wrong secret", kind_)];
  });
}

void Client::renew() {
  if (tpm_ == nullptr) return;
  errand_->drop(*tpm_);
  go_on();
}

void Client::finish() {
  if (tpm_ == nullptr) return;
  try {
    errand_->finish(*tpm_);
  } catch (const Failure& failure) {
    fail(failure);
  }
}

Crowd::Crowd(std::span<const Kind> kinds, unsigned count, unsigned first_number, const std::string& tcti,
             unsigned threads)
    : threads_(threads) {
  for (unsigned i = 0; i < count; ++i) {
    const Kind& kind = kinds[i % kinds.size()];
    const Cipher cipher = i / kinds.size() % 2 == 0 ? Cipher::kNone : Cipher::kAes;
    const unsigned number = first_number + i;
    clients_.push_back(std::make_unique<Client>(kind, kind.make(number, cipher), number, tcti));
  }
}

void Crowd::part(std::size_t first, std::size_t last, const std::function<void(Client&)>& step) {
  std::atomic<std::size_t> next = first;
  const auto walk = [&] {
    for (std::size_t i = next++; i < last; i = next++) step(*clients_[i]);
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < threads_; ++i) threads.emplace_back(walk);
  walk();
}

Tally Crowd::tally() const {
  Tally out;
  for (const auto& client : clients_) out.add(client->tally());
  return out;
}

unsigned Crowd::successes() const {
  return static_cast<unsigned>(std::ranges::count_if(clients_, [](const auto& client) {
    const Tally& tally = client->tally();
    return tally.failures.empty() && tally.wrong == 0 && tally.right > 0;
  }));
}

}  // namespace tpmspace::storm
