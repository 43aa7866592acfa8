#include "proto/control.h"

#include <algorithm>

#include "proto/overloaded.h"
#include "proto/text.h"

namespace tpmspace::proto {
namespace {

constexpr std::uint32_t number(MessageType type) {
  return static_cast<std::uint32_t>(type);
}

tl::unexpected<Refusal> refuse(std::uint32_t type, wire::Rc code) {
  return tl::make_unexpected(Refusal{type & ~kReply, wire::from_manager(code), kProtocolVersion});
}

tl::expected<Request, Refusal> decode_hello(const ControlFrame& frame) {
  wire::Reader reader(frame.body);
  const auto version = reader.u16();
  if (!version) return refuse(frame.type, wire::rc::kSize);
  // Before the length: what follows in another version is not ours to judge.
  if (*version != kProtocolVersion) return refuse(frame.type, wire::rc::kValue);
  if (!reader.empty()) return refuse(frame.type, wire::rc::kSize);
  return Hello{*version};
}

std::optional<Token> get_token(wire::Reader& reader) {
  Token out{};
  const auto bytes = reader.take(out.size());
  if (!bytes) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), out.begin());
  return out;
}

std::optional<Reply> decode_hello_reply(wire::Reader& reader) {
  HelloReply reply;
  const auto version = reader.u16();
  auto server = get_string(reader);
  const auto pid = reader.u32();
  if (!version || !server || !pid) return std::nullopt;
  reply.version = *version;
  reply.server = std::move(*server);
  reply.pid = *pid;
  return reply;
}

Refusal decode_refusal(std::uint32_t type, wire::Rc code, wire::Reader& reader) {
  Refusal refusal{type, code, kProtocolVersion};
  if (type == number(MessageType::kHello)) refusal.version = reader.u16().value_or(kProtocolVersion);
  return refusal;
}

}  // namespace

std::uint32_t type_of(const Request& request) {
  return std::visit(Overloaded{
                        [](const Hello&) { return number(MessageType::kHello); },
                        [](const Cancel&) { return number(MessageType::kCancel); },
                        [](const Locality&) { return number(MessageType::kLocality); },
                        [](const StatusRequest&) { return number(MessageType::kStatus); },
                        [](const SessionsRequest&) { return number(MessageType::kSessions); },
                        [](const OrderRequest&) { return number(MessageType::kOrder); },
                        [](const Narrow&) { return number(MessageType::kNarrow); },
                        [](const Reload&) { return number(MessageType::kReload); },
                        [](const ListenersRequest&) { return number(MessageType::kListeners); },
                        [](const ListenerRequest&) { return number(MessageType::kListener); },
                        [](const Learn&) { return number(MessageType::kLearn); },
                        [](const UseChip&) { return number(MessageType::kUseChip); },
                        [](const ClientsRequest&) { return number(MessageType::kClients); },
                        [](const WhoRequest&) { return number(MessageType::kWho); },
                        [](const Share&) { return number(MessageType::kShare); },
                        [](const Join&) { return number(MessageType::kJoin); },
                        [](const Sync&) { return number(MessageType::kSync); },
                    },
                    request);
}

std::uint32_t type_of(const Reply& reply) {
  return std::visit(Overloaded{
                        [](const HelloReply&) { return number(MessageType::kHello); },
                        [](const CancelReply&) { return number(MessageType::kCancel); },
                        [](const LocalityReply&) { return number(MessageType::kLocality); },
                        [](const StatusReply&) { return number(MessageType::kStatus); },
                        [](const SessionsReply&) { return number(MessageType::kSessions); },
                        [](const OrderReply&) { return number(MessageType::kOrder); },
                        [](const NarrowReply&) { return number(MessageType::kNarrow); },
                        [](const ReloadReply&) { return number(MessageType::kReload); },
                        [](const ListenersReply&) { return number(MessageType::kListeners); },
                        [](const ListenerReply&) { return number(MessageType::kListener); },
                        [](const LearnReply&) { return number(MessageType::kLearn); },
                        [](const UseChipReply&) { return number(MessageType::kUseChip); },
                        [](const ClientsReply&) { return number(MessageType::kClients); },
                        [](const WhoReply&) { return number(MessageType::kWho); },
                        [](const ShareReply&) { return number(MessageType::kShare); },
                        [](const JoinReply&) { return number(MessageType::kJoin); },
                        [](const SyncReply&) { return number(MessageType::kSync); },
                        [](const Refusal& refusal) { return refusal.type; },
                    },
                    reply);
}

