// The user behind a uid: uids lent to a user for user namespaces belong to the user.
//
// Idea: quotas and turns belong to users, and a user with 65,536 lent uids must not have 65,537 quotas. Uids lent to
// root do not count: only root can pass them on, and a container of root must not be taken for root.
// Loans are in /etc/subuid, or /etc/nsswitch.conf names a service with the loans ("subid: sss"). Then libsubid, if
// installed, is asked once for each user listed by the name service; libsubid is loaded for this purpose alone. A
// directory lists few of its users or none. A directory lends uids of the upper half in blocks of 65,536 (FreeIPA's
// design, "Subordinate ids"), so each unknown block is one owner. A user whose name cannot be looked up counts as one
// owner with all uids lent under the name.
// Threads: a value; `of_this_machine` reads files and asks services, which may take seconds, so call it at the start or
// in the thread of a reload.
// Limits: kMaxFile bytes of a file, kMaxLoans lines or loans, kMaxUsers queried users; further entries are ignored.
// Errors: none: an unreadable file lends no uids.
// Source: subuid(5), shadow/subid.h.
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

  SubordinateIds() = default;  // no loans
  // Malformed lines are ignored, and so is a loan of uid 0.
  [[nodiscard]] static SubordinateIds parse(std::string_view text, const UidOf& uid_of);
  [[nodiscard]] static SubordinateIds of_this_machine();
  // True: nsswitch.conf names a service instead of the file.
  [[nodiscard]] static bool are_lent_by_service(std::string_view nsswitch);

  // For a service that reports no loans.
  [[nodiscard]] static SubordinateIds of_silent_service();

  // The uid itself, if the uid is lent to no user. If loans overlap, the first in the file counts.
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t uid) const;

 private:
  [[nodiscard]] static SubordinateIds of_library();
  struct Loan {
    std::uint32_t first = 0, last = 0;
    std::uint32_t holder = 0;
  };
  std::vector<Loan> loans_;
  bool in_blocks_ = false;  // unknown uids of the upper half are grouped in blocks
};

}  // namespace tpmspace::peer
