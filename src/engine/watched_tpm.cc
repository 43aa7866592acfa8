#include "engine/watched_tpm.h"

#include "wire/command.h"
#include "wire/rc.h"
#include "wire/response.h"

namespace tpmspace::engine {

wire::Tpm::Answer WatchedTpm::once(wire::ByteView command, std::uint8_t locality) {
  Gate::Running running;
  const auto header = wire::read_header(command);
  running.code = header ? header->code : 0;
  const wire::CommandRow* row = table_.find(running.code);
  running.deadline_ms = wire::deadline_ms(row != nullptr ? row->duration : wire::DurationClass::kLong);
  if (!gate_.enter(running, cancelable_)) return wire::manager_error(wire::rc::kCanceled);
  auto answer = tpm_.transact(command, locality);
  gate_.leave();
  return answer;
}

wire::Tpm::Answer WatchedTpm::transact(wire::ByteView command, std::uint8_t locality) {
  auto answer = once(command, locality);
  if (!answer || (cancelable_ && gate_.was_cancelled())) return answer;
  const auto header = wire::read_header(*answer);
  if (header && header->code == wire::rc::kCanceled) return once(command, locality);
  return answer;
}

}  // namespace tpmspace::engine
