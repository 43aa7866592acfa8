// Generated sequences of steps: for rapidcheck, which shrinks them, and for fast runs from a plain seed.
// Threads: values. Source of numbers: the environment, so that longer runs need no rebuilding.
#pragma once

// rapidcheck's header for gtest wants gtest's before it.
#include <gtest/gtest.h>
//
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "reference_client.h"

namespace rc {

template <>
struct Arbitrary<tpmspace::simulation::Step> {
  static Gen<tpmspace::simulation::Step> arbitrary() {
    using tpmspace::simulation::Step;
    // Over the whole range at every size: a number is a choice, and a small one is no simpler choice.
    const auto number = gen::resize(kNominalSize, gen::arbitrary<std::uint16_t>());
    return gen::build<Step>(gen::set(&Step::what, number), gen::set(&Step::a, number), gen::set(&Step::b, number),
                            gen::set(&Step::c, number), gen::set(&Step::auth, number));
  }
};

}  // namespace rc

namespace tpmspace::simulation {

inline std::ostream& operator<<(std::ostream& out, const Step& step) {
  return out << "{" << step.what << ", " << step.a << ", " << step.b << ", " << step.c << ", " << step.auth << "}";
}

// From the environment, or `otherwise`.
[[nodiscard]] inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 0);
}

[[nodiscard]] inline Step random_step(std::mt19937_64& random) {
  const auto number = [&] { return static_cast<std::uint16_t>(random() & 0xFFFF); };
  Step step;
  step.what = number();
  step.a = number();
  step.b = number();
  step.c = number();
  step.auth = number();
  return step;
}

[[nodiscard]] inline std::vector<Step> random_steps(std::uint64_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::vector<Step> steps;
  for (std::size_t i = 0; i < count; ++i) steps.push_back(random_step(random));
  return steps;
}

}  // namespace tpmspace::simulation
