#include "proto/message_table.h"

#include <algorithm>
#include <array>
#include <concepts>
#include <type_traits>
#include <utility>

#include "proto/text.h"

namespace tpmspace::proto {
namespace {

// --- One field: how each type of a field is written and read

template <std::unsigned_integral Number>
void put_field(wire::Writer& out, Number value) {
  if constexpr (sizeof(Number) == 1) out.u8(value);
  if constexpr (sizeof(Number) == 2) out.u16(value);
  if constexpr (sizeof(Number) == 4) out.u32(value);
  if constexpr (sizeof(Number) == 8) out.u64(value);
}
void put_field(wire::Writer& out, const std::string& text) {
  put_string(out, text);
}
void put_field(wire::Writer& out, const Token& token) {
  out.raw(token);
}

template <typename Value>
bool set_field(Value& to, std::optional<Value> read) {
  if (read) to = *std::move(read);
  return read.has_value();
}
bool get_field(wire::Reader& in, std::uint8_t& out) {
  return set_field(out, in.u8());
}
bool get_field(wire::Reader& in, std::uint16_t& out) {
  return set_field(out, in.u16());
}
bool get_field(wire::Reader& in, std::uint32_t& out) {
  return set_field(out, in.u32());
}
bool get_field(wire::Reader& in, std::uint64_t& out) {
  return set_field(out, in.u64());
}
bool get_field(wire::Reader& in, std::string& out) {
  return set_field(out, get_string(in));
}
bool get_field(wire::Reader& in, Token& out) {
  const auto bytes = in.take(out.size());
  if (bytes) std::copy(bytes->begin(), bytes->end(), out.begin());
  return bytes.has_value();
}

// --- A body: its message, and the fields in their order

template <typename Message, auto... kFields>
struct Fields {
  using Type = Message;
  static void put([[maybe_unused]] wire::Writer& out, [[maybe_unused]] const Message& message) {
    (put_field(out, message.*kFields), ...);
  }
  static std::optional<Message> get([[maybe_unused]] wire::Reader& in) {
    Message out;
    if (!(get_field(in, out.*kFields) && ...)) return std::nullopt;
    return out;
  }
};

// The only field is all of the body, in an encoding of its own.
template <typename Message, auto kField, auto kEncode, auto kDecode>
struct Whole {
  using Type = Message;
  static void put(wire::Writer& out, const Message& message) { out.raw(kEncode(message.*kField)); }
  static std::optional<Message> get(wire::Reader& in) {
    auto value = kDecode(*in.take(in.remaining()));
    if (!value) return std::nullopt;
    Message out;
    out.*kField = *std::move(value);
    return out;
  }
};

// --- The rows

template <typename One, typename... All>
constexpr std::size_t index_among(std::in_place_type_t<std::variant<All...>> /*variant*/) {
  std::size_t out = 0;
  (void)((std::is_same_v<One, All> || (++out, false)) || ...);
  return out;
}
template <typename One, typename Variant>
constexpr std::size_t kIndexIn = index_among<One>(std::in_place_type<Variant>);

template <typename RequestBody, typename ReplyBody>
constexpr MessageRow row(MessageType type, std::string_view name, Stage stage) {
  using OfRequest = typename RequestBody::Type;
  using OfReply = typename ReplyBody::Type;
  static_assert(kIndexIn<OfRequest, Request> == kIndexIn<OfReply, Reply>, "both variants have the same order");
  return {.type = type,
          .name = name,
          .stage = stage,
          .index = kIndexIn<OfRequest, Request>,
          .put_request = [](wire::Writer& out, const Request& one) { RequestBody::put(out, std::get<OfRequest>(one)); },
          .put_reply = [](wire::Writer& out, const Reply& one) { ReplyBody::put(out, std::get<OfReply>(one)); },
          .get_request = [](wire::Reader& in) -> std::optional<Request> { return RequestBody::get(in); },
          .get_reply = [](wire::Reader& in) -> std::optional<Reply> { return ReplyBody::get(in); }};
}

// clang-format off
constexpr std::array kRows{
    row<Fields<Hello, &Hello::version>,
        Fields<HelloReply, &HelloReply::version, &HelloReply::server, &HelloReply::pid>>(
        MessageType::kHello, "Hello", Stage::kAnyTime),
    row<Fields<Cancel>,
        Fields<CancelReply>>(
        MessageType::kCancel, "Cancel", Stage::kAfterHello),
    row<Fields<Locality, &Locality::locality>,
        Fields<LocalityReply>>(
        MessageType::kLocality, "Locality", Stage::kAfterHello),
    row<Fields<StatusRequest>,
        Whole<StatusReply, &StatusReply::status, encode_status, decode_status>>(
        MessageType::kStatus, "Status", Stage::kAfterHello),
    row<Fields<SessionsRequest>,
        Whole<SessionsReply, &SessionsReply::sessions, encode_sessions, decode_sessions>>(
        MessageType::kSessions, "Sessions", Stage::kAfterHello),
    row<Whole<OrderRequest, &OrderRequest::what, encode_order, decode_order>,
        Whole<OrderReply, &OrderReply::sessions, encode_flushed, decode_flushed>>(
        MessageType::kOrder, "Order", Stage::kAfterHello),
    row<Fields<Narrow, &Narrow::profile>,
        Fields<NarrowReply>>(
        MessageType::kNarrow, "Narrow", Stage::kAfterHello),
    row<Fields<Reload>,
        Whole<ReloadReply, &ReloadReply::outcome, encode_outcome, decode_outcome>>(
        MessageType::kReload, "Reload", Stage::kAfterHello),
    row<Fields<ListenersRequest>,
        Whole<ListenersReply, &ListenersReply::listeners, encode_listeners, decode_listeners>>(
        MessageType::kListeners, "Listeners", Stage::kAfterHello),
    row<Whole<ListenerRequest, &ListenerRequest::what, encode_listener_order, decode_listener_order>,
        Whole<ListenerReply, &ListenerReply::outcome, encode_outcome, decode_outcome>>(
        MessageType::kListener, "Listener", Stage::kAfterHello),
    row<Fields<Learn, &Learn::name>,
        Fields<LearnReply, &LearnReply::text>>(
        MessageType::kLearn, "Learn", Stage::kAfterHello),
    row<Fields<UseChip, &UseChip::name>,
        Fields<UseChipReply>>(
        MessageType::kUseChip, "UseChip", Stage::kBeforeCommands),
    row<Fields<ClientsRequest, &ClientsRequest::after>,
        Whole<ClientsReply, &ClientsReply::clients, encode_clients, decode_clients>>(
        MessageType::kClients, "Clients", Stage::kAfterHello),
    row<Whole<WhoRequest, &WhoRequest::what, encode_question, decode_question>,
        Whole<WhoReply, &WhoReply::report, encode_report, decode_report>>(
        MessageType::kWho, "Who", Stage::kAfterHello),
    row<Fields<Share, &Share::token>,
        Fields<ShareReply>>(
        MessageType::kShare, "Share", Stage::kAfterHello),
    row<Fields<Join, &Join::token, &Join::sent>,
        Fields<JoinReply>>(
        MessageType::kJoin, "Join", Stage::kBeforeCommands),
    row<Fields<Sync, &Sync::mark>,
        Fields<SyncReply, &SyncReply::mark>>(
        MessageType::kSync, "Sync", Stage::kAfterHello),
};
// clang-format on

constexpr bool in_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (kRows[i].index != i) return false;
  return true;
}
static_assert(kRows.size() == std::variant_size_v<Request> && in_order(),
              "the rows are those of the variants, in order");

}  // namespace

std::span<const MessageRow> message_table() {
  return kRows;
}

const MessageRow* find_message(std::uint32_t number) {
  const auto* found =
      std::find_if(kRows.begin(), kRows.end(), [&](const MessageRow& row) { return row.number() == number; });
  return found == kRows.end() ? nullptr : found;
}

}  // namespace tpmspace::proto
