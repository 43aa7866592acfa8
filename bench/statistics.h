// Medians, and how they are written.
//
// Threads: values. Units: as named.
#pragma once

#include <string>
#include <vector>

namespace tpmspace::bench {

// Precondition: not empty.
[[nodiscard]] double median(std::vector<double> values);
// Three figures that mean something: "1.02", "12.3", "1240".
[[nodiscard]] std::string figure(double value);

}  // namespace tpmspace::bench
