#include "space/context_commands.h"

#include "space/context.h"
#include "wire/response.h"

namespace tpmspace::space {

using wire::Bytes;
using wire::ClientHandle;
using wire::Command;
using wire::Effect;
using wire::Rc;
namespace rc = wire::rc;

namespace {

Bytes refuse(Rc code) {
  return wire::error_response(wire::from_manager(code));
}

// FlushContext's and ContextLoad's handle is a parameter; libtpms answers what names nothing with these.
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
  if (!handle) return refuse(rc::in_parameter(rc::kInsufficient, 1));
  if (!in.empty()) return refuse(rc::kSize);
  if (wire::is_transient(*handle)) return flush_object(space, ClientHandle{*handle});
  if (wire::is_session(*handle)) return flush_session(space, *handle);
  return refuse(kWrongContextType);
}

Bytes ContextCommands::flush_object(SpaceId space, ClientHandle handle) {
  if (books_.spaces.at(space).objects.count(handle.value) == 0) return refuse(kUnknownContext);
  residency_.flush_object_of_client(space, handle);
  return port_.cost().tpm_lost ? refuse(rc::kFailure) : wire::success_response({});
}

// The type octet does not matter here (TPM-RULES 11). Client-saved ones of the owner may be flushed from any space.
Bytes ContextCommands::flush_session(SpaceId space, std::uint32_t handle) {
  const std::uint32_t number = wire::number_of(handle);
  // One that was taken: its client may let go of it as of any other.
  if (books_.spaces.at(space).tombstones.erase(number) != 0) return wire::success_response({});
  const auto it = books_.sessions.find(number);
  if (it == books_.sessions.end()) return refuse(number < chip_.session_numbers ? kUnknownContext : kWrongContextType);
  const Session& session = it->second;
  const bool of_owner = session.owner == books_.spaces.at(space).owner;
  if (session.space != space && !(session.client_saved && of_owner)) return refuse(kUnknownContext);
  residency_.flush_session(number, wire::Cause::kClient);
  return port_.cost().tpm_lost ? refuse(rc::kFailure) : wire::success_response({});
}

// A valid copy that we hold is as good as a new one; nothing has to move for it.
std::optional<Bytes> ContextCommands::save_known_context(SpaceId space, const Command& command) {
  if (!command.parameters().empty()) return std::nullopt;  // the TPM will say what is wrong
  const ClientHandle handle = command.handle(0);
  if (wire::is_transient(handle.value)) {
    const auto& objects = books_.spaces.at(space).objects;
    const auto it = objects.find(handle.value);
    if (it == objects.end() || it->second.context.empty()) return std::nullopt;
    return wire::success_response(it->second.context);
  }
  Session* session = usable_session(books_, space, handle.value);
  if (session == nullptr || session->loaded() || session->handle != handle.value) return std::nullopt;
  session->client_saved = true;
  session->client_copy = digest_of(session->context);
  session->last_use = books_.tick;
  return wire::success_response(session->context);
}

// Sessions never reach the TPM from a client's blob: the manager has the newest one and loads it when it is used.
std::optional<Bytes> ContextCommands::load_session_context(SpaceId space, const Command& command) {
  const auto info = read_context(command.parameters());
  if (!info) return refuse(info.error());
  if (!info->is_session()) return std::nullopt;
  const ContextDigest presented = digest_of(command.parameters());
  const OwnerId owner = books_.spaces.at(space).owner;
  for (auto& [number, session] : books_.sessions) {
    if (!session.client_saved || session.owner != owner || session.client_copy != presented) continue;
    auto& stones = books_.spaces.at(space).tombstones;
    if (const auto stone = stones.find(number); stone != stones.end()) {
      // The space had another one of that number, and may not know that it was taken.
      if (!stone->second.told) break;
      stones.erase(stone);
    }
    session.client_saved = false;
    session.space = space;
    session.last_use = books_.tick;
    session.used_at = port_.now();
    return wire::success_response(wire::Writer().u32(session.handle).take());
  }
  return refuse(kUnknownContext);
}

}  // namespace tpmspace::space
