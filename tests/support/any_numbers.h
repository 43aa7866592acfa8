// Sets of numbers by chance, for properties.
#pragma once

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "wire/numbers.h"

namespace tpmspace::support {

// Within [first, last].
inline rc::Gen<wire::Numbers> any_numbers(std::uint32_t first, std::uint32_t last) {
  const auto number = rc::gen::inRange(first, last + 1);
  return rc::gen::map(
      rc::gen::container<std::vector<std::pair<std::uint32_t, std::uint32_t>>>(rc::gen::pair(number, number)),
      [](const std::vector<std::pair<std::uint32_t, std::uint32_t>>& pairs) {
        std::vector<wire::Numbers::Range> out;
        out.reserve(pairs.size());
        for (const auto& [a, b] : pairs) out.push_back({std::min(a, b), std::max(a, b)});
        return wire::Numbers(std::move(out));
      });
}

}  // namespace tpmspace::support
