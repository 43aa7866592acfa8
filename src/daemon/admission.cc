#include "daemon/admission.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/refusal_codes.h"

namespace tpmspace::daemon {

// The system's descriptors are a limit, too. Some are needed for other purposes than served clients: files being read,
// listeners, the TPM, newly accepted clients, and clients refused for lack of a place.
Descriptors divide_descriptors(std::uint32_t limit, std::uint32_t own) {
  const auto arrivals = limit >= limits::kManyDescriptors
                            ? limits::kArrivals
                            : std::clamp(limit / 16, std::uint32_t{1}, std::uint32_t{limits::kArrivals / 8});
  const auto unread = std::min(limit / 64, std::uint32_t{limits::kUnreadProcesses});
  const std::uint32_t others = own + limits::kPassingDescriptors + unread + limits::kAdministratorPlaces;
  const auto kept = std::max(std::min(limit / 4, std::uint32_t{limits::kKeptDescriptors}), others + 4);
  return {.clients = limit > kept + arrivals ? limit - kept - arrivals : 1,
          .refused = std::min<std::size_t>(kept - others, limits::kRefusedAtATime),
          .arrivals = arrivals,
          .unread = unread};
}

Descriptors divide_descriptors_of_process(std::size_t chips, std::size_t listeners) {
  const auto own = static_cast<std::uint32_t>(limits::kOwnDescriptors + chips * limits::kChipDescriptors +
                                              listeners * limits::kListenerDescriptors);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return divide_descriptors(static_cast<std::uint32_t>(std::min<rlim_t>(limit.rlim_cur, UINT32_MAX)), own);
}

Admission::Admission(loop::EventLoop& loop, log::Log& log, const config::Limits& limits, const Descriptors& descriptors,
                     access::AccessControl& access_control, host::Chips& chips, Clients& clients,
                     Connection::Host& host, std::function<void()> room_again)
    : log_(log),
      loop_(loop),
      limits_(limits),
      descriptors_(descriptors),
      access_control_(access_control),
      chips_(chips),
      clients_(clients),
      host_(host),
      arrivals_(loop, descriptors.arrivals,
                loop::Arrivals::Callbacks{
                    .user_of = [this](uid_t uid) { return access_control_.holder_of(uid); },
                    .is_hopeless = [this](const ucred& peer, const guard::Entrance& entrance,
                                          std::size_t waiting) { return is_hopeless(peer, entrance, waiting); },
                    .identify = [this](loop::Arrival client) { identify(std::move(client)); },
                    .room_again = std::move(room_again)}),
      refused_timer_(loop.timer([this] { drop_slow_refused(); })) {}

void Admission::identify(loop::Arrival arrived) {
  auto& [socket, peer, accepted, entrance, listener] = arrived;
  const auto verdict = listener.has_room() ? judge(peer, entrance) : Verdict::kTooManyAtListener;
  const bool has_kept_place = has_kept_place_for(peer, entrance);
  const bool is_lost = verdict != Verdict::kWelcome && !has_kept_place;
  auto identity = is_lost ? access::AccessControl::stranger(peer, entrance)
                          : access_control_.admit(socket.get(), entrance, accepted);
  if (identity) admit(std::move(socket), {*std::move(identity), std::move(listener), verdict, has_kept_place});
}

void Admission::admit(base::Fd socket, Newcomer newcomer) {
  access::ClientIdentity& identity = newcomer.identity;
  const auto verdict = newcomer.verdict == Verdict::kWelcome ? judge(identity) : newcomer.verdict;
  const bool is_usual = verdict == Verdict::kWelcome;
  // A container's root is no administrator of the machine, whatever its uid is.
  const bool is_kept = newcomer.has_kept_place && identity.permissions->profile().administer;
  const auto refusal = refusal_of(identity, verdict, is_kept);
  if (refusal && clients_.without_place() >= descriptors_.refused) return;

  if (identity.permissions->choice.in_doubt) say_in_doubt(identity);
  const host::ClientId id = clients_.next_number();
  const space::Holder holder = identity.holder();
  const auto uid = identity.who.uid;
  log_.debug("client {}: uid {}, pid {}, profile {}, namespace {}, chip {}", id, uid, identity.who.pid.value_or(0),
             identity.permissions->profile().name, identity.who.tpm_namespace.value().value_or("none"),
             chips_.name(identity.chip));
  const host::TpmHost& tpm = chips_.host(refusal ? 0 : identity.chip);
  Client client;
  client.connection =
      std::make_unique<Connection>(loop_, clients_.turns(), host_, std::move(socket), id, std::move(identity), refusal,
                                   tpm.table(), tpm.chip().chip.max_command);
  if (const auto error = client.connection->start()) {
    // The kernel's limit of watched descriptors: this client cannot be served, other clients are.
    if (const auto held_back = refused_lines_.allow(log::RateLimit::Clock::now()))
      log_.warning("a client of uid {} cannot be served, for its socket cannot be watched: {}{}", uid, error.message(),
                   log::held_back_text(*held_back));
    return;
  }
  if (!refusal) {
    client.place.emplace(clients_.places().take(
        holder, is_usual ? access::ClientLimits::Kind::kUsual : access::ClientLimits::Kind::kKept));
    client.visit.emplace(newcomer.listener.count);
  } else if (!refused_timer_.armed()) {
    refused_timer_.arm(limits::kRefusedPatience);
  }
  clients_.add(std::move(client));
}

std::optional<wire::Rc> Admission::refusal_of(const access::ClientIdentity& identity, Verdict verdict, bool is_kept) {
  if (verdict != Verdict::kWelcome && !is_kept) {
    say_refused(identity, verdict);
    return kNoPlace;
  }
  if (chips_.serves(identity.chip)) return std::nullopt;
  clients_.count_refused();
  if (const auto held_back = refused_lines_.allow(log::RateLimit::Clock::now()))
    log_.warning("a connection of uid {}, pid {} is refused: the chip \"{}\" is not there{}", identity.who.uid,
                 identity.who.pid.value_or(0), chips_.name(identity.chip), log::held_back_text(*held_back));
  return kNoChip;
}

// If a user is at its limit and the limit of refused clients waiting for their response is reached, further connections
// of the user are closed without a response. Connections waiting for identification count as well, so that one user
// does not fill the room for them.
bool Admission::is_hopeless(const ucred& peer, const guard::Entrance& entrance, std::size_t waiting) {
  if (clients_.without_place() < descriptors_.refused && waiting < limits_.connections_per_owner) return false;
  return judge(peer, entrance, waiting) != Verdict::kWelcome && !has_kept_place_for(peer, entrance);
}

Verdict Admission::judge(const ucred& peer, const guard::Entrance& entrance, std::size_t more) {
  if (clients_.places().is_full()) return Verdict::kTooMany;
  const auto owner = access_control_.owner_by_uid(peer.uid, entrance);
  if (!owner) return Verdict::kWelcome;
  const std::uint32_t most = limits_.connections_per_owner;
  return clients_.places().judge(*owner, most - static_cast<std::uint32_t>(std::min<std::size_t>(more, most)));
}

Verdict Admission::judge(const access::ClientIdentity& identity) {
  return clients_.places().judge(identity.holder(), limits_.connections_per_owner,
                                 identity.permissions->profile().limits.connections,
                                 identity.permissions->namespace_connections);
}

bool Admission::has_kept_place_for(const ucred& peer, const guard::Entrance& entrance) {
  return guard::is_reserved_listener(entrance.listener) && (peer.uid == 0 || peer.uid == own_uid_) &&
         clients_.places().has_kept_place();
}

void Admission::say_refused(const access::ClientIdentity& identity, Verdict verdict) {
  clients_.count_refused();
  const auto held_back = refused_lines_.allow(log::RateLimit::Clock::now());
  if (!held_back) return;
  const auto limit = [&] {
    switch (verdict) {
      case Verdict::kTooMany:
        return fmt::format("in all is {}", clients_.places().max_total());
      case Verdict::kTooManyOfShare:
        return fmt::format("in all is {}, of which one owner may have no more than are still free",
                           clients_.places().max_total());
      case Verdict::kTooManyOfOwner:
        return fmt::format("of one owner is {}", limits_.connections_per_owner);
      case Verdict::kTooManyOfUser:
        return fmt::format("of one user is {}", identity.permissions->profile().limits.connections);
      case Verdict::kTooManyOfNamespace:
        return fmt::format("of the namespace \"{}\" is {}", identity.who.tpm_namespace.value().value_or(""),
                           identity.permissions->namespace_connections);
      case Verdict::kTooManyAtListener:
      case Verdict::kWelcome:
        break;
    }
    return fmt::format("of the listener \"{}\" is used up", identity.entrance.listener);
  };
  log_.warning("a connection of uid {}, pid {} is refused: the limit of connections {}{}", identity.who.uid,
               identity.who.pid.value_or(0), limit(), log::held_back_text(*held_back));
}

void Admission::say_in_doubt(const access::ClientIdentity& identity) {
  const auto held_back = doubt_lines_.allow(log::RateLimit::Clock::now());
  if (!held_back) return;
  const std::string_view why =
      identity.who.is_unidentified
          ? "its process could not be read: a program that hands its connection on has to wait for a first answer"
          : "what could not be read of its process decides: tpmspace policy check says which rules and namespaces do";
  log_.warning("a connection of uid {}, pid {} is in doubt and gets the least of what it could be, profile {}; {}{}",
               identity.who.uid, identity.who.pid.value_or(0), identity.permissions->profile().name, why,
               log::held_back_text(*held_back));
}

void Admission::drop_slow_refused() {
  const auto too_old = std::chrono::steady_clock::now() - limits::kRefusedPatience;
  clients_.for_each([&](Client& client) {
    if (!client.place && client.connection->since() <= too_old) host_.over(*client.connection);
  });
  if (clients_.without_place() != 0) refused_timer_.arm(limits::kRefusedPatience);
}

}  // namespace tpmspace::daemon
