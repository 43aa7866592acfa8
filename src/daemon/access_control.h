// The guard in the event loop: whoever connects gets an identity, and each command is judged by it.
//
// Idea: an identity says who has come, from the kernel, once (peer_identity.h), by which listener, and what that
// allows: a permissions, which connections with equal rights share. A new policy takes nobody's identity away: the next
// command is judged by what the new policy gives to the same principal. A connection may narrow itself: that is kept as
// a profile of its own, and whatever a later policy gives is intersected with it, so what was narrowed never widens. An
// owner, whom space and queue know as a number, is a tenant, or a uid (owner_numbers.h); uids that /etc/subuid lends to
// a user are that user. The tenant is that of the moment of connecting, too: what a connection holds belongs to its
// owner, who cannot become another. So a new policy changes what a namespace gives to its members, and not who they
// are; and if it knows the namespace no more, they get what they would get outside, as far as `safe` has it, too.
// A client that may or may not be in a namespace, or whose process could not be read, is in a tenant of its own: all
// unknown clients pay together there, and what one uid saved there is for the same uid among them alone. The root of a
// container is not the machine's root as an owner either.
//
// A connection uses one TPM: its listener's, else its namespace's, else the main one. Limits hold for each TPM by
// itself.
//
// Threads: belongs to the event loop. Errors: nullopt for a socket that does not tell who is there.
// Limits: one permissions for each set of rules that somebody now connected matches; one number for each name that a
// namespace or a listener with a profile ever had.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/limits.h"
#include "books/owner.h"
#include "guard/listener.h"
#include "guard/rules.h"
#include "guard/verdict.h"
#include "peer/owner_numbers.h"
#include "peer/peer_identity.h"
#include "peer/subordinate_ids.h"

namespace tpmspace::daemon {

// What an identity allows.
struct Permissions {
  guard::Choice choice;
  space::SpaceLimits limits;                                // of no part: ClientIdentity::limits
  std::uint32_t namespace_connections = guard::kUnlimited;  // of all members of its namespace
  std::uint64_t policy = 0;                                 // which one gave it

  [[nodiscard]] const guard::Profile& profile() const { return choice.profile; }
};

// A descriptor of /proc/PID, and a count of these.
class UnreadProcess {
 public:
  UnreadProcess(base::Fd process, std::shared_ptr<unsigned> count)
      : process_(std::move(process)), count_(std::move(count)) {
    ++*count_;
  }
  UnreadProcess(const UnreadProcess&) = delete;
  UnreadProcess& operator=(const UnreadProcess&) = delete;
  ~UnreadProcess() { --*count_; }

  [[nodiscard]] const base::Fd& descriptor() const { return process_; }

 private:
  base::Fd process_;
  std::shared_ptr<unsigned> count_;
};

// Who opened a connection that another one joined, and by which listener.
struct Opener {
  guard::Principal who;
  guard::Entrance entrance;
};

struct ClientIdentity {
  guard::Principal who = {};
  space::OwnerId owner = {};
  guard::Entrance entrance = {};
  std::shared_ptr<const guard::Profile> narrowed = {};  // by itself, for ever; null: never
  space::Part part = {};                                // of a tenant's users, and of who narrowed itself
  unsigned narrowings = 0;                              // how often
  std::shared_ptr<const UnreadProcess> process = {};    // of which `read_program` has not read yet; null: it has
  std::vector<Opener> openers = {};                     // it may do no more than each of them may
  std::size_t chip = 0;                                 // which TPM it uses: its place among the names
  bool limits_pending = false;                          // the TPM's thread does not know the permissions's limits yet
  std::shared_ptr<const Permissions> permissions = {};  // never null

  [[nodiscard]] space::Holder holder() const { return {owner, part}; }
  // It has its owner's account, but is not to be told of what else its owner has.
  [[nodiscard]] bool is_guest() const { return narrowed || !openers.empty(); }
  [[nodiscard]] space::SpaceLimits limits() const {
    space::SpaceLimits out = permissions->limits;
    out.part = part;
    return out;
  }
};

class AccessControl {
 public:
  // No space gets more than `most`, but for the terms of its sessions, which are its profile's.
  // `most_bytes`: of saved contexts, in all.
  // `chips`: the names of the TPMs that are served; the main one is the first.
  // `most_unread`: of how many identities the program is not read yet.
  AccessControl(std::shared_ptr<const guard::Policy> policy, std::vector<std::string> chips,
                const space::SpaceLimits& most, std::uint64_t most_bytes,
                unsigned most_unread = limits::kUnreadProcesses);

