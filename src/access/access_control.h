// The guard in the event loop: each connecting client gets an identity, and the identity judges each command.
//
// Idea: an identity holds the client's attributes, read from the kernel once (peer_identity.h), the listener, and the
// resulting permissions, which connections with equal rights share. A new policy changes no identity: the next command
// is judged by the new policy's permissions for the same principal. A connection may narrow itself: the narrowing is
// kept as a separate profile, and the rights of every later policy are intersected with this profile, so narrowed
// rights never widen. An owner, whom space and queue know as a number, is a tenant, or a uid (owner_numbers.h); uids
// that /etc/subuid lends to a user count as the user. The tenant, too, is fixed at connect: a connection's contexts
// belong to its owner, and the owner cannot change. So a new policy changes the rights of a namespace's members, and
// not the membership; if the new policy lacks the namespace, the members get the rights they would get outside, at most
// `safe`.
// A client that may or may not be in a namespace, or whose process could not be read, is in a separate tenant: all
// unknown clients pay together, and saved contexts of a uid are visible only to the same uid among unknown clients. A
// container's root and the machine's root are different owners, too.
//
// A connection uses one TPM: its listener's, else its namespace's, else the main TPM. Limits hold for each TPM
// separately.
//
// Threads: belongs to the event loop. Errors: nullopt for a socket that does not identify its peer.
// Limits: one permissions for each set of rules that a connected client matches; one number for each name that a
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

namespace tpmspace::access {

// The rights of an identity.
struct Permissions {
  guard::Choice choice;
  space::SpaceLimits limits;                                // without a part: ClientIdentity::limits
  std::uint32_t namespace_connections = guard::kUnlimited;  // of all members of the client's namespace
  std::uint64_t policy = 0;                                 // the number of the policy that gave the permissions

  [[nodiscard]] const guard::Profile& profile() const { return choice.profile; }
};

// A descriptor of /proc/PID, counted.
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

// A client whose connection another client joined, and the client's listener.
struct Opener {
  guard::Principal who;
  guard::Entrance entrance;
};

struct ClientIdentity {
  guard::Principal who = {};
  space::OwnerId owner = {};
  guard::Entrance entrance = {};
  std::shared_ptr<const guard::Profile> narrowed = {};  // by the client itself, permanently; null: never
  space::Part part = {};                                // of a tenant's users, and of a narrowed connection
  unsigned narrowings = 0;                              // number of narrowings
  std::shared_ptr<const UnreadProcess> process = {};    // not yet read by `read_program`; null: already read
  std::vector<Opener> openers = {};                     // the rights are limited to the rights of each opener
  std::size_t chip = 0;                                 // index of the client's TPM among the names
  bool limits_pending = false;                          // the TPM's thread does not know the limits of the permissions
                                                        // yet
  std::shared_ptr<const Permissions> permissions = {};  // never null

  [[nodiscard]] space::Holder holder() const { return {owner, part}; }
  // The client shares its owner's account, but may not see the owner's other sessions.
  [[nodiscard]] bool is_guest() const { return narrowed || !openers.empty(); }
  [[nodiscard]] space::SpaceLimits limits() const {
    space::SpaceLimits out = permissions->limits;
    out.part = part;
    return out;
  }
};

class AccessControl {
 public:
  // No space gets more than `most`, except for the terms of its sessions, which its profile sets.
  // `most_bytes`: saved contexts in total.
  // `chips`: the names of the served TPMs; the main TPM is the first.
  // `most_unread`: identities whose program is not read yet.
  AccessControl(std::shared_ptr<const guard::Policy> policy, std::vector<std::string> chips,
                const space::SpaceLimits& most, std::uint64_t most_bytes,
                unsigned most_unread = limits::kUnreadProcesses);

