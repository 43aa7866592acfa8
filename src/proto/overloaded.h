// One function object out of several, for std::visit.
#pragma once

namespace tpmspace::proto {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;  // clang 14 does not deduce aggregates

}  // namespace tpmspace::proto
