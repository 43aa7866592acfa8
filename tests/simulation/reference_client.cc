#include "reference_client.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "wire/handle.h"

namespace tpmspace::simulation {
namespace {

using speech::Heard;

template <typename T>
void keep_newest(std::vector<T>& list) {
  if (list.size() > kRemembered) list.erase(list.begin());
}

}  // namespace

void ReferenceClient::remember(Entity entity) {
  for (auto& other : entities_)
    if (other.alive && other.kind != EntityKind::kSession && other.handle[0] == entity.handle[0]) other.alive = false;
  entities_.push_back(std::move(entity));
  keep_newest(entities_);
}

Entity* ReferenceClient::find_session(std::uint32_t handle, std::size_t side) {
  for (auto& entity : entities_)
    if (entity.kind == EntityKind::kSession && entity.alive &&
        wire::number_of(entity.handle[side]) == wire::number_of(handle))
      return &entity;
  return nullptr;
}

void ReferenceClient::lose_session(std::uint32_t handle, std::size_t side) {
  if (Entity* session = find_session(handle, side)) session->alive = false;
}

void ReferenceClient::end_session(const Handles& handle) {
  lose_session(handle[0]);
}

void ReferenceClient::end(const Handles& handle) {
  if (wire::is_session(handle[0])) return end_session(handle);
  for (auto& entity : entities_)
    if (entity.kind != EntityKind::kSession && entity.handle[0] == handle[0]) entity.alive = false;
}

void ReferenceClient::forget_volatile() {
  for (auto& entity : entities_) entity.alive = false;
}

namespace {

// The digest of a policy after a step that turns an empty policy into `step`.
Entity::Policy after(Entity::Policy before, Entity::Policy step) {
  using Policy = Entity::Policy;
  if (step == Policy::kNothing) return step;  // set back
  if (step == Policy::kBranch) return before == Policy::kUnseal || before == Policy::kPcr ? step : Policy::kOther;
  return before == Policy::kNothing ? step : Policy::kOther;
}

}  // namespace

void ReferenceClient::learn_policy(const Utterance& utterance) {
  // A successful use in the authorization area resets the digest (tpm-behaviour 22).
  for (const auto& session : utterance.used_sessions)
    if (Entity* used = find_session(session[0], 0)) used->policy = Entity::Policy::kNothing;
  if (!utterance.policy) return;
  if (Entity* session = find_session(utterance.handle[0], 0))
    session->policy = after(session->policy, *utterance.policy);
}

void ReferenceClient::learn(const Utterance& utterance, const std::array<Heard, kSides>& heard) {
  if (!heard[0].ok()) return;
  for (const auto& session : utterance.ending_sessions) end_session(session);
  learn_policy(utterance);
  switch (utterance.verb) {
    case Verb::kCreate: {
      Wrapped wrapped;
      wrapped.about = *utterance.makes;
      wrapped.parent = utterance.handle;
      for (std::size_t s = 0; s < kSides; ++s)
        wrapped.bytes[s] = wire::Writer().tpm2b(heard[s].tpm2b(0)).tpm2b(heard[s].tpm2b(1)).take();
      pool_->wrapped.push_back(std::move(wrapped));
      keep_newest(pool_->wrapped);
      return;
    }
    case Verb::kContextSave: {
      Blob blob;
      for (const auto& entity : entities_)
        if (entity.alive && entity.handle[0] == utterance.handle[0]) blob.about = entity;
      blob.about.handle = utterance.handle;
      if (wire::is_session(utterance.handle[0])) blob.about.kind = EntityKind::kSession;
      for (std::size_t s = 0; s < kSides; ++s) blob.context[s] = heard[s].parameters;
      blob.client = id_;
      blob.serial = pool_->next_serial++;
      if (Entity* session = wire::is_session(utterance.handle[0]) ? find_session(utterance.handle[0], 0) : nullptr)
        session->saved = true;
      // A manager may give the very same bytes again: then this is the blob, and the older one is no other.
      std::erase_if(pool_->blobs, [&](const Blob& other) { return other.context[0] == blob.context[0]; });
      pool_->blobs.push_back(std::move(blob));
      keep_newest(pool_->blobs);
      return;
    }
    case Verb::kFlush:
    case Verb::kSequenceComplete:
    case Verb::kEventComplete:
      return end(utterance.handle);
    default:
      break;
  }
  if (!utterance.makes || heard[0].handle == 0) return;
  Entity made = *utterance.makes;
  made.alive = true;
  made.saved = false;
  for (std::size_t s = 0; s < kSides; ++s) made.handle[s] = heard[s].handle;
  if (utterance.verb == Verb::kLoad || utterance.verb == Verb::kCreateLoaded)
    made.parent = wire::is_transient(utterance.handle[0]) ? utterance.handle : std::array<std::uint32_t, kSides>{};
  if (made.kind == EntityKind::kSession) end_session(made.handle);
  remember(std::move(made));
}

wire::Bytes ReferenceClient::unlearn_save(const Utterance& utterance) {
  if (Entity* session = find_session(utterance.handle[0], 0)) session->saved = false;
  wire::Bytes own = std::move(pool_->blobs.back().context[1]);
  pool_->blobs.pop_back();
  return own;
}

namespace {

bool says_digest(Verb verb) {
  return verb == Verb::kSign || verb == Verb::kUnseal || verb == Verb::kPcrRead || verb == Verb::kProperty;
}

}  // namespace

std::string difference(const Utterance& utterance, const std::array<Heard, kSides>& heard, const Likeness& likeness) {
  const auto say = [&](std::string_view what) { return fmt::format("{}: {}", utterance.text, what); };
  if (heard[0].code != heard[1].code)
    return say(fmt::format("codes differ: {:#x} and {:#x}", heard[0].code, heard[1].code));
  const bool session = wire::is_session(heard[0].handle);
  if (session != wire::is_session(heard[1].handle) ||
      ((!session || likeness.same_sessions) && heard[0].handle != heard[1].handle))
    return say(fmt::format("handles differ: {:#x} and {:#x}", heard[0].handle, heard[1].handle));
  if (heard[0].session_attributes != heard[1].session_attributes) return say("session attributes differ");
  if (says_digest(utterance.verb) && heard[0].parameters != heard[1].parameters)
    return say(fmt::format("results differ: {:02x} and {:02x}", fmt::join(heard[0].parameters, ""),
                           fmt::join(heard[1].parameters, "")));
  if (utterance.verb == Verb::kSequenceComplete && heard[0].tpm2b(0) != heard[1].tpm2b(0))
    return say("digests differ: an old state of the sequence was used");
  if (utterance.verb == Verb::kPolicyPlain && likeness.compare_policy_digests &&
      heard[0].parameters != heard[1].parameters)
    return say("policy digests differ");
  if (utterance.verb == Verb::kListHandles && likeness.same_sessions && heard[0].parameters != heard[1].parameters)
    return say(fmt::format("lists differ: {:02x} and {:02x}", fmt::join(heard[0].parameters, ""),
                           fmt::join(heard[1].parameters, "")));
  if (likeness.exact && utterance.verb == Verb::kReadPublic && heard[0].parameters != heard[1].parameters)
    return say("public areas differ: not the same object");
  return {};
}

}  // namespace tpmspace::simulation
