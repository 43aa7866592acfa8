// Whose a uid is: those that /etc/subuid lends to a user, for the user namespaces that he may make, are his.
//
// Idea: a quota or a turn is a user's, and a user who is lent 65,536 uids must not have 65,537 of them. What root is
// lent counts for nobody: only root can give it out, and a container of root's must not be taken for root.
// Threads: a value; `of_this_machine` reads the file and asks the name service, so it is for the start and for a
// reload. Limits: kMaxFile octets of file, kMaxLoans lines; what is beyond is not looked at. Errors: none: what cannot
// be read lends nothing. Source: subuid(5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tpmspace::daemon {

class SubordinateIds {
 public:
  static constexpr std::size_t kMaxFile = 1 << 20;
  static constexpr std::size_t kMaxLoans = 10'000;

  using UidOf = std::function<std::optional<std::uint32_t>(const std::string& name)>;

  SubordinateIds() = default;  // nothing is lent
  // Lines that are none are passed over, and so is a loan of uid 0.
  [[nodiscard]] static SubordinateIds parse(std::string_view text, const UidOf& uid_of);
  [[nodiscard]] static SubordinateIds of_this_machine();

  // The uid itself, if nobody is lent it. Where loans overlap, the one that stands first in the file.
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t uid) const;

 private:
  struct Loan {
    std::uint32_t first = 0, last = 0;
    std::uint32_t holder = 0;
  };
  std::vector<Loan> loans_;
};

}  // namespace tpmspace::daemon
