// Unused parked sessions of other users cost nothing: the work of a step does not grow with their number.
#include "../../support/executed_edges.h"
#include "engine_that_parks.h"

#ifdef TPMSPACE_COUNTS_EDGES
#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tpmspace::engine {
namespace {

using support::ExecutedEdges;
using Edges = std::vector<std::uint8_t>;
using EdgesByStep = std::map<std::string, Edges>;

class ParkedFloods : public EngineThatParks {
 protected:
  static constexpr std::uint32_t kRounds = 64;
  // The counters have 8 bits: with these two steps a loop over all that are parked makes a difference of 40 or more,
  // also if it is run several times. Searches among them look at one or two more, and the rounds meet the others'
  // sessions in another order.
  static constexpr std::array<std::uint32_t, 3> kParked = {20, 20 + 43, 20 + 43 + 50};
  static constexpr int kTolerated = 35;

  void SetUp() override {
    EngineThatParks::SetUp();
    ASSERT_NE(ExecutedEdges::first, ExecutedEdges::last);
    for (auto& one : others_) one = open(kOther);
  }

  void run_until_idle() {
    while (!engine_->step(now_).idle) {
    }
  }
  wire::Response answered(ConnectionId connection, const Bytes& bytes) {
    auto response = answer_to(connection, bytes);
    EXPECT_TRUE(response && response->ok());
    return std::move(*response);
  }
  void start_session_of_others() {
    const auto connection = others_.at(++last_ % others_.size());
    const auto session = answered(connection, start_session(SessionType::kPolicy)).handle()->value;
    (void)answered(connection, policy_command_code(session, cc::kUnseal));
    theirs_.emplace_back(connection, session);
  }
  void end_parked_one_of_others() {
    const auto one = std::find_if(theirs_.begin(), theirs_.end(),
                                  [this](const auto& each) { return is_parked(each.first, each.second); });
    ASSERT_NE(one, theirs_.end());
    (void)answered(one->first, flush_context(one->second));
    theirs_.erase(one);
  }
  // Until others have so many that are parked.
  void park(std::uint32_t count) {
    while (parked() < count) start_session_of_others();
    run_until_idle();
  }

  // The work of the TPM's thread for a command, from taking the order to reporting the step.
  Edges edges_of(ConnectionId connection, const Bytes& bytes, Bytes& answer) {
    return ExecutedEdges::of([&] {
      answer = wire::to_bytes(answered(connection, bytes).bytes());
      (void)engine_->snapshot();
      (void)engine_->held_sessions();
    });
  }

  // A modest client's commands, and steps without a cause.
  EdgesByStep edges_of_round() {
    EdgesByStep out;
    const auto modest = open(kModest);
    const auto parameters_of = [&](const char* name, const Bytes& bytes) {
      Bytes answer;
      out[name] = edges_of(modest, bytes, answer);
      return Bytes(answer.begin() + wire::kHeaderSize, answer.end());
    };
    const auto handle_of = [&](const char* name, const Bytes& bytes) {
      return *wire::Reader(parameters_of(name, bytes)).u32();
    };
    (void)parameters_of("GetRandom", get_random());
    (void)parameters_of("a list of sessions", get_capability(1, 0x02000000, 64));
    const auto key = handle_of("CreatePrimary", create_primary(kOwner, ecc_signing_template()));
    (void)parameters_of("Sign", sign(key));
    (void)parameters_of("ContextSave of a key", context_save(key));
    const auto policy = handle_of("StartAuthSession", start_session(SessionType::kPolicy));
    (void)parameters_of("PolicyCommandCode", policy_command_code(policy, cc::kUnseal));
    (void)parameters_of("PolicyGetDigest", policy_get_digest(policy));
    const Bytes saved = parameters_of("ContextSave of a session", context_save(policy));
    (void)parameters_of("ContextLoad of a session", context_load(saved));
    (void)parameters_of("FlushContext of a session", flush_context(policy));
    (void)parameters_of("FlushContext of a key", flush_context(key));
    out["nothing to do"] = ExecutedEdges::of([&] { EXPECT_TRUE(engine_->step(now_).idle); });
    out["a connection that closes"] = ExecutedEdges::of([&] { engine_->close(modest); });
    run_until_idle();
    return out;
  }

  // Of each edge the least in rounds in which every number has its turn, so it does not matter which one is free, nor
  // in which rounds a session is parked.
  EdgesByStep least_edges_of_rounds() {
    EdgesByStep out;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      start_session_of_others();
      end_parked_one_of_others();
      for (const auto& [name, edges] : edges_of_round()) {
        Edges& least = out.try_emplace(name, edges).first->second;
        for (std::size_t i = 0; i < edges.size(); ++i) least[i] = std::min(least[i], edges[i]);
      }
    }
    return out;
  }

  // No edge was executed once more for each that is parked.
  static void expect_same(const EdgesByStep& few, const EdgesByStep& many) {
    for (const auto& [name, edges] : few) {
      int most = 0;
      for (std::size_t i = 0; i < edges.size(); ++i)
        most = std::max(most, std::abs(static_cast<std::int8_t>(many.at(name)[i] - edges[i])));
      EXPECT_LT(most, kTolerated) << name;
    }
  }

  static constexpr std::uint64_t kModest = 1, kOther = 2;
  std::array<ConnectionId, 16> others_{};
  std::vector<std::pair<ConnectionId, std::uint32_t>> theirs_;
  std::size_t last_ = 0;
};

TEST_F(ParkedFloods, AStepCostsTheSameHoweverManySessionsOthersHaveParked) {
  park(kParked[0]);
  (void)edges_of_round();  // work done once
  EdgesByStep before;
  for (const std::uint32_t count : kParked) {
    park(count);
    EdgesByStep now = least_edges_of_rounds();
    EXPECT_LE(parked() - count, 1U) << "each round ends as many as it parks";
    expect_same(before, now);
    before = std::move(now);
  }
}

}  // namespace
}  // namespace tpmspace::engine
#endif
