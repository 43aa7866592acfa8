// Control messages: what a client says to the manager itself, and the replies.
//
// Idea: a control frame has kControlTag; its `code` field is the message type. A reply's type is the request's with
// kReply set, and its body begins with a response code (4 octets: 0, or a TPM response code from our layer) before what
// is described below. Replies come in the order of the requests; a reply may come before or after the response of a TPM
// command that is in flight, never inside it.
// The first control message of a connection is Hello; a connection that never says it can do all TPM commands but no
// other control message: those get SEQUENCE from our layer (the server knows; `decode_request` does not).
//
//   message    body                       reply after the code
//   Hello      u16 version                u16 version, string server ("tpmspaced 0.1.0"), u32 server pid
//   Cancel     -                          -   (asks for the connection's command in flight to be given up)
//   Locality   u8 locality                -   (for the commands that follow)
//   Status     -                          a `Status` (proto/status.h)
//   Sessions   -                          `Sessions` (proto/sessions.h); who is no administrator is told of its own
//   Order      what (proto/sessions.h)    the sessions it concerned; for administrators. It comes when it is done, and
//                                         until then nothing else of the connection is handled
//   Narrow     string profile             -   (from now on no more than that profile allows, too; for ever)
//   Reload     -                          Outcome (proto/listener_messages.h): the configuration is read again; for
//   administrators Listeners      -                          Listeners (proto/listener_messages.h); for administrators
//   Listener       Order (proto/listener_messages.h)      Outcome; for administrators
//   Learn      string name                string text (the first time empty: from now on the connection's commands are
//                                         learned; later a table of the configuration, the profile NAME that allows
//                                         those so far, and comments; learning goes on)
//   UseChip    string name                -   (the TPM that the connection's commands go to, as the configuration names
//                                         it; before the first command. Another than its own: for administrators)
//   Clients    u64 after (proto/clients.h)   Clients: a page of them, behind that connection; the asker's own, or for
//   an
//                                         administrator all
//   Who        WhoRequest (proto/clients.h)  WhoReport: what the manager knows of this connection, or of the newest one
//   of
//                                         a process, and what it may do; the asker's own, or for an administrator any
//   Share      32 bytes token             -   (who knows the token may join the connection; once)
//   Join       32 bytes token, u64 sent   -   (the connection's space begins with what that of the connection which
//                                         shared the token has, as far as its first `sent` TPM commands made it; before
//                                         the first command. docs/fork.md. It comes when it is done, and until then
//                                         nothing else of the connection is handled)
//   Sync       u64 mark                   u64 mark   (it comes behind the response of the TPM command in flight: who
//                                         takes a connection over from a process that ended finds what is its own)
//
// Refusals, all from our layer (11): an unknown message type: COMMAND_CODE; a body that is too short or too long: SIZE;
// an unknown version in Hello: VALUE and, after the code, u16 the version that we speak; a locality that cannot be had:
// LOCALITY; a frame of an impossible size: COMMAND_SIZE. Of Order: who may not: DISABLED; too many at a time: MEMORY; a
// TPM that is lost: FAILURE; a body that says nothing: SIZE; a session that cannot be kept: REFERENCE_H0 if there is no
// such one in use, SESSION_MEMORY if no more of them can be spared. Of Narrow: a profile that does not exist: VALUE;
// too often: MEMORY. Of Learn: a name that no profile can have: VALUE. Of UseChip: who may not: DISABLED; a name that
// no TPM has: VALUE; after the first command: SEQUENCE; a TPM that could not be started: FAILURE. Of Share: a second
// time: SEQUENCE; a connection that was narrowed: DISABLED; a token that another connection has shared: VALUE. Of Join:
// after the first command: SEQUENCE; a token that no open connection has shared: VALUE; a connection of another TPM,
// namespace or listener, or a narrowed one on either side: DISABLED; no room for what is to be copied: MEMORY or
// OBJECT_MEMORY; a TPM that is lost: FAILURE. After a Join that was refused the connection is closed.
// After Narrow the connection may do Hello, Cancel, Status, Narrow, Locality, Learn, Sync, and Who of itself; all else
// is DISABLED unless the profile administers. Of Who: a process that has no connection of which the asker may be told:
// VALUE.
//
// Threads: values. Units: integers are big-endian; a string is UINT16 length + UTF-8.
// Errors: decoding is total. Requests: a Request or the Refusal to answer with. Replies: a Reply, or nullopt for what
// is no reply that we understand.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "proto/clients.h"
#include "proto/frame.h"
#include "proto/listener_messages.h"
#include "proto/sessions.h"
#include "proto/status.h"
#include "wire/bytes.h"
#include "wire/rc.h"

