#include "space/context_commands.h"

#include <utility>
#include <vector>

#include "books/context.h"
#include "space/pools.h"
#include "wire/response.h"

namespace tpmspace::space {

using wire::Bytes;
using wire::ClientHandle;
using wire::Command;
using wire::Effect;
using wire::Rc;
namespace rc = wire::rc;

namespace {

// The handle of FlushContext and ContextLoad is a parameter; libtpms answers an unknown handle with these codes.
constexpr Rc kUnknownContext = rc::in_parameter(rc::kHandle, 1);   // 1CB
constexpr Rc kWrongContextType = rc::in_parameter(rc::kValue, 1);  // 1C4

}  // namespace

std::optional<Bytes> ContextCommands::answer(SpaceId space, const Command& command) {
  switch (command.row().effect) {
    case Effect::kFlushContext:
      return flush_context(space, command);
    case Effect::kContextSave:
      return save_known_context(space, command);
    case Effect::kContextLoad:
      return load_session_context(space, command);
    default:
      return std::nullopt;
  }
}

Bytes ContextCommands::flush_context(SpaceId space, const Command& command) {
  wire::Reader in(command.parameters());
  const auto handle = in.u32();
  if (!handle) return wire::manager_error(rc::in_parameter(rc::kInsufficient, 1));
  if (!in.empty()) return wire::manager_error(rc::kSize);
  if (wire::is_transient(*handle)) return flush_object(space, ClientHandle{*handle});
  if (wire::is_session(*handle)) return flush_session(space, *handle);
  return wire::manager_error(kWrongContextType);
}

Bytes ContextCommands::flush_object(SpaceId space, ClientHandle handle) {
  // The object was taken: the client may flush the handle like any other.
  if (space_of(books_, space).taken_objects.erase(handle.value) != 0) return wire::success_response({});
  if (space_of(books_, space).objects.count(handle.value) == 0) return wire::manager_error(kUnknownContext);
  residency_.flush_object_of_client(space, handle);
  return port_.cost().tpm_lost ? wire::manager_error(rc::kFailure) : wire::success_response({});
}

// The type byte does not matter here (docs/tpm-behaviour.md 11). Any space of the owner may flush client-saved
// sessions.
Bytes ContextCommands::flush_session(SpaceId space, std::uint32_t handle) {
  const std::uint32_t number = wire::number_of(handle);
  // The session was taken: the client may flush the handle like any other.
  if (space_of(books_, space).tombstones.erase(number) != 0) return wire::success_response({});
  // First a session that this space can use under that number, then saved sessions.
  if (const Session* session = usable_session(books_, space, handle)) {
    residency_.flush_session(wire::number_of(session->handle), wire::Cause::kClient);
    return port_.cost().tpm_lost ? wire::manager_error(rc::kFailure) : wire::success_response({});
  }
  if (parked_session(books_, space, handle) != nullptr) {
    (void)take_parked(books_, {space, number});
    return wire::success_response({});
  }
  return flush_saved_sessions(space, number);
}

// Among saved sessions of the number, the session that this connection saved is meant. If this connection saved none,
// all are flushed (docs/decisions/0016): a list shows the number once, and after a flush of each listed number no
// session must be left.
Bytes ContextCommands::flush_saved_sessions(SpaceId space, std::uint32_t number) {
  const Space& here = space_of(books_, space);
  std::vector<std::uint32_t> in_tpm;
  std::vector<ContextDigest> parked;
  bool saved_here = false;
  const auto is_meant = [&](const Session& session) {
    if (!session.client_saved || wire::number_of(session.client.value) != number) return false;
    if (saved_here || !may_take_up(here, session)) return false;
    if (session.space == space) {
      saved_here = true;
      in_tpm.clear();
      parked.clear();
    }
    return true;
  };
  for (const auto& [at_tpm, session] : books_.sessions)
    if (is_meant(session)) in_tpm.push_back(at_tpm);
  for_each_file(books_, here.owner, [&](const Session& session) {
    if (is_meant(session)) parked.push_back(session.client_copy);
  });
  if (in_tpm.empty() && parked.empty())
    return wire::manager_error(number < chip_.session_numbers ? kUnknownContext : kWrongContextType);
  for (const ContextDigest& copy : parked) (void)take_parked_file(books_, copy);
  for (const std::uint32_t one : in_tpm) residency_.flush_session(one, wire::Cause::kClient);
  return port_.cost().tpm_lost ? wire::manager_error(rc::kFailure) : wire::success_response({});
}

// A valid copy is as good as a new one, so no entity has to move.
std::optional<Bytes> ContextCommands::save_known_context(SpaceId space, const Command& command) {
  if (!command.parameters().empty()) return std::nullopt;  // the TPM reports the error
  const ClientHandle handle = command.handle(0);
  if (wire::is_transient(handle.value)) {
    const auto& objects = space_of(books_, space).objects;
    const auto it = objects.find(handle.value);
    if (it == objects.end() || it->second.context.empty()) return std::nullopt;
    return wire::success_response(it->second.context);
  }
  if (const Session* parked = parked_session(books_, space, handle.value); parked != nullptr)
    return parked->client == handle ? std::optional(save_parked(space, handle)) : std::nullopt;
  Session* session = usable_session(books_, space, handle.value);
  if (session == nullptr || session->loaded() || session->client != handle) return std::nullopt;
  session->client_saved = true;
  session->client_copy = digest_of(session->context);
  session->last_use = books_.tick;
  session->used_at = port_.now();
  return wire::success_response(session->context);
}

// The client gets a token for the parked session (docs/tpm-behaviour.md 15), so the session need not be rebuilt.
Bytes ContextCommands::save_parked(SpaceId space, ClientHandle handle) {
  constexpr std::uint32_t kNullHierarchy = 0x40000007;
  auto parked = take_parked(books_, {space, wire::number_of(handle.value)});
  if (!TPMSPACE_HOLDS(parked.has_value())) return wire::manager_error(rc::kFailure);
  Session& session = *parked;
  // All tokens are different, even from different processes or times.
  const Bytes mark =
      wire::Writer().u32(books_.reset_count).u64(port_.now()).u64(++books_.last_token).u64(space.value).take();
  const Bytes token =
      wire::Writer().u64(books_.newest_sequence).u32(handle.value).u32(kNullHierarchy).tpm2b(mark).take();
  session.client_saved = true;
  session.client_copy = digest_of(token);
  session.last_use = books_.tick;
  session.used_at = port_.now();
  (void)add_parked(books_, std::move(session));
  return wire::success_response(token);
}

// A session's context from a client never reaches the TPM: the manager has the newest context and loads it at the next
// use.
std::optional<Bytes> ContextCommands::load_session_context(SpaceId space, const Command& command) {
  const auto info = read_context(command.parameters());
  if (!info) return wire::manager_error(info.error());
  if (!info->is_session()) return std::nullopt;
  const ContextDigest presented = digest_of(command.parameters());
  const Space& here = space_of(books_, space);
  for (auto& [number, session] : books_.sessions)
    if (session.client_saved && may_take_up(here, session) && session.client_copy == presented)
      return take_up(space, session);
  const auto file = books_.parked_files.find(presented);
  if (file == books_.parked_files.end() || !may_take_up(here, file->second))
    return wire::manager_error(kUnknownContext);
  auto session = take_parked_file(books_, presented);
  if (!TPMSPACE_HOLDS(session.has_value())) return wire::manager_error(rc::kFailure);
  Bytes answer = take_up(space, *session);
  (void)add_parked(books_, std::move(*session));
  return answer;
}

std::optional<Holder> ContextCommands::saver_of(SpaceId space, const Command& command) const {
  if (command.row().effect != Effect::kContextLoad) return std::nullopt;
  const auto info = read_context(command.parameters());
  if (!info || !info->is_session()) return std::nullopt;
  const ContextDigest presented = digest_of(command.parameters());
  const Session* found = nullptr;
  for (const auto& [number, session] : books_.sessions)
    if (session.client_copy == presented) found = &session;  // also if the client has loaded the session since
  if (const auto file = books_.parked_files.find(presented); file != books_.parked_files.end()) found = &file->second;
  if (found == nullptr || may_take_up(space_of(books_, space), *found)) return std::nullopt;
  return Holder{found->owner, found->part};
}

// If the number is already in use in the space, the session gets another number. Another pool must have room for the
// session.
Bytes ContextCommands::take_up(SpaceId space, Session& session) {
  if (!pools_admit(books_, space, session)) return wire::manager_error(rc::kSessionHandles);
  auto& stones = space_of(books_, space).tombstones;
  const std::uint32_t old = wire::number_of(session.client.value);
  if (const auto stone = stones.find(old); stone != stones.end() && stone->second.told) stones.erase(stone);
  const SpaceId saved_in =
      std::exchange(session.space, SpaceId{});  // the session's own entry must not make its number taken
  if (is_taken_in(books_, space, old)) {
    std::uint32_t number = 0;
    while (number < chip_.session_numbers && is_taken_in(books_, space, number)) ++number;
    if (number == chip_.session_numbers) {
      session.space = saved_in;
      return wire::manager_error(rc::kSessionHandles);
    }
    session.client = ClientHandle{(session.client.value & 0xFF000000) | number};
  }
  session.client_saved = false;
  session.space = space;
  session.left_pools = {};
  session.last_use = books_.tick;
  session.used_at = port_.now();
  return wire::success_response(wire::Writer().u32(session.client.value).take());
}

}  // namespace tpmspace::space
