// The context gap of an old chip (255), with everything that may keep the oldest saved session from being refreshed.
// The queue is never empty here, so nothing is left to idle time.
#include "engine_on_model.h"

namespace tpmspace::simulation {
namespace {

using engine::ConnectionId;
using speech::Heard;

constexpr std::uint32_t kNull = 0x40000007;
constexpr int kCommands = 2000;  // each swaps a session: several gaps

ModelTpm::Limits old_chip() {
  ModelTpm::Limits limits;
  limits.context_gap = 255;
  return limits;
}

class ContextGap : public EngineOnModelTpm {
 protected:
  ContextGap() : EngineOnModelTpm(old_chip()) {
    meddler_.spoil = [this](std::uint32_t, wire::Bytes& answer) {
      if (wire::read_header(answer)->code == wire::rc::kContextGap) ++gaps_met_;
    };
  }

  struct Client {
    ConnectionId connection = 0;
    std::uint32_t session = 0;
  };

  Client client() {
    const auto connection = engine_->open(space::OwnerId{++last_owner_}, {});
    const auto started = say(connection, speech::start_auth_session(kNull, kNull, speech::SessionKind::kPolicy));
    EXPECT_TRUE(started.ok());
    return {connection, started.handle};
  }
  void open_busy_clients() {
    for (std::uint32_t i = 0; i < 4; ++i) {
      busy_.push_back(client());
      EXPECT_TRUE(say(busy_[i].connection, speech::policy_command_code(busy_[i].session, 0x150 + i)).ok());
      digests_.push_back(digest_of(busy_[i]).parameters);
    }
  }

  Heard digest_of(const Client& client) {
    return say(client.connection, speech::policy_plain(wire::cc::kPolicyGetDigest, client.session));
  }

  // Every session is wanted in turn, so that with three places each command saves one; all must be answered rightly.
  void expect_busy_clients_served(int commands = kCommands) {
    for (int i = 0; i < commands; ++i) {
      const std::size_t which = static_cast<std::size_t>(i) % busy_.size();
      const auto heard = digest_of(busy_[which]);
      ASSERT_EQ(heard.code, 0U) << "command " << i;
      ASSERT_TRUE(wire::same_bytes(heard.parameters, digests_[which])) << "command " << i;
      ASSERT_EQ(engine_->check(), std::nullopt) << *engine_->check();
    }
  }

  std::uint64_t last_owner_ = 0;
  int gaps_met_ = 0;  // the number of CONTEXT_GAP responses, to any sender
  std::vector<Client> busy_;
  std::vector<wire::Bytes> digests_;
};

TEST_F(ContextGap, AnIdleClientsSessionIsRefreshed) {
  const auto idle = client();
  open_busy_clients();
  expect_busy_clients_served();
  EXPECT_EQ(digest_of(idle).code, 0U);
  EXPECT_EQ(gaps_met_, 0);
}

TEST_F(ContextGap, SavedSessionsOfAClientThatLeftDoNotCloseIt) {
  const auto leaving = client();
  for (int i = 0; i < 4; ++i)
    EXPECT_TRUE(say(leaving.connection, speech::start_auth_session(kNull, kNull, speech::SessionKind::kHmac)).ok());
  open_busy_clients();
  ASSERT_EQ(model_.saved_session_numbers().size(), 6U);
  engine_->close(leaving.connection);
  expect_busy_clients_served();
  EXPECT_EQ(gaps_met_, 0);
}

// They stay in the TPM: its answer to the flush is that it has no time.
TEST_F(ContextGap, SavedSessionsThatCannotBeFlushedForAWhileDoNotCloseIt) {
  const auto leaving = client();
  open_busy_clients();
  meddler_.refuse_always(wire::cc::kFlushContext, wire::rc::kRetry);
  engine_->close(leaving.connection);
  expect_busy_clients_served(150);
  meddler_.behave();
  expect_busy_clients_served();
}

TEST_F(ContextGap, AnOldestSessionFlushedByOthersDoesNotStopTheRefreshing) {
  const auto dead = client();
  const auto idle = client();
  open_busy_clients();
  ASSERT_TRUE(model_.is_saved(dead.session & 0xFFFFFF));
  static_cast<void>(model_.transact(speech::flush_context(dead.session), 0));
  expect_busy_clients_served();
  EXPECT_EQ(digest_of(idle).code, 0U);
  EXPECT_EQ(wire::without_layer(digest_of(dead).code), 0x910U);
  EXPECT_EQ(gaps_met_, 0);
}

TEST_F(ContextGap, ManyOldSessionsFlushedByOthersDoNotStopTheRefreshing) {
  std::vector<Client> dead;
  dead.reserve(20);
  for (int i = 0; i < 20; ++i) dead.push_back(client());
  const auto idle = client();
  open_busy_clients();
  for (const auto& one : dead) static_cast<void>(model_.transact(speech::flush_context(one.session), 0));
  expect_busy_clients_served();
  EXPECT_EQ(digest_of(idle).code, 0U);
  EXPECT_EQ(engine_->snapshot().sessions, 5U);
}

// The refresh's ContextLoad is answered with the number of another client's session.
TEST_F(ContextGap, ARefreshThatComesBackWithAnothersNumberSavesNoOtherSession) {
  const auto idle = client();
  open_busy_clients();
  int lies = 0;
  meddler_.spoil = [&](std::uint32_t code, wire::Bytes& answer) {
    if (code != wire::cc::kContextLoad || wire::read_header(answer)->code != 0 || lies == 3) return;
    wire::Reader in(answer);
    static_cast<void>(in.take(wire::kHeaderSize));
    if (in.u32() != idle.session) return;
    ++lies;
    wire::put_u32(answer, wire::kHeaderSize, busy_[1].session);
  };
  expect_busy_clients_served();
  EXPECT_GE(lies, 1);
  // The session itself may be lost: a context that does not load a second time looks dead.
  EXPECT_EQ(engine_->snapshot().sessions, model_.loaded_sessions().size() + model_.saved_session_numbers().size());
}

}  // namespace
}  // namespace tpmspace::simulation