namespace tpmspace::proto {

enum class MessageType : std::uint32_t {
  kHello = 1,
  kCancel = 2,
  kLocality = 3,
  kStatus = 4,
  kSessions = 5,
  kOrder = 6,
  kNarrow = 7,
  kReload = 8,
  kListeners = 9,
  kListener = 10,
  kLearn = 11,
  kUseChip = 12,
  kShare = 13,
  kJoin = 14,
  kClients = 15,
  kWho = 16,
  kSync = 17
};
inline constexpr std::uint32_t kReply = 0x80000000;

// The requests of a client.
struct Hello {
  std::uint16_t version = kProtocolVersion;
};
struct Cancel {};
struct Locality {
  std::uint8_t locality = 0;  // 0..4, or 32..255 (extended); the server decides whether the client may have the
                              // locality
};
struct StatusRequest {};
struct SessionsRequest {};
struct OrderRequest {
  SessionOrder what;
};
struct Narrow {
  std::string profile;
};
struct Reload {};
struct ListenersRequest {};
struct ListenerRequest {
  ListenerOrder what;
};
// The first line of a learned profile if the connection sent no command.
inline constexpr std::string_view kLearnedNothing = "# Learned from 0 TPM commands.\n";
struct Learn {
  std::string name;  // name of the profile
};
struct UseChip {
  std::string name;
};
struct ClientsRequest {
  std::uint64_t after = 0;
};
struct WhoRequest {
  WhoQuestion what;
};
// A secret of the client: random bytes known only to its own process and the processes forked from it.
using Token = std::array<std::uint8_t, 32>;
struct Share {
  Token token{};
};
struct Join {
  Token token{};
  std::uint64_t sent = 0;  // TPM frames sent by the joined connection before the client was forked
};
struct Sync {
  std::uint64_t mark = 0;
};
using Request =
    std::variant<Hello, Cancel, Locality, StatusRequest, SessionsRequest, OrderRequest, Narrow, Reload,
                 ListenersRequest, ListenerRequest, Learn, UseChip, ClientsRequest, WhoRequest, Share, Join, Sync>;

// The replies of the manager.
struct HelloReply {
  std::uint16_t version = kProtocolVersion;
  std::string server;  // "tpmspaced 0.1.0"; at most 65535 bytes
  std::uint32_t pid = 0;
};
struct CancelReply {};
struct LocalityReply {};
struct StatusReply {
  Status status;
};
struct SessionsReply {
  Sessions sessions;
};
struct OrderReply {
  std::vector<SessionEntry> sessions;  // the sessions affected, in their state before the order
};
struct NarrowReply {};
struct ReloadReply {
  Outcome outcome;
};
struct ListenersReply {
  std::vector<ListenerEntry> listeners;
};
struct ListenerReply {
  Outcome outcome;
};
struct LearnReply {
  std::string text;  // at most 65535 bytes
};
struct UseChipReply {};
struct ClientsReply {
  Clients clients;
};
struct WhoReply {
  WhoReport report;
};
struct ShareReply {};
struct JoinReply {};
struct SyncReply {
  std::uint64_t mark = 0;
};
struct Refusal {
  std::uint32_t type = 0;                    // type of the request, without kReply
  wire::Rc code = 0;                         // not 0; our layer
  std::uint16_t version = kProtocolVersion;  // sent only when `type` is Hello
};
using Reply = std::variant<HelloReply, CancelReply, LocalityReply, StatusReply, SessionsReply, OrderReply, NarrowReply,
                           ReloadReply, ListenersReply, ListenerReply, LearnReply, UseChipReply, ClientsReply, WhoReply,
                           ShareReply, JoinReply, SyncReply, Refusal>;

// Both return whole frames, ready to be sent.
[[nodiscard]] wire::Bytes encode(const Request& request);
[[nodiscard]] wire::Bytes encode(const Reply& reply);

[[nodiscard]] tl::expected<Request, Refusal> decode_request(const ControlFrame& frame);
[[nodiscard]] std::optional<Reply> decode_reply(const ControlFrame& frame);

// The type of the request that a reply (or refusal) belongs to.
[[nodiscard]] std::uint32_t type_of(const Request& request);
[[nodiscard]] std::uint32_t type_of(const Reply& reply);

}  // namespace tpmspace::proto