  // `accepted`: as PeerReader::read wants it. What the policy does not name of its program is read by `read_program`.
  [[nodiscard]] std::optional<ClientIdentity> admit(int socket, const guard::Entrance& entrance,
                                                    peer::SinceBoot accepted);
  // Reads what `admit` left, once. Before anything is decided by the identity, or told of it.
  void read_program(ClientIdentity& identity) const;
  // Who has come as far as his uid and the listener tell it; nullopt: his process might be a namespace's, so only
  // `admit` knows.
  [[nodiscard]] std::optional<space::OwnerId> owner_by_uid(std::uint32_t uid, const guard::Entrance& entrance);
  // The user to whom the uid is lent, or the uid.
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t uid) const { return subordinates_.holder_of(uid); }
  // PeerReader::sees_others.
  [[nodiscard]] bool sees_others() const { return reader_.sees_others(); }
  // Of a client that is refused: it allows nothing.
  [[nodiscard]] static ClientIdentity stranger(const ucred& peer, const guard::Entrance& entrance);
  // Who is connected stays who he was.
  void set_policy(std::shared_ptr<const guard::Policy> policy, peer::SubordinateIds subordinates = {});
  [[nodiscard]] const guard::Policy& policy() const { return *policy_; }

  struct Tenant {
    enum class Kind : std::uint8_t { kNamespace, kListener, kUnknown, kContainers };
    Kind kind = Kind::kNamespace;
    std::string name = {};                            // of a namespace or listener
    auto operator<=>(const Tenant&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  // Nullopt: he is outside of all.
  [[nodiscard]] std::optional<Tenant> tenant_of_owner(space::OwnerId owner) const;
  // That user outside and in every tenant that was ever there, whether its users were separate or not.
  [[nodiscard]] std::vector<space::Holder> holders_of(std::uint32_t uid) const;

  // True: another policy is there than when the identity was last looked at, and the permissions follows it now.
  [[nodiscard]] bool renew(ClientIdentity& identity);
  // Another TPM; what is allowed there follows. False: none has this name.
  [[nodiscard]] bool change_chip(ClientIdentity& identity, std::string_view name);
  // From now on no more than that profile, too, and what it saves for later is its own: `connection` is a number that
  // no other has.
  enum class Narrowing : std::uint8_t { kDone, kNoSuchProfile, kTooOften };
  [[nodiscard]] Narrowing narrow(ClientIdentity& identity, std::string_view profile, std::uint64_t connection);

  // From now on it may do what both of them may, also by a later policy. It stays its own user's: what it does and
  // keeps counts for that user, whose saved sessions it may use and no others. False, and nothing has changed: they are
  // of different TPMs, namespaces or listeners, or one of them narrowed itself; or there are too many openers behind
  // it.
  [[nodiscard]] bool join(ClientIdentity& identity, const ClientIdentity& opener);

  [[nodiscard]] static guard::Verdict judge(const ClientIdentity& identity, const wire::Command& command,
                                            std::uint8_t locality) {
    return guard::judge(identity.permissions->profile(), command, locality);
  }

 private:
  // What two connections of equal rights have in common: the rules that matched, their listener's profile and locality,
  // the tenant, the user, if something is limited for each, the chip, the namespaces that they may be in, and whether
  // there is doubt.
  using Rights = std::tuple<std::vector<std::size_t>, std::string, std::optional<std::uint8_t>, peer::TenantNumber,
                            space::OwnerId, std::size_t, std::vector<std::size_t>, bool>;

  [[nodiscard]] peer::TenantNumber number_of(const Tenant& tenant);
  [[nodiscard]] space::Holder holder_in(const Tenant& tenant, bool separate_users, std::uint32_t uid);
  // Of those who are in no namespace.
  [[nodiscard]] space::Holder holder_behind(const guard::Entrance& entrance, std::uint32_t uid);
  // `homes`: the namespaces that it may be in.
  [[nodiscard]] space::Holder holder_of(const ClientIdentity& identity,
                                        const std::vector<const guard::Namespace*>& homes);
  [[nodiscard]] std::shared_ptr<const Permissions> permissions_for(const ClientIdentity& identity);
  [[nodiscard]] std::vector<space::OwnerId> owners_it_may_be(const ClientIdentity& identity);
  void sweep_permissions();
  [[nodiscard]] space::SpaceLimits limits_of(const guard::Profile& profile, const std::string& pool,
                                             const space::Holder& who, const guard::Namespace* home,
                                             const guard::Quotas& quotas);

  peer::PeerReader reader_;
  std::shared_ptr<const guard::Policy> policy_;
  std::uint64_t policies_ = 1;
  bool names_programs_ = false;                                       // the policy does
  std::shared_ptr<unsigned> unread_ = std::make_shared<unsigned>(0);  // processes
  std::vector<std::string> chips_;
  space::SpaceLimits most_;
  std::uint64_t most_bytes_;
  unsigned most_unread_;
  std::map<std::string, std::uint64_t> endless_;  // the pools of profiles with endless leases, by their names
  std::map<Tenant, peer::TenantNumber> tenants_;
  std::map<Rights, std::weak_ptr<const Permissions>> permissions_;
  std::optional<Rights> swept_;  // the last that was looked at
  peer::SubordinateIds subordinates_;
};

}  // namespace tpmspace::daemon
