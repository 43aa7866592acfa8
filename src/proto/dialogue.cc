#include "proto/dialogue.h"

#include <fmt/core.h>

#include <utility>
#include <variant>

#include "proto/overloaded.h"
#include "wire/response.h"

namespace tpmspace::proto {
namespace {

proto::Refusal refusal(std::uint32_t type, wire::Rc code) {
  return {.type = type, .code = code, .version = proto::kProtocolVersion};
}
proto::Refusal refusal(proto::MessageType type, wire::Rc code) {
  return refusal(static_cast<std::uint32_t>(type), code);
}

// The reply that has the result in it, or the refusal.
template <typename Reply, typename Result>
proto::Reply done_or_refused(proto::MessageType type, tl::expected<Result, wire::Rc> result) {
  if (!result) return refusal(type, result.error());
  return Reply{std::move(*result)};
}

// Part 1, 17: 0..4, and 32..255 as the extended localities.
bool is_locality(std::uint8_t value) {
  return value <= 4 || value >= 32;
}

bool waits_its_turn(const proto::Arrival& arrival) {
  const auto* control = std::get_if<proto::ControlFrame>(&arrival);
  return control == nullptr || control->type == static_cast<std::uint32_t>(proto::MessageType::kSync);
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
  return !ended_ && !over_ && !held_ && !ordering_ && drained_ && output().empty();
}

bool Dialogue::finished() const {
  if (in_flight_ || ordering_ || !output().empty()) return false;
  return over_ || (ended_ && !held_ && drained_);
}

bool Dialogue::step() {
  if (over_ || ordering_ || !output().empty()) return false;
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
  ordering_ = false;
  const auto header = wire::read_header(response);
  put(proto::encode(end_join(header ? header->code : wire::from_manager(wire::rc::kFailure))));
}

void Dialogue::order_done(const tl::expected<std::vector<proto::SessionEntry>, wire::Rc>& sessions) {
  ordering_ = false;
  put(proto::encode(sessions ? proto::Reply(proto::OrderReply{*sessions})
                             : proto::Reply(refusal(proto::MessageType::kOrder, sessions.error()))));
}

void Dialogue::status_done(const proto::Status& status) {
  ordering_ = false;
  put(proto::encode(proto::Reply(proto::StatusReply{status})));
}

void Dialogue::sessions_done(const tl::expected<proto::Sessions, wire::Rc>& sessions) {
  ordering_ = false;
  put(proto::encode(done_or_refused<proto::SessionsReply>(proto::MessageType::kSessions, sessions)));
}

void Dialogue::reload_done(const proto::Outcome& outcome) {
  ordering_ = false;
  put(proto::encode(proto::Reply(proto::ReloadReply{outcome})));
}

void Dialogue::sent(std::size_t octets) {
  sent_ += octets;
  if (sent_ != output_.size()) return;
  output_.clear();
  sent_ = 0;
  // A status reply is large and rare; a connection is small and many.
  if (output_.capacity() > 2 * proto::kMaxControlSize) output_.shrink_to_fit();
}

void Dialogue::take(proto::Arrival arrival) {
  std::visit(proto::Overloaded{
                 [&](proto::TpmFrame& frame) { take_command(std::move(frame.bytes)); },
                 [&](proto::ControlFrame& frame) { take_control(frame); },
                 [&](proto::BadSize& bad) { take_bad_size(bad.type, bad.control); },
                 [&](proto::TooLarge& bad) {
                   take_bad_size(bad.type, bad.control);
                   over_ = true;
                   manager_.cut_off(fmt::format("sent a frame that claims to be {} bytes long; {} are the most",
                                                bad.size, proto::kMaxFrameSize));
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
    return put(proto::encode(proto::Reply(refusal(type, code))));
  }
  ++commands_taken_;
  answer_with(code);
}

// --- those that were forked

std::optional<proto::Reply> Dialogue::share(const proto::Token& token) {
  const auto refused = shared_ ? wire::from_manager(wire::rc::kSequence) : manager_.share(token);
  if (refused) return refusal(proto::MessageType::kShare, *refused);
  shared_ = true;
  return proto::ShareReply{};
}

std::optional<proto::Reply> Dialogue::join(const proto::Join& what) {
  const auto refused = belongs_ ? wire::from_manager(wire::rc::kSequence) : manager_.join(what);
  if (refused) return end_join(*refused);
  belongs_ = joining_ = in_flight_ = ordering_ = true;
  return std::nullopt;
}

// Its commands would run in a space that is not the one they are meant for.
proto::Reply Dialogue::end_join(wire::Rc code) {
  if (code == wire::rc::kSuccess) return proto::JoinReply{};
  over_ = true;
  return refusal(proto::MessageType::kJoin, code);
}

void Dialogue::answer_with(wire::Rc code) {
  ++answered_here_;
  put(wire::error_response(code));
  manager_.answered_early(code);
}

void Dialogue::take_control(const proto::ControlFrame& frame) {
  ++answered_here_;
  const auto request = proto::decode_request(frame);
  const bool is_hello = frame.type == static_cast<std::uint32_t>(proto::MessageType::kHello);
  if (!hello_said_ && !is_hello)
    put(proto::encode(proto::Reply(refusal(frame.type, wire::from_manager(wire::rc::kSequence)))));
  else if (!request)
    put(proto::encode(proto::Reply(request.error())));
  else if (const auto reply = reply_to(*request))
    put(proto::encode(*reply));
}

std::optional<proto::Reply> Dialogue::reply_to(const proto::Request& request) {
  using Answer = std::optional<proto::Reply>;
  return std::visit(
      proto::Overloaded{
          [&](const proto::Hello&) -> Answer {
            hello_said_ = true;
            return manager_.hello();
          },
          [&](const proto::Cancel&) -> Answer {
            if (in_flight_) manager_.cancel();
            return proto::CancelReply{};
          },
          [&](const proto::Locality& wanted) -> Answer {
            if (!is_locality(wanted.locality) || !manager_.may_have_locality(wanted.locality))
              return refusal(proto::MessageType::kLocality, wire::from_manager(wire::rc::kLocality));
            locality_ = wanted.locality;
            return proto::LocalityReply{};
          },
          [&](const proto::StatusRequest&) -> Answer {
            if (auto status = manager_.status()) return proto::StatusReply{*std::move(status)};
            ordering_ = true;
            return std::nullopt;
          },
          [&](const proto::SessionsRequest&) -> Answer {
            if (const auto refused = manager_.ask_for_sessions())
              return refusal(proto::MessageType::kSessions, *refused);
            ordering_ = true;
            return std::nullopt;
          },
          [&](const proto::OrderRequest& wanted) -> Answer {
            if (const auto refused = manager_.order(wanted.what)) return refusal(proto::MessageType::kOrder, *refused);
            ordering_ = true;
            return std::nullopt;
          },
          [&](const proto::Narrow& wanted) -> Answer {
            if (const auto refused = manager_.narrow(wanted.profile))
              return refusal(proto::MessageType::kNarrow, *refused);
            return proto::NarrowReply{};
          },
          [&](const proto::Reload&) -> Answer {
            if (const auto refused = manager_.reload()) return refusal(proto::MessageType::kReload, *refused);
            ordering_ = true;
            return std::nullopt;
          },
          [&](const proto::ListenersRequest&) -> Answer {
            return done_or_refused<proto::ListenersReply>(proto::MessageType::kListeners, manager_.listeners());
          },
          [&](const proto::ListenerRequest& wanted) -> Answer {
            return done_or_refused<proto::ListenerReply>(proto::MessageType::kListener,
                                                         manager_.change_listener(wanted.what));
          },
          [&](const proto::Learn& wanted) -> Answer {
            return done_or_refused<proto::LearnReply>(proto::MessageType::kLearn, manager_.learn(wanted.name));
          },
          [&](const proto::ClientsRequest& wanted) -> Answer {
            return done_or_refused<proto::ClientsReply>(proto::MessageType::kClients, manager_.clients(wanted.after));
          },
          [&](const proto::WhoRequest& wanted) -> Answer {
            return done_or_refused<proto::WhoReply>(proto::MessageType::kWho, manager_.who(wanted.what));
          },
          [&](const proto::UseChip& wanted) -> Answer {
            const auto refused = belongs_ ? wire::from_manager(wire::rc::kSequence) : manager_.use_chip(wanted.name);
            if (refused) return refusal(proto::MessageType::kUseChip, *refused);
            return proto::UseChipReply{};
          },
          [&](const proto::Share& wanted) -> Answer { return share(wanted.token); },
          [&](const proto::Join& wanted) -> Answer { return join(wanted); },
          [&](const proto::Sync& sync) -> Answer { return proto::SyncReply{sync.mark}; },
      },
      request);
}

void Dialogue::refuse_everything(const proto::Arrival& arrival) {
  if (const auto* control = std::get_if<proto::ControlFrame>(&arrival))
    put(proto::encode(proto::Reply(refusal(control->type, *refusal_))));
  else
    put(wire::error_response(*refusal_));
  over_ = true;
}

}  // namespace tpmspace::proto