wire::Bytes encode(const Request& request) {
  wire::Writer body;
  std::visit(Overloaded{
                 [&](const Hello& hello) { body.u16(hello.version); },
                 [&](const Locality& locality) { body.u8(locality.locality); },
                 [&](const OrderRequest& flush) { body.raw(encode_order(flush.what)); },
                 [&](const Narrow& narrow) { put_string(body, narrow.profile); },
                 [&](const ListenerRequest& listener) { body.raw(encode_listener_order(listener.what)); },
                 [&](const Learn& learn) { put_string(body, learn.name); },
                 [&](const UseChip& use) { put_string(body, use.name); },
                 [&](const ClientsRequest& clients) { body.u64(clients.after); },
                 [&](const WhoRequest& who) { body.raw(encode_question(who.what)); },
                 [&](const Share& share) { body.raw(share.token); },
                 [&](const Join& join) { body.raw(join.token).u64(join.sent); },
                 [&](const Sync& sync) { body.u64(sync.mark); },
                 [](const auto&) {},
             },
             request);
  return encode_control(type_of(request), body.bytes());
}

wire::Bytes encode(const Reply& reply) {
  wire::Writer body;
  std::visit(Overloaded{
                 [&](const HelloReply& hello) {
                   body.u16(hello.version);
                   put_string(body, hello.server);
                   body.u32(hello.pid);
                 },
                 [&](const StatusReply& status) { body.raw(encode_status(status.status)); },
                 [&](const SessionsReply& sessions) { body.raw(encode_sessions(sessions.sessions)); },
                 [&](const OrderReply& flushed) { body.raw(encode_flushed(flushed.sessions)); },
                 [&](const ReloadReply& reload) { body.raw(encode_outcome(reload.outcome)); },
                 [&](const ListenersReply& listeners) { body.raw(encode_listeners(listeners.listeners)); },
                 [&](const ListenerReply& listener) { body.raw(encode_outcome(listener.outcome)); },
                 [&](const SyncReply& sync) { body.u64(sync.mark); },
                 [&](const LearnReply& learned) { put_string(body, learned.text); },
                 [&](const ClientsReply& clients) { body.raw(encode_clients(clients.clients)); },
                 [&](const WhoReply& who) { body.raw(encode_report(who.report)); },
                 [&](const Refusal& refused) {
                   if (refused.type == number(MessageType::kHello)) body.u16(refused.version);
                 },
                 [](const auto&) {},
             },
             reply);
  const auto* refusal = std::get_if<Refusal>(&reply);
  wire::Writer whole;
  whole.u32(refusal != nullptr ? refusal->code : wire::rc::kSuccess).raw(body.bytes());
  return encode_control(type_of(reply) | kReply, whole.bytes());
}

