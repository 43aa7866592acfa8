#include "space/view_commands.h"

#include <algorithm>

#include "space/capability_view.h"
#include "space/chip_lists.h"

namespace tpmspace::space {

using wire::Command;
using wire::Rc;
namespace rc = wire::rc;

namespace {

// Whether the first parameter is a persistent handle that the window renumbers.
bool names_persistent(const View* view, const Command& command) {
  return view != nullptr && view->persistent_base != 0 && command.row().names.what == wire::Names::kPersistent;
}

bool audits(const Command& command) {
  const auto& sessions = command.authorizations();
  return std::any_of(sessions.begin(), sessions.end(), [](const wire::Authorization& session) {
    return (session.attributes & wire::session_attribute::kAudit) != 0;
  });
}

}  // namespace

std::optional<Rc> refusal_by_view(const View* view, const Command& command) {
  if (const auto query = capability_query(command); query && command.has_sessions() && hides(view, *query))
    return rc::kAuthContext;
  if (!names_persistent(view, command)) return std::nullopt;
  wire::Reader in(command.parameters());
  const auto handle = in.u32();
  if (!handle) return rc::in_parameter(rc::kInsufficient, 1);
  if (!in.empty()) return rc::kSize;
  if (!wire::is_persistent(*handle)) return rc::in_parameter(rc::kValue, 1);
  if (!persistent_at_tpm(view, wire::ClientHandle{*handle})) return rc::in_parameter(rc::kHandle, 1);
  // The audit digest would cover other parameters than the client's.
  if (audits(command) && parameters_at_tpm(view, command)) return rc::kAuthContext;
  return std::nullopt;
}

std::optional<wire::Bytes> parameters_at_tpm(const View* view, const Command& command) {
  if (const auto query = capability_query(command); query && hides(view, *query)) return question(*view, *query);
  if (!names_persistent(view, command)) return std::nullopt;
  const auto handle = wire::Reader(command.parameters()).u32().value_or(0);
  const auto at_tpm = persistent_at_tpm(view, wire::ClientHandle{handle});
  if (!at_tpm || at_tpm->value == handle) return std::nullopt;
  return wire::Writer().u32(at_tpm->value).take();
}

}  // namespace tpmspace::space
