#include "tpm/seen_entities.h"

#include <functional>
#include <string_view>

#include "wire/handle.h"

namespace tpmspace::tpm {
namespace {

using wire::Creates;
using wire::Effect;
using wire::Reader;

// A context contains a digest that only the TPM can make, so two different contexts have different hashes.
std::size_t digest_of(wire::ByteView context) {
  return std::hash<std::string_view>{}(
      std::string_view(static_cast<const char*>(static_cast<const void*>(context.data())), context.size()));
}

std::optional<std::uint32_t> handle_in(wire::ByteView response) {
  return Reader(response.subspan(wire::kHeaderSize)).u32();
}

// The first parameter is empty only if LoadExternal loads a public area alone. The second parameter is a TPM2B_PUBLIC,
// which begins with the type.
SeenEntities::Key key_in(const wire::Command& command) {
  Reader in(command.parameters());
  SeenEntities::Key out;
  const auto first = in.tpm2b();
  if (!first) return out;
  out.is_public_only = command.code() == wire::cc::kLoadExternal && first->empty();
  if (const auto area = in.tpm2b()) out.type = Reader(*area).u16();
  return out;
}

}  // namespace

bool SeenEntities::concerns(const wire::CommandRow& row) {
  return row.has_response_handle() || row.flushes_handle >= 0 || row.effect != Effect::kNone ||
         row.code == wire::cc::kEvictControl;
}

void SeenEntities::learn(const wire::Command& command, wire::ByteView response) {
  const wire::CommandRow& row = command.row();
  const auto created = row.has_response_handle() ? handle_in(response) : std::nullopt;
  if (created && !wire::is_session(*created)) forget(*created);
  if (row.flushes_handle >= 0) forget(command.handle(static_cast<std::size_t>(row.flushes_handle)).value);
  if (row.code == wire::cc::kEvictControl)
    if (const auto persistent = Reader(command.parameters()).u32()) forget(*persistent);
  if (row.effect != Effect::kNone)
    learn_effect(command, response, created);
  else if (created)
    learn_created(command, *created);
}

void SeenEntities::learn_effect(const wire::Command& command, wire::ByteView response,
                                std::optional<std::uint32_t> created) {
  switch (command.row().effect) {
    case Effect::kContextSave:
      if (const auto known = keys_.find(command.handle(0).value); known != keys_.end())
        remember(response.subspan(wire::kHeaderSize), known->second);
      return;
    case Effect::kContextLoad:
      if (const auto known = contexts_.find(digest_of(command.parameters())); created && known != contexts_.end())
        keys_[*created] = known->second;
      return;
    case Effect::kFlushContext:
      if (const auto gone = Reader(command.parameters()).u32()) forget(*gone);
      return;
    default:  // a hierarchy or the whole TPM was emptied
      keys_.clear();
      return;
  }
}

void SeenEntities::learn_created(const wire::Command& command, std::uint32_t handle) {
  constexpr auto kNothing = static_cast<std::uint32_t>(wire::Hierarchy::kNull);
  switch (command.row().creates) {
    case Creates::kObject:
      keys_[handle] = key_in(command);
      return;
    case Creates::kSession:
      if (command.handle(1).value == kNothing)
        unbound_.insert(wire::number_of(handle));
      else
        unbound_.erase(wire::number_of(handle));
      return;
    case Creates::kSequence:  // a sequence has an authorization of its own
      keys_[handle] = {.type = std::nullopt, .is_public_only = false};
      return;
    default:
      return;
  }
}

SeenEntities::Key SeenEntities::key(std::uint32_t handle) const {
  const auto found = keys_.find(handle);
  return found == keys_.end() ? Key{} : found->second;
}

bool SeenEntities::is_unbound(std::uint32_t session) const {
  return unbound_.contains(wire::number_of(session));
}

void SeenEntities::forget(std::uint32_t handle) {
  if (wire::is_session(handle))
    unbound_.erase(wire::number_of(handle));
  else
    keys_.erase(handle);
}

void SeenEntities::remember(wire::ByteView context, const Key& key) {
  const Digest digest = digest_of(context);
  if (!contexts_.insert_or_assign(digest, key).second) return;
  oldest_first_.push_back(digest);
  if (oldest_first_.size() <= kMaxContexts) return;
  contexts_.erase(oldest_first_.front());
  oldest_first_.pop_front();
}

}  // namespace tpmspace::tpm
