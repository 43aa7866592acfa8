// Worlds of clients around an engine, in several climates. See world.h; longer runs and reproduction: README.md.
#include "world.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "steps.h"

namespace rc {

template <>
struct Arbitrary<tpmspace::simulation::WorldStep> {
  static Gen<tpmspace::simulation::WorldStep> arbitrary() {
    using tpmspace::simulation::Step;
    using tpmspace::simulation::WorldStep;
    const auto number = gen::resize(kNominalSize, gen::arbitrary<std::uint16_t>());
    return gen::build<WorldStep>(gen::set(&WorldStep::action, number), gen::set(&WorldStep::who, number),
                                 gen::set(&WorldStep::step, gen::arbitrary<Step>()));
  }
};

}  // namespace rc

namespace tpmspace::simulation {

std::ostream& operator<<(std::ostream& out, const WorldStep& step) {
  return out << "{" << step.action << ", " << step.who << ", " << step.step << "}";
}

namespace {

constexpr std::size_t kStepsAWorld = 2000;

// Kinds of worlds. The name is what a seed is kept under.
struct Climate {
  const char* name;
  void (*set)(WorldConfig&);
  std::size_t steps = kStepsAWorld;  // of one world
};
std::ostream& operator<<(std::ostream& out, const Climate& climate) {
  return out << climate.name;
}
constexpr std::size_t kLongWorld = 8000;  // long enough to use up an old chip's context gap

void calm(WorldConfig&) {}
void crowd(WorldConfig& config) {
  config.connections = 20;
  config.owners = 5;
}
void one_client(WorldConfig& config) {
  config.connections = 1;
  config.owners = 1;
}
void old_chip(WorldConfig& config) {  // tpm-behaviour 25
  config.limits.context_gap = 255;
  config.weights.global = 0;
  config.weights.sessions = 4;
  config.connections = 10;
  config.restless = false;
}
void busy_old_chip(WorldConfig& config) {
  old_chip(config);
  config.busy = true;
}
void few_sessions(WorldConfig& config) {
  config.limits.active_sessions = 7;
}
void roomy_chip(WorldConfig& config) {
  config.limits.object_slots = 7;
  config.limits.loaded_sessions = 5;
}
void small_limits(WorldConfig& config) {
  config.space.objects = 4;
  config.space.sessions = 3;
}
void shared_device(WorldConfig& config) {  // tpm-behaviour 35
  config.limits.object_slots = 5;
  config.limits.loaded_sessions = 5;
  config.keep_free_objects = 1;
  config.keep_free_sessions = 1;
}
void hesitant_chip(WorldConfig& config) {
  config.faults.retry = 30;
  config.faults.object_memory = 20;
  config.faults.session_memory = 20;
  config.faults.cancelled = 5;
}
void wide_gaps(WorldConfig& config) {
  config.limits.context_gap = 255;
  config.faults.context_gap = 20;
  config.weights.global = 0;
  config.weights.sessions = 4;
  config.restless = false;
}
void power_losses(WorldConfig& config) {
  config.power_cycles = true;
  config.faults.power_loss = 2;
}
void liar(WorldConfig& config) {
  config.faults.garbage = 8;
  config.faults.retry = 5;
}
void vanishing(WorldConfig& config) {
  config.faults.gone = 1;
}
void restarts(WorldConfig& config) {
  config.power_cycles = true;
  config.restarts = true;
}
// As a device in a machine that sleeps, and is reset.
void started_up_by_others(WorldConfig& config) {
  config.started_up_by_others = true;
}
void suspended_device(WorldConfig& config) {
  shared_device(config);
  config.started_up_by_others = true;
}
void suspended_parkers(WorldConfig& config) {
  config.started_up_by_others = true;
  config.weights.policies = 4;
}
void libtpms_started_up_by_others(WorldConfig& config) {
  config.started_up_by_others = true;
  config.embedded = true;
}
void changing_limits(WorldConfig& config) {
  config.changing_limits = true;
}
void little_memory(WorldConfig& config) {
  config.engine.max_bytes = 60'000;
}
void few_kept_sessions(WorldConfig& config) {
  config.engine.client_saved_sessions_per_owner = 2;
  config.weights.sessions = 3;
  config.connections = 12;
}
void short_terms(WorldConfig& config, space::Exhaustion exhaustion) {
  constexpr std::uint64_t kMillisecond = 1'000'000;
  config.limits.active_sessions = 8;
  config.weights.sessions = 5;
  config.connections = 10;
  config.restless = false;
  config.space.terms.exhaustion = exhaustion;
  config.space.terms.lease = 50 * kMillisecond;
  config.space.terms.tenure = 80 * kMillisecond;
  config.space.terms.deadline = 400 * kMillisecond;
}
void hoarders(WorldConfig& config) {
  short_terms(config, space::Exhaustion::kReclaim);
}
void waiters(WorldConfig& config) {
  short_terms(config, space::Exhaustion::kWait);
}
// Far more policy sessions than numbers.
void parkers(WorldConfig& config) {
  config.limits.active_sessions = 16;
  config.weights.policies = 4;
  config.connections = 20;
  config.restless = false;
}
void parkers_with_files(WorldConfig& config) {
  parkers(config);
  config.limits.active_sessions = 7;
  config.weights.sessions = 3;
  config.weights.global = 0;
  config.restless = true;
}
void patient_parkers(WorldConfig& config) {
  short_terms(config, space::Exhaustion::kReclaim);
  config.weights.policies = 3;
  config.connections = 20;
}
void libtpms(WorldConfig& config) {
  config.embedded = true;
}
void libtpms_power(WorldConfig& config) {
  config.embedded = true;
  config.power_cycles = true;
}
void libtpms_parkers(WorldConfig& config) {
  parkers(config);
  config.embedded = true;
  config.sessions_for_us = 16;
}
void libtpms_crowd(WorldConfig& config) {
  config.embedded = true;
  crowd(config);
}

void windows(WorldConfig& config) {
  config.windows = true;
  config.weights.persist = 30;
}
void libtpms_windows(WorldConfig& config) {
  windows(config);
  config.embedded = true;
}
void pools(WorldConfig& config) {
  config.owners = 4;
  config.connections = 10;
  config.weights.sessions = 2;
  config.pools = {space::Pool{.id = {1}, .sessions = 3, .objects = 6, .bytes = 40'000},
                  space::Pool{.id = {2}, .sessions = 6, .objects = 9}};
}
void pools_of_waiters(WorldConfig& config) {
  short_terms(config, space::Exhaustion::kWait);
  pools(config);
}
void pools_of_hoarders(WorldConfig& config) {
  short_terms(config, space::Exhaustion::kReclaim);
  pools(config);
}
// A leaving client leaves sessions behind; the chip has enough sessions.
void pools_of_files(WorldConfig& config) {
  short_terms(config, space::Exhaustion::kReclaim);
  pools(config);
  config.limits.active_sessions = 64;
  config.weights.sessions = 5;
  config.restless = true;
}
// Restored books do not know whose failures the chip has counted.
void guessers(WorldConfig& config) {
  config.guessing = true;
  config.owners = 5;
  config.connections = 10;
  config.limits.max_tries = 16;
  config.limits.recovery_seconds = 60;
  config.book_round_trips = false;
}
void guessers_restored(WorldConfig& config) {
  guessers(config);
  config.book_round_trips = true;
}
// Each power loss costs a try as well, if something protected was used.
void guessers_in_the_dark(WorldConfig& config) {
  guessers_restored(config);
  power_losses(config);
}
// A Clear would set the parameters back.
void libtpms_guessers(WorldConfig& config) {
  guessers(config);
  config.embedded = true;
  config.weights.global = 0;
}

constexpr Climate kClimates[] = {
    {"Calm", calm},
    {"Crowd", crowd},
    {"OneClient", one_client},
    {"OldChip", old_chip, kLongWorld},
    {"BusyOldChip", busy_old_chip, kLongWorld},
    {"FewSessions", few_sessions},
    {"RoomyChip", roomy_chip},
    {"SmallLimits", small_limits},
    {"SharedDevice", shared_device},
    {"HesitantChip", hesitant_chip},
    {"WideGaps", wide_gaps, kLongWorld},
    {"PowerLosses", power_losses},
    {"Restarts", restarts},
    {"StartedUpByOthers", started_up_by_others},
    {"SuspendedDevice", suspended_device},
    {"SuspendedPolicies", suspended_parkers},
    {"ChangingLimits", changing_limits},
    {"LittleMemory", little_memory},
    {"FewKeptSessions", few_kept_sessions},
    {"Hoarders", hoarders},
    {"Waiters", waiters},
    {"Parkers", parkers},
    {"ParkersWithFiles", parkers_with_files},
    {"PatientParkers", patient_parkers},
    {"Liar", liar},
    {"Vanishing", vanishing},
    {"Libtpms", libtpms},
    {"LibtpmsPowerLosses", libtpms_power},
    {"LibtpmsCrowd", libtpms_crowd},
    {"LibtpmsStartedUpByOthers", libtpms_started_up_by_others},
    {"LibtpmsParkers", libtpms_parkers},
    {"Windows", windows},
    {"Pools", pools},
    {"PoolsOfWaiters", pools_of_waiters},
    {"PoolsOfHoarders", pools_of_hoarders},
    {"PoolsOfFiles", pools_of_files},
    {"Guessers", guessers},
    {"GuessersRestored", guessers_restored},
    {"GuessersInTheDark", guessers_in_the_dark},
    {"LibtpmsWindows", libtpms_windows},
    {"LibtpmsGuessers", libtpms_guessers},
};

WorldConfig config_of(const Climate& climate, std::uint64_t seed) {
  WorldConfig config;
  config.weights.bound_sessions = seed % 2 == 0;
  config.seed = seed;
  config.space.terms.exhaustion = space::Exhaustion::kRefuse;
  climate.set(config);
  return config;
}

std::vector<WorldStep> random_world_steps(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<WorldStep> steps;
  for (std::size_t i = 0; i < count; ++i) {
    WorldStep step;
    step.action = static_cast<std::uint16_t>(random() & 0xFFFF);
    step.who = static_cast<std::uint16_t>(random() & 0xFFFF);
    step.step = random_step(random);
    steps.push_back(step);
  }
  return steps;
}

// "" or the fault and its place.
std::string run(const WorldConfig& config, const std::vector<WorldStep>& steps, World::Tally* tally = nullptr) {
  World world(config);
  std::size_t at = 0;
  for (const auto& step : steps) {
    const std::string trouble = world.step(step);
    if (!trouble.empty()) return fmt::format("step {}: {}", at, trouble);
    ++at;
  }
  const std::string trouble = world.finish();
  if (tally != nullptr) *tally += world.tally();
  return trouble.empty() ? "" : "at the end: " + trouble;
}

class Weather : public testing::TestWithParam<Climate> {};

TEST_P(Weather, EachClientSeesAPrivateTpm) {
  const Climate climate = GetParam();
  const auto total = number_from_environment("TPMSPACE_WORLD_STEPS", 40'000);
  const auto first = number_from_environment("TPMSPACE_WORLD_SEED", 1);
  for (std::uint64_t seed = first; (seed - first) * climate.steps < total; ++seed)
    ASSERT_EQ(run(config_of(climate, seed), random_world_steps(seed, climate.steps)), "")
        << "reproduce: TPMSPACE_WORLD_SEED=" << seed
        << " TPMSPACE_WORLD_STEPS=1 TPMSPACE_WORLD_TRACE=1 with --gtest_filter=*Tpm/" << climate.name;
}

// The same with short sequences that rapidcheck shrinks.
TEST_P(Weather, EachClientSeesAPrivateTpmInShrinkableWorlds) {
  const Climate climate = GetParam();
  const bool held = rc::check(climate.name, [&] {
    const auto steps = *rc::gen::scale(4, rc::gen::arbitrary<std::vector<WorldStep>>());
    const auto seed = *rc::gen::inRange<std::uint64_t>(1, 1000);
    const std::string trouble = run(config_of(climate, seed), steps);
    if (!trouble.empty()) RC_FAIL(trouble);
  });
  EXPECT_TRUE(held);
}

const Climate& climate_named(const std::string& name) {
  for (const auto& climate : kClimates)
    if (name == climate.name) return climate;
  ADD_FAILURE() << "no climate is called " << name;
  return kClimates[0];
}

TEST(World, SeedsThatFailedOnceDoNotFailAgain) {
  std::ifstream seeds(TPMSPACE_SEEDS);
  ASSERT_TRUE(seeds);
  std::size_t replayed = 0;
  for (std::string line; std::getline(seeds, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream in(line);
    std::string name;
    std::uint64_t seed = 0;
    ASSERT_TRUE(in >> name >> seed) << line;
    const Climate& climate = climate_named(name);
    EXPECT_EQ(run(config_of(climate, seed), random_world_steps(seed, climate.steps)), "") << line;
    ++replayed;
  }
  EXPECT_GT(replayed, 0U);
}

World::Tally tally_of(const char* name, std::uint64_t worlds) {
  World::Tally tally;
  const Climate& climate = climate_named(name);
  for (std::uint64_t seed = 1; seed <= worlds; ++seed)
    EXPECT_EQ(run(config_of(climate, seed), random_world_steps(seed, climate.steps), &tally), "");
  return tally;
}

// A world in which nothing works would be a calm one, too.
TEST(World, WorldsDoEverythingSuccessfullyAtLeastOnce) {
  auto tally = tally_of("Calm", 20);
  tally += tally_of("Guessers", 2);  // with an administrator
  for (std::size_t verb = 0; verb < kVerbs; ++verb)
    EXPECT_GT(tally.succeeded[verb], 0U) << name_of(static_cast<Verb>(verb));
  const auto of = [&](wire::Cause cause) { return tally.tpm_commands[static_cast<std::size_t>(cause)]; };
  EXPECT_GT(of(wire::Cause::kSave), 0U);
  EXPECT_GT(of(wire::Cause::kLoad), 0U);
  EXPECT_GT(of(wire::Cause::kFlush), 0U);
  EXPECT_GT(tally.compared, tally.client_commands / 2);
}

TEST(World, ClimatesMatchTheirNames) {
  EXPECT_GT(tally_of("OldChip", 2).tpm_commands[static_cast<std::size_t>(wire::Cause::kRefresh)], 0U);
  EXPECT_GT(tally_of("HesitantChip", 2).faults, 0U);
  EXPECT_GT(tally_of("Hoarders", 2).taken, 0U);
  EXPECT_EQ(tally_of("Waiters", 2).taken, 0U);
  for (const char* parkers : {"Parkers", "ParkersWithFiles", "PatientParkers", "LibtpmsParkers"}) {
    const auto tally = tally_of(parkers, 2);
    EXPECT_GT(tally.parks, 100U) << parkers;
    EXPECT_GT(tally.rebuilds, 100U) << parkers;
  }
  for (const char* windows : {"Windows", "LibtpmsWindows"})
    EXPECT_GT(tally_of(windows, 2).through_windows, 10U) << windows;
  for (const char* pools : {"Pools", "PoolsOfWaiters", "PoolsOfHoarders", "PoolsOfFiles"})
    EXPECT_GT(tally_of(pools, 2).beyond_pools, 20U) << pools;
  EXPECT_GT(tally_of("PoolsOfFiles", 2).taken_for_pools, 10U);
  for (const char* guessers : {"Guessers", "GuessersRestored", "GuessersInTheDark", "LibtpmsGuessers"}) {
    const auto tally = tally_of(guessers, 2);
    EXPECT_GT(tally.guesses, 10U) << guessers;
    EXPECT_GT(tally.stopped, 10U) << guessers;
  }
  for (const char* sleepers :
       {"StartedUpByOthers", "SuspendedDevice", "SuspendedPolicies", "LibtpmsStartedUpByOthers"}) {
    const auto tally = tally_of(sleepers, 2);
    EXPECT_GT(tally.start_ups, 5U) << sleepers;
    // Policy sessions are rebuilt, so hardly anything is lost there.
    EXPECT_GT(tally.lost, std::string_view(sleepers) == "SuspendedPolicies" ? 0U : 5U) << sleepers;
    EXPECT_GT(tally.kept, 20U) << sleepers;
    EXPECT_GT(tally.resets, 3U) << sleepers;
  }
  EXPECT_GT(tally_of("Liar", 5).faults, 0U);
  EXPECT_GT(tally_of("PowerLosses", 5).resets, 0U);
  EXPECT_GT(tally_of("LibtpmsPowerLosses", 5).resets, 0U);
}

INSTANTIATE_TEST_SUITE_P(World, Weather, testing::ValuesIn(kClimates),
                         [](const auto& climate) { return std::string(climate.param.name); });

}  // namespace
}  // namespace tpmspace::simulation
