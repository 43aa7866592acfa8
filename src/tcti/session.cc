#include "tcti/session.h"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "tcti/log.h"

namespace tpmspace::tcti {
namespace {

// The manager answers control messages at once; after this long, no answer is expected.
constexpr int kControlTimeoutMs = 30'000;
// A Join waits for its turn behind commands of the same user, and a TPM may take a minute for each.
constexpr int kJoinTimeoutMs = 600'000;
// How long another process may use a descriptor given as fd=N: a TPM may take a minute for a key.
constexpr int kTurnTimeoutMs = 120'000;

TSS2_RC refusal_to_tcti(wire::Rc code) {
  switch (wire::without_layer(code)) {
    case wire::rc::kCommandCode:
      return TSS2_TCTI_RC_NOT_IMPLEMENTED;
    case wire::rc::kValue:
      return TSS2_TCTI_RC_BAD_VALUE;
    case wire::rc::kLocality:
      return TSS2_TCTI_RC_NOT_SUPPORTED;
    default:
      return TSS2_TCTI_RC_NOT_PERMITTED;
  }
}

// Whether the bytes can be sent as a frame: a header with the right size, and not a control message.
bool is_command(wire::ByteView bytes) {
  wire::Reader reader(bytes);
  const auto tag = reader.u16();
  const auto size = reader.u32();
  return tag && size && bytes.size() >= proto::kFrameHeaderSize && *size == bytes.size() && *tag != proto::kControlTag;
}

}  // namespace

TSS2_RC to_tcti(const client::Error& error) {
  using Kind = client::Error::Kind;
  switch (error.kind) {
    case Kind::kNoService:
    case Kind::kForbidden:
      return TSS2_TCTI_RC_NO_CONNECTION;
    case Kind::kBadPath:
      return TSS2_TCTI_RC_BAD_VALUE;
    case Kind::kProtocol:
      return TSS2_TCTI_RC_MALFORMED_RESPONSE;
    case Kind::kRefused:
      return refusal_to_tcti(error.code);
    case Kind::kClosed:
    case Kind::kTimeout:
    case Kind::kSystem:
      return TSS2_TCTI_RC_IO_ERROR;
  }
  return TSS2_TCTI_RC_GENERAL_FAILURE;
}

Session::Session(client::Connection connection, std::optional<Origin> origin)
    : stream_(std::make_unique<Stream>(Stream{std::move(connection)})), origin_(std::move(origin)) {
  share_connection();
}

Session::~Session() {
  if (mark_.is_forked()) leave_stream();
}

// --- a process and its forked children

void Session::share_connection() {
  token_.emplace();
  if (!origin_ || getrandom(token_->data(), token_->size(), GRND_NONBLOCK) != static_cast<ssize_t>(token_->size()))
    token_.reset();
  else
    stream_->connection.let_join(*token_);
}

void Session::notice_fork() {
  if (mark_.is_forked()) awaits_ = Awaits::kCommand;
}

// Another thread of the parent may have been changing the object: only its descriptor is used, and the object is not
// destroyed.
void Session::leave_stream() {
  stream_->connection.disown();
  (void)stream_.release();  // NOLINT(bugprone-unused-return-value)
}

tl::expected<client::Connection, client::Error> Session::connect_again() const {
  using Kind = client::Error::Kind;
  if (!origin_) {
    if (stream_->connection.is_still_there()) return client::Connection::share(stream_->connection.fd());
    return tl::make_unexpected(client::Error{Kind::kClosed, "the descriptor of fd=N was closed", 0});
  }
  auto out = client::Connection::open(origin_->path);
  if (!out) return out;
  const std::uint64_t sent = stream_->connection.sent();
  tl::expected<void, client::Error> done;
  if (!origin_->chip.empty()) done = out->use_chip(origin_->chip, kControlTimeoutMs);
  // Before its first command, the parent had no objects to inherit.
  if (done && sent > 0) {
    if (!token_)
      return tl::make_unexpected(client::Error{Kind::kSystem, "the parent had no random bytes for a token", 0});
    done = out->join(*token_, sent, kJoinTimeoutMs);
  }
  if (done && locality_ != 0) done = out->set_locality(locality_, kControlTimeoutMs);
  if (!done) return tl::make_unexpected(std::move(done.error()));
  return out;
}

TSS2_RC Session::follow_fork() {
  if (!mark_.is_forked()) return TSS2_RC_SUCCESS;
  auto own = connect_again();
  if (!own) {
    say_why_not(own.error());
    return TSS2_TCTI_RC_IO_ERROR;
  }
  auto stream = std::make_unique<Stream>(Stream{std::move(*own)});
  stream_->connection.hand_number_to(stream->connection);
  leave_stream();
  stream_ = std::move(stream);
  share_connection();
  mark_.set();
  return TSS2_RC_SUCCESS;
}

void Session::say_why_not(const client::Error& error) {
  if (std::exchange(said_why_not_, true)) return;
  log_error("after fork() this process cannot replace its parent's connection by its own: " + error.what +
            "; initialise another TCTI context after the fork (docs/fork.md)");
}

template <typename Call>
TSS2_RC Session::alone(Call call) {
  // A thread in the context was the parent's.
  if (mark_.is_forked()) in_use_.clear();
  if (in_use_.test_and_set()) return TSS2_TCTI_RC_BAD_SEQUENCE;
  struct Leave {
    std::atomic_flag& in_use;
    ~Leave() { in_use.clear(); }
  } const leave{in_use_};
  notice_fork();
  return call();
}

TSS2_RC Session::begin() {
  if (const TSS2_RC rc = follow_fork(); rc != TSS2_RC_SUCCESS || origin_) return rc;
  if (const auto turn = stream_->connection.begin_turn(kTurnTimeoutMs); !turn) {
    log_error(turn.error().what);
    return to_tcti(turn.error());
  }
  return TSS2_RC_SUCCESS;
}

TSS2_RC Session::end(const std::optional<client::Error>& error) {
  if (!origin_) stream_->connection.end_turn();
  return error ? to_tcti(*error) : TSS2_RC_SUCCESS;
}

// --- the TCTI's calls

TSS2_RC Session::transmit(wire::ByteView command) {
  return alone([&]() -> TSS2_RC {
    if (awaits_ != Awaits::kCommand) return TSS2_TCTI_RC_BAD_SEQUENCE;
    if (!is_command(command)) return TSS2_TCTI_RC_BAD_VALUE;
    if (const TSS2_RC rc = begin(); rc != TSS2_RC_SUCCESS) return rc;
    if (const auto sent = stream_->connection.send(command); !sent) return end(sent.error());
    awaits_ = Awaits::kResponse;
    return TSS2_RC_SUCCESS;
  });
}

TSS2_RC Session::receive(std::size_t& size, std::uint8_t* response, std::int32_t timeout_ms) {
  return alone([&]() -> TSS2_RC {
    if (awaits_ != Awaits::kResponse) return TSS2_TCTI_RC_BAD_SEQUENCE;
    if (timeout_ms < TSS2_TCTI_TIMEOUT_BLOCK) return TSS2_TCTI_RC_BAD_VALUE;
    if (!stream_->response) {
      auto received = stream_->connection.receive(timeout_ms);
      if (!received) {
        awaits_ = Awaits::kCommand;  // no response will come
        return end(received.error());
      }
      if (!*received) return TSS2_TCTI_RC_TRY_AGAIN;
      (void)end({});
      stream_->response = std::move(*received);
    }
    const std::size_t room = size;
    size = stream_->response->size();
    if (response == nullptr) return TSS2_RC_SUCCESS;
    if (room < size) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    std::copy(stream_->response->begin(), stream_->response->end(), response);
    stream_->response.reset();
    awaits_ = Awaits::kCommand;
    return TSS2_RC_SUCCESS;
  });
}

// Also while another thread waits in receive.
TSS2_RC Session::cancel() {
  notice_fork();
  if (awaits_ != Awaits::kResponse) return TSS2_TCTI_RC_BAD_SEQUENCE;
  if (stream_->response) return TSS2_RC_SUCCESS;  // too late, which is always possible
  if (const auto posted = stream_->connection.post_cancel(); !posted) return to_tcti(posted.error());
  return TSS2_RC_SUCCESS;
}

TSS2_RC Session::set_locality(std::uint8_t locality) {
  return alone([&]() -> TSS2_RC {
    if (awaits_ != Awaits::kCommand) return TSS2_TCTI_RC_BAD_SEQUENCE;
    if (const TSS2_RC rc = begin(); rc != TSS2_RC_SUCCESS) return rc;
    const auto set = stream_->connection.set_locality(locality, kControlTimeoutMs);
    if (!set) return end(set.error());
    locality_ = locality;
    return end({});
  });
}

tl::expected<void, client::Error> Session::use_chip(const std::string& name) {
  if (!origin_)
    if (auto turn = stream_->connection.begin_turn(kTurnTimeoutMs); !turn) return turn;
  auto used = stream_->connection.use_chip(name, kControlTimeoutMs);
  if (!origin_) stream_->connection.end_turn();
  return used;
}

TSS2_RC Session::descriptor(int& fd) {
  if (!mark_.is_forked()) {
    fd = stream_->connection.fd();
    return TSS2_RC_SUCCESS;
  }
  return alone([&]() -> TSS2_RC {
    const TSS2_RC rc = follow_fork();
    if (rc == TSS2_RC_SUCCESS) fd = stream_->connection.fd();
    return rc;
  });
}

}  // namespace tpmspace::tcti