  // `accepted`: as in PeerReader::read. Attributes of the program that the policy does not name are left to
  // `read_program`.
  [[nodiscard]] std::optional<ClientIdentity> admit(int socket, const guard::Entrance& entrance,
                                                    peer::SinceBoot accepted);
  // The identity of a client whose attributes another part has read.
  [[nodiscard]] std::optional<ClientIdentity> admit(guard::Principal who, const guard::Entrance& entrance);
  // Reads, once, the attributes that `admit` left. Call before a decision on the identity or a report of it.
  void read_program(ClientIdentity& identity) const;
  // The owner, as far as uid and listener determine the owner; nullopt: the process might be in a namespace, so only
  // `admit` can tell.
  [[nodiscard]] std::optional<space::OwnerId> owner_by_uid(std::uint32_t uid, const guard::Entrance& entrance);
  // The holder of a subordinate uid; of any other uid, the uid itself.
  [[nodiscard]] std::uint32_t holder_of(std::uint32_t uid) const { return subordinates_.holder_of(uid); }
  // PeerReader::sees_others.
  [[nodiscard]] bool sees_others() const { return reader_.sees_others(); }
  // The identity of a refused client: without any right.
  [[nodiscard]] static ClientIdentity stranger(const ucred& peer, const guard::Entrance& entrance);
  // Connected clients keep their identity.
  void set_policy(std::shared_ptr<const guard::Policy> policy, peer::SubordinateIds subordinates = {});
  [[nodiscard]] const guard::Policy& policy() const { return *policy_; }

  struct Tenant {
    enum class Kind : std::uint8_t { kNamespace, kListener, kUnknown, kContainers };
    Kind kind = Kind::kNamespace;
    std::string name = {};                            // name of a namespace or listener
    auto operator<=>(const Tenant&) const = default;  // NOLINT(modernize-use-nullptr): clang-tidy 14 errs
  };
  // Nullopt: the owner is outside all tenants.
  [[nodiscard]] std::optional<Tenant> tenant_of_owner(space::OwnerId owner) const;
  // The user outside and in every tenant that ever existed, with separate users and without.
  [[nodiscard]] std::vector<space::Holder> holders_of(std::uint32_t uid) const;

  // True: the policy has changed since the last call for the identity, and the permissions follow the new policy.
  [[nodiscard]] bool renew(ClientIdentity& identity);
  // Changes the TPM and the rights accordingly. False: no TPM has this name.
  [[nodiscard]] bool change_chip(ClientIdentity& identity, std::string_view name);
  // Also limits the identity to the profile from now on, and separates its saved contexts: `connection` is a unique
  // number.
  enum class Narrowing : std::uint8_t { kDone, kNoSuchProfile, kTooOften };
  [[nodiscard]] Narrowing narrow(ClientIdentity& identity, std::string_view profile, std::uint64_t connection);

  // Limits the identity to the rights that both have, also under later policies. The identity keeps its own user: its
  // commands and saved contexts count for the user, and it may use only the user's saved sessions. False without a
  // change if the two have different TPMs, namespaces or listeners, if one narrowed itself, or if there are too many
  // openers.
  [[nodiscard]] bool join(ClientIdentity& identity, const ClientIdentity& opener);

  [[nodiscard]] static guard::Verdict judge(const ClientIdentity& identity, const wire::Command& command,
                                            std::uint8_t locality) {
    return guard::judge(identity.permissions->profile(), command, locality);
  }

 private:
  // The common properties of connections with equal rights: the matching rules, the listener's profile and locality,
  // the tenant, the user (if a limit is for each user), the chip, the possible namespaces, and the doubt.
  using Rights = std::tuple<std::vector<std::size_t>, std::string, std::optional<std::uint8_t>, peer::TenantNumber,
                            space::OwnerId, std::size_t, std::vector<std::size_t>, bool>;

  [[nodiscard]] peer::TenantNumber number_of(const Tenant& tenant);
  [[nodiscard]] space::Holder holder_in(const Tenant& tenant, bool separate_users, std::uint32_t uid);
  // The holder outside all namespaces.
  [[nodiscard]] space::Holder holder_behind(const guard::Entrance& entrance, std::uint32_t uid);
  // `homes`: the possible namespaces of the identity.
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
  bool names_programs_ = false;                                       // the policy names programs
  std::shared_ptr<unsigned> unread_ = std::make_shared<unsigned>(0);  // number of unread processes
  std::vector<std::string> chips_;
  space::SpaceLimits most_;
  std::uint64_t most_bytes_;
  unsigned most_unread_;
  std::map<std::string, std::uint64_t> endless_;  // the pools of profiles with endless leases, by name
  std::map<Tenant, peer::TenantNumber> tenants_;
  std::map<Rights, std::weak_ptr<const Permissions>> permissions_;
  std::optional<Rights> swept_;  // the last entry checked
  peer::SubordinateIds subordinates_;
};

}  // namespace tpmspace::access
