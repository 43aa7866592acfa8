// Results that a client did not receive, and notes of the engine about a client's commands.
#include <utility>

#include "space/manager.h"

namespace tpmspace::space {

// The nonces that the client knows until the response is delivered.
void Manager::note_nonces(const Plan& plan, Outcome& outcome) {
  for (const wire::Authorization& authorization : plan.command->authorizations()) {
    const Session* session = usable_session(books_, plan.space, authorization.handle.value);
    if (session != nullptr) outcome.nonces.emplace_back(session->client, session->nonce);
  }
}

void Manager::undo(SpaceId space, const Outcome& outcome) {
  if (!is_open(space)) return;
  const auto before = session_book_.before(space);
  for (const auto& [client, nonce] : outcome.nonces) {
    Session* session = usable_session(books_, space, client.value);
    if (session == nullptr) continue;
    session->nonce = nonce;
    session->stale = true;
  }
  if (outcome.saved_session) undo_save(space, wire::number_of(*outcome.saved_session));
  if (outcome.loaded_session) {
    if (Session* session = usable_session(books_, space, *outcome.loaded_session)) {
      session->client_saved = true;
    } else if (auto parked = take_parked(books_, {space, wire::number_of(*outcome.loaded_session)})) {
      parked->client_saved = true;
      (void)add_parked(books_, std::move(*parked));
    }
  }
  if (!outcome.created) return;
  if (wire::is_session(outcome.created->value)) {
    if (const Session* session = usable_session(books_, space, outcome.created->value))
      session_book_.drop(wire::number_of(session->handle));
  } else if (space_of(books_, space).objects.count(outcome.created->value) != 0) {
    residency_.drop_object(space, *outcome.created);
  }
  session_book_.settle_places(before, nullptr);
}

// For a context that the client did not receive.
void Manager::undo_save(SpaceId space, std::uint32_t number) {
  const auto is_it = [&](const Session& session) {
    return session.client_saved && session.space == space && wire::number_of(session.client.value) == number;
  };
  for (auto& [at_tpm, session] : books_.sessions)
    if (is_it(session)) session.client_saved = false;
  std::optional<ContextDigest> file;
  for_each_file(books_, space_of(books_, space).owner, space, [&](const Session& one) {
    if (is_it(one) && one.last_use == books_.tick) file = one.client_copy;
  });
  if (!file) return;
  auto session = take_parked_file(books_, *file);
  if (!session) return;
  session->client_saved = false;
  (void)add_parked(books_, std::move(*session));
}

// --- notes

void Manager::note_number(SpaceId space, const Outcome& outcome, std::uint64_t number) {
  if (!outcome.created) return;
  if (Object* object = find_object(books_, space, *outcome.created)) object->made_by = number;
}

void Manager::note_waited_for(SpaceId space, const Outcome& outcome) {
  if (!outcome.created) return;
  Session* session = usable_session(books_, space, outcome.created->value);
  if (session != nullptr && session->served_at == 0) session->served_at = port_.now();
}

void Manager::await(SpaceId space, const wire::Command& command, bool awaited) {
  for (const std::uint32_t handle : sessions_in(command))
    if (Session* session = known_session(books_, space, handle)) session->awaited = awaited;
}

}  // namespace tpmspace::space
