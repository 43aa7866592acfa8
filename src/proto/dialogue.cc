#include "proto/dialogue.h"

#include <fmt/core.h>

#include <utility>
#include <variant>

#include "proto/message_table.h"
#include "proto/overloaded.h"
#include "wire/response.h"

namespace tpmspace::proto {
namespace {

Refusal refusal(std::uint32_t type, wire::Rc code) {
  return {.type = type, .code = code, .version = kProtocolVersion};
}
Refusal refusal(MessageType type, wire::Rc code) {
  return refusal(static_cast<std::uint32_t>(type), code);
}

// Part 1, 17: 0..4, and 32..255 as the extended localities.
bool is_locality(std::uint8_t value) {
  return value <= 4 || value >= 32;
}

bool waits_its_turn(const Arrival& arrival) {
  const auto* control = std::get_if<ControlFrame>(&arrival);
  return control == nullptr || control->type == static_cast<std::uint32_t>(MessageType::kSync);
}

}  // namespace

Dialogue::Dialogue(Manager& manager, const wire::CommandTable& table, std::size_t max_command, Beginning beginning)
    : manager_(manager),
      table_(&table),
      max_command_(max_command),
      refusal_(beginning.refusal),
      reader_(max_command),
      locality_(beginning.locality) {}

void Dialogue::speak_to(const wire::CommandTable& table, std::size_t max_command) {
  table_ = &table;
  max_command_ = max_command;
  reader_.set_max_frame(max_command);
}

void Dialogue::feed(wire::ByteView data) {
  reader_.feed(data);
  drained_ = false;
}

void Dialogue::drop_input() {
  over_ = true;
  held_.reset();
}

bool Dialogue::wants_input() const {
  return !ended_ && !over_ && !held_ && !replying_ && drained_ && output().empty();
}

bool Dialogue::finished() const {
  if (in_flight_ || replying_ || !output().empty()) return false;
  return over_ || (ended_ && !held_ && drained_);
}

bool Dialogue::step() {
  if (over_ || replying_ || !output().empty()) return false;
  if (held_) {
    if (in_flight_) return false;
    take(*std::exchange(held_, std::nullopt));
    return true;
  }
  auto arrival = reader_.next();
  if (!arrival) {
    drained_ = true;
    return false;
  }
  if (refusal_)
    refuse_everything(*arrival);
  else if (in_flight_ && waits_its_turn(*arrival))
    held_ = std::move(arrival);
  else
    take(std::move(*arrival));
  return true;
}

void Dialogue::answer(wire::ByteView response) {
  in_flight_ = false;
  if (!std::exchange(joining_, false)) return put(response);
  const auto header = wire::read_header(response);
  const wire::Rc code = header ? header->code : wire::from_manager(wire::rc::kFailure);
  reply(code == wire::rc::kSuccess ? Reply(JoinReply{}) : refusal(MessageType::kJoin, code));
}

void Dialogue::reply(const Reply& what) {
  replying_ = false;
  // After a refused Join the commands would run in a space that is not the one they are meant for.
  const auto* refused = std::get_if<Refusal>(&what);
  if (refused != nullptr && refused->type == static_cast<std::uint32_t>(MessageType::kJoin)) over_ = true;
  put(encode(what));
}

void Dialogue::sent(std::size_t octets) {
  sent_ += octets;
  if (sent_ != output_.size()) return;
  output_.clear();
  sent_ = 0;
  // A status reply is large and rare; a connection is small and many.
  if (output_.capacity() > 2 * kMaxControlSize) output_.shrink_to_fit();
}

void Dialogue::take(Arrival arrival) {
  std::visit(Overloaded{
                 [&](TpmFrame& frame) { take_command(std::move(frame.bytes)); },
                 [&](ControlFrame& frame) { take_control(frame); },
                 [&](BadSize& bad) { take_bad_size(bad.type, bad.control); },
                 [&](TooLarge& bad) {
                   take_bad_size(bad.type, bad.control);
                   over_ = true;
                   manager_.cut_off(fmt::format("sent a frame that claims to be {} bytes long; {} are the most",
                                                bad.size, kMaxFrameSize));
                 },
             },
             arrival);
}

void Dialogue::take_command(wire::Bytes bytes) {
  ++commands_taken_;
  auto command = wire::Command::parse(std::move(bytes), *table_, max_command_);
  if (!command) return answer_with(wire::from_manager(command.error()));
  belongs_ = true;
  if (const auto code = manager_.submit(std::move(*command), locality_)) return answer_with(*code);
  in_flight_ = true;
}

void Dialogue::take_bad_size(std::uint32_t type, bool control) {
  const wire::Rc code = wire::from_manager(wire::rc::kCommandSize);
  if (control) {
    ++answered_here_;
    return put(encode(Reply(refusal(type, code))));
  }
  ++commands_taken_;
  answer_with(code);
}

void Dialogue::answer_with(wire::Rc code) {
  ++answered_here_;
  put(wire::error_response(code));
  manager_.answered_early(code);
}

void Dialogue::take_control(const ControlFrame& frame) {
  ++answered_here_;
  const MessageRow* row = find_message(frame.type);
  if (!hello_said_ && (row == nullptr || row->stage != Stage::kAnyTime))
    return put(encode(Reply(refusal(frame.type, wire::from_manager(wire::rc::kSequence)))));
  const auto request = decode_request(frame);
  if (!request) return put(encode(Reply(request.error())));
  const auto answer = reply_to(*request);
  replying_ = !answer;
  if (answer) reply(*answer);
}

std::optional<wire::Rc> Dialogue::fault_of(const Request& request) const {
  const Stage stage = find_message(type_of(request))->stage;
  if ((stage == Stage::kBeforeCommands && belongs_) || (std::holds_alternative<Share>(request) && shared_))
    return wire::from_manager(wire::rc::kSequence);
  const auto* wanted = std::get_if<Locality>(&request);
  if (wanted != nullptr && !is_locality(wanted->locality)) return wire::from_manager(wire::rc::kLocality);
  return std::nullopt;
}

std::optional<Reply> Dialogue::reply_to(const Request& request) {
  if (const auto fault = fault_of(request)) return refusal(type_of(request), *fault);
  // No command is in flight, so none is to be cancelled.
  if (std::holds_alternative<Cancel>(request) && !in_flight_) return CancelReply{};
  auto answer = manager_.handle(request);
  if (!answer || !std::holds_alternative<Refusal>(*answer)) note(request);
  return answer;
}

void Dialogue::note(const Request& request) {
  std::visit(Overloaded{
                 [&](const Hello&) { hello_said_ = true; },
                 [&](const Locality& granted) { locality_ = granted.locality; },
                 [&](const Share&) { shared_ = true; },
                 [&](const Join&) { belongs_ = joining_ = in_flight_ = true; },
                 [](const auto&) {},
             },
             request);
}

void Dialogue::refuse_everything(const Arrival& arrival) {
  if (const auto* control = std::get_if<ControlFrame>(&arrival))
    put(encode(Reply(refusal(control->type, *refusal_))));
  else
    put(wire::error_response(*refusal_));
  over_ = true;
}

}  // namespace tpmspace::proto
