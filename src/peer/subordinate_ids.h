// Whose a uid is: those that are lent to a user, for the user namespaces that it may make, are that user's.
//
// Idea: a quota or a turn is a user's, and a user who is lent 65,536 uids must not have 65,537 of them. What root is
// lent counts for nobody: only root can give it out, and a container of root's must not be taken for root.
// Loans stand in /etc/subuid, or /etc/nsswitch.conf names a service that knows them instead ("subid: sss"). Then
// libsubid is asked, if it is installed, once for each user whom the name service lists; it is loaded for that alone.
// A directory lists few of its users or none. It lends uids of the upper half, in blocks of 65,536 (FreeIPA's design,
// "Subordinate ids"), so each such block is one owner, until more is known of it. A user whose name cannot be looked up
// counts as one owner with all that is lent under this name.
// Threads: a value; `of_this_machine` reads files and asks services, which may take seconds, so it is for the start and
// for the thread of a reload. Limits: kMaxFile bytes of a file, kMaxLoans lines or loans, kMaxUsers that are asked for;
// what is beyond is not looked at. Errors: none: a file that cannot be read lends nothing. Source: subuid(5),
// shadow/subid.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tpmspace::peer {

class SubordinateIds {
 public:
  static constexpr std::size_t kMaxFile = 1 << 20;
  static constexpr std::size_t kMaxLoans = 10'000;
  static constexpr std::size_t kMaxUsers = 10'000;

  using UidOf = std::function<std::optional<std::uint32_t>(const std::string& name)>;

  SubordinateIds() = default;  // nothing is lent
  // Lines that are none are passed over, and so is a loan of uid 0.
  [[nodiscard]] static SubordinateIds parse(std::string_view text, const UidOf& uid_of);
  [[nodiscard]] static SubordinateIds of_this_machine();
  // nsswitch.conf: who lends uids is not the file.
  [[nodiscard]] static bool are_lent_by_service(std::string_view nsswitch);

  // Of a service that tells nothing.
  [[nodiscard]] static SubordinateIds of_silent_service();

  // The uid itself, if nobody is lent it. Where loans overlap, the one that stands first in the file.
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t uid) const;

 private:
  [[nodiscard]] static SubordinateIds of_library();
  struct Loan {
    std::uint32_t first = 0, last = 0;
    std::uint32_t holder = 0;
  };
  std::vector<Loan> loans_;
  bool in_blocks_ = false;  // what is not known of a service's loans
};

}  // namespace tpmspace::peer