tl::expected<Request, Refusal> decode_request(const ControlFrame& frame) {
  wire::Reader reader(frame.body);
  switch (static_cast<MessageType>(frame.type)) {
    case MessageType::kHello:
      return decode_hello(frame);
    case MessageType::kCancel:
      if (!reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Cancel{};
    case MessageType::kLocality: {
      const auto locality = reader.u8();
      if (!locality || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Locality{*locality};
    }
    case MessageType::kStatus:
      if (!reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return StatusRequest{};
    case MessageType::kSessions:
      if (!reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return SessionsRequest{};
    case MessageType::kOrder: {
      auto what = decode_order(frame.body);
      if (!what) return refuse(frame.type, wire::rc::kSize);
      return OrderRequest{std::move(*what)};
    }
    case MessageType::kNarrow: {
      auto profile = get_string(reader);
      if (!profile || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Narrow{std::move(*profile)};
    }
    case MessageType::kReload:
      if (!reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Reload{};
    case MessageType::kListeners:
      if (!reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return ListenersRequest{};
    case MessageType::kListener: {
      auto what = decode_listener_order(frame.body);
      if (!what) return refuse(frame.type, wire::rc::kSize);
      return ListenerRequest{std::move(*what)};
    }
    case MessageType::kLearn: {
      auto name = get_string(reader);
      if (!name || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Learn{std::move(*name)};
    }
    case MessageType::kUseChip: {
      auto name = get_string(reader);
      if (!name || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return UseChip{std::move(*name)};
    }
    case MessageType::kClients: {
      const auto after = reader.u64();
      if (!after || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return ClientsRequest{*after};
    }
    case MessageType::kWho: {
      auto what = decode_question(frame.body);
      if (!what) return refuse(frame.type, wire::rc::kSize);
      return WhoRequest{std::move(*what)};
    }
    case MessageType::kShare: {
      const auto token = get_token(reader);
      if (!token || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Share{*token};
    }
    case MessageType::kJoin: {
      const auto token = get_token(reader);
      const auto sent = reader.u64();
      if (!token || !sent || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Join{*token, *sent};
    }
    case MessageType::kSync: {
      const auto mark = reader.u64();
      if (!mark || !reader.empty()) return refuse(frame.type, wire::rc::kSize);
      return Sync{*mark};
    }
  }
  return refuse(frame.type, wire::rc::kCommandCode);
}

std::optional<Reply> decode_reply(const ControlFrame& frame) {
  if ((frame.type & kReply) == 0) return std::nullopt;
  const std::uint32_t type = frame.type & ~kReply;
  wire::Reader reader(frame.body);
  const auto code = reader.u32();
  if (!code) return std::nullopt;
  if (*code != wire::rc::kSuccess) return decode_refusal(type, *code, reader);
  switch (static_cast<MessageType>(type)) {
    case MessageType::kHello:
      return decode_hello_reply(reader);
    case MessageType::kCancel:
      return CancelReply{};
    case MessageType::kLocality:
      return LocalityReply{};
    case MessageType::kStatus: {
      auto status = decode_status(reader.rest());
      if (!status) return std::nullopt;
      return StatusReply{std::move(*status)};
    }
    case MessageType::kSessions: {
      auto sessions = decode_sessions(reader.rest());
      if (!sessions) return std::nullopt;
      return SessionsReply{std::move(*sessions)};
    }
    case MessageType::kOrder: {
      auto flushed = decode_flushed(reader.rest());
      if (!flushed) return std::nullopt;
      return OrderReply{std::move(*flushed)};
    }
    case MessageType::kNarrow:
      return NarrowReply{};
    case MessageType::kReload: {
      auto outcome = decode_outcome(reader.rest());
      if (!outcome) return std::nullopt;
      return ReloadReply{std::move(*outcome)};
    }
    case MessageType::kListeners: {
      auto listeners = decode_listeners(reader.rest());
      if (!listeners) return std::nullopt;
      return ListenersReply{std::move(*listeners)};
    }
    case MessageType::kListener: {
      auto outcome = decode_outcome(reader.rest());
      if (!outcome) return std::nullopt;
      return ListenerReply{std::move(*outcome)};
    }
    case MessageType::kLearn: {
      auto text = get_string(reader);
      if (!text) return std::nullopt;
      return LearnReply{std::move(*text)};
    }
    case MessageType::kUseChip:
      return UseChipReply{};
    case MessageType::kClients: {
      auto clients = decode_clients(reader.rest());
      if (!clients) return std::nullopt;
      return ClientsReply{std::move(*clients)};
    }
    case MessageType::kWho: {
      auto report = decode_report(reader.rest());
      if (!report) return std::nullopt;
      return WhoReply{std::move(*report)};
    }
    case MessageType::kShare:
      return ShareReply{};
    case MessageType::kJoin:
      return JoinReply{};
    case MessageType::kSync: {
      const auto mark = reader.u64();
      if (!mark) return std::nullopt;
      return SyncReply{*mark};
    }
  }
  return std::nullopt;
}

}  // namespace tpmspace::proto
