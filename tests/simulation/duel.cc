#include "duel.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>

#include "wire/rc.h"

namespace tpmspace::simulation {
namespace {

std::unique_ptr<tpm::EmbeddedTpm> open_real() {
  auto opened = tpm::EmbeddedTpm::open("");
  if (!opened) {
    fmt::print(stderr, "libtpms: {}\n", opened.error());
    std::abort();
  }
  return std::move(*opened);
}

}  // namespace

Duel::Duel(const Weights& weights, const ModelTpm::Limits& limits)
    : model_(limits, clock_), real_(open_real()), client_(1, std::make_shared<Pool>(), weights) {
  static_cast<void>(ask(model_, speech::startup(false)));
  static_cast<void>(ask(*real_, speech::startup(false)));
}

speech::Heard Duel::ask(wire::Tpm& tpm, const wire::Bytes& command) {
  constexpr int kTries = 6;
  for (int i = 0;; ++i) {
    const auto answer = tpm.transact(command, 0);
    if (!answer) return {wire::rc::kFailure, 0, {}, {}};
    auto heard = speech::hear(command, *answer);
    if (!heard) return {wire::rc::kFailure, 0, {}, {}};
    // libtpms wants some commands twice (RETRY).
    if (heard->code != wire::rc::kRetry || i == kTries) return *heard;
  }
}

void Duel::power_cycle() {
  model_.power_cycle();
  if (const auto done = real_->power_cycle(); !done) {
    fmt::print(stderr, "libtpms: {}\n", done.error());
    std::abort();
  }
}

std::string Duel::power(const Step& step) {
  if (std::getenv("TPMSPACE_DUEL_TRACE") != nullptr)
    fmt::print(stderr, "power {} {} {}\n", step.a % 4, step.b % 4, step.c % 4);
  const std::vector<wire::Bytes> before = {{}, {}, speech::shutdown(true), speech::shutdown(false)};
  const wire::Bytes& goodbye = before[step.a % before.size()];
  const auto agree = [&](const wire::Bytes& command, const char* what) -> std::string {
    const auto modelled = ask(model_, command);
    const auto truth = ask(*real_, command);
    return modelled.code == truth.code
               ? ""
               : fmt::format("{}: codes differ: {:#x} and {:#x}", what, modelled.code, truth.code);
  };
  std::string trouble;
  if (!goodbye.empty()) trouble = agree(goodbye, "Shutdown");
  if (step.b % 4 == 0) return trouble;  // and go on
  power_cycle();
  if (step.b % 4 == 1) trouble += agree(speech::read_clock(), "before Startup");
  if (step.c % 2 == 0) trouble += agree(speech::startup(true), "Startup(STATE)");
  trouble += agree(speech::startup(false), "Startup(CLEAR)");
  if (step.c % 4 < 2) client_.forget_volatile();  // else it goes on with stale handles
  return trouble;
}

std::string Duel::step(const Step& step) {
  if (step.what % 64 == 63) return power(step);
  const Utterance said = client_.say(step);
  const std::array heard = {ask(model_, said.bytes[0]), ask(*real_, said.bytes[1])};
  if (heard[0].ok()) ++successes_[static_cast<std::size_t>(said.verb)];
  if (said.verb == Verb::kPolicySecret && heard[0].ok()) object_names_in_policies_ = true;
  Likeness likeness;
  likeness.compare_policy_digests = !object_names_in_policies_;
  if (std::getenv("TPMSPACE_DUEL_TRACE") != nullptr)
    fmt::print(stderr, "{} -> {:#x} {:#x}\n", said.text, heard[0].code, heard[0].handle);
  std::string trouble = difference(said, heard, likeness);
  if (!trouble.empty() && std::getenv("TPMSPACE_DUEL_BYTES") != nullptr)
    fmt::print(stderr, "command {:02x}\n", fmt::join(said.bytes[1], ""));
  if (trouble.empty()) client_.learn(said, heard);
  return trouble;
}

}  // namespace tpmspace::simulation
