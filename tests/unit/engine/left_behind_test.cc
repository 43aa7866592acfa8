// The owner of a closed connection pays for flushing its entities, on libtpms. The clock moves only while the TPM
// flushes, so that the order of turns shows the payer.
#include "engine_on_libtpms.h"

namespace tpmspace::engine {
namespace {

constexpr std::uint64_t kLeaver = 1, kAnother = 2;

class LeftBehind : public EngineOnLibtpms {
 protected:
  void SetUp() override {
    start();
    counting_->meddle = [this](wire::CommandCode code) -> std::optional<Rc> {
      if (code == cc::kFlushContext) {
        now_ += 5'000'000;
        ++flushes_;
      }
      return std::nullopt;
    };
  }
  std::uint32_t flushes_ = 0;
  void leave_keys() {
    const auto c = open(kLeaver);
    for (std::uint32_t i = 0; i < chip_.object_slots; ++i) (void)primary(c);
    engine_->close(c);
  }
  // The served owners, in order, while both have commands of equal cost.
  std::vector<std::uint64_t> turns(std::size_t count) {
    std::map<Ticket, std::uint64_t> whose;
    for (std::size_t i = 0; i < count; ++i)
      for (const std::uint64_t owner : {kLeaver, kAnother}) {
        auto command = wire::Command::parse(get_random(), wire::CommandTable::builtin(), 4096);
        whose[engine_->submit(open(owner), std::move(*command), 0, now_)] = owner;
      }
    std::vector<std::uint64_t> out;
    while (out.size() < count)
      if (const auto step = engine_->step(now_); step.reply) out.push_back(whose.at(step.reply->ticket));
    return out;
  }
};

TEST_F(LeftBehind, IdleFlushesArePaidForByTheOwnerThatLeftThem) {
  leave_keys();
  idle();
  EXPECT_EQ(turns(8), std::vector<std::uint64_t>(8, kAnother)) << "the one that left keys comes after";
}

TEST_F(LeftBehind, EntitiesThatAnothersCommandWaitsForArePaidLikewise) {
  leave_keys();
  const auto other = open(kAnother);
  EXPECT_EQ(run(other, create_primary(kOwner)).code, 0U) << "it needs one of the places";
  EXPECT_EQ(turns(8), std::vector<std::uint64_t>(8, kAnother));
}

TEST_F(LeftBehind, SoAreSessions) {
  const auto c = open(kLeaver);
  for (int i = 0; i < 8; ++i) (void)session(c);
  engine_->close(c);
  idle();
  EXPECT_EQ(turns(8), std::vector<std::uint64_t>(8, kAnother));
}

TEST_F(LeftBehind, AClientsOwnFlushIsNotPaidByOthers) {
  const auto c = open(kLeaver);
  const auto key = primary(c);
  EXPECT_EQ(run(c, flush_context(key)).code, 0U);
  EXPECT_EQ(turns(8), std::vector<std::uint64_t>(8, kAnother)) << "a client's own flush is its own";
}

TEST_F(LeftBehind, ASessionThatIsTakenIsPaidForByTheOwnerThatWantedOne) {
  const auto hoarder = open(kLeaver);
  for (std::uint32_t i = 0; i + 3 < chip_.active_sessions; ++i) (void)session(hoarder);
  const auto wants = open(kAnother);
  auto command = wire::Command::parse(start_session(SessionType::kHmac), wire::CommandTable::builtin(), 4096);
  std::uint32_t answered = 0;
  for (int more = 0; more < 4; ++more) {
    (void)engine_->submit(wants, *command, 0, now_);
    for (int i = 0; i < 1000; ++i, now_ += 100'000'000)
      if (const auto step = engine_->step(now_); step.reply) {
        ++answered;
        if (!step.account->reclaimed.empty() || flushes_ != 0) more = 4;
        break;
      }
  }
  EXPECT_GT(flushes_, 0U) << "after its lease one is taken";
  EXPECT_GT(answered, 0U);
  EXPECT_EQ(turns(8), std::vector<std::uint64_t>(8, kLeaver)) << "the one that it was taken for comes after";
}

TEST_F(LeftBehind, TheBooksKeepThePayer) {
  leave_keys();
  const Bytes books = engine_->save_books();
  ASSERT_TRUE(engine_->restore_books(books));
  EXPECT_EQ(engine_->save_books(), books);
  idle();
  EXPECT_EQ(turns(8), std::vector<std::uint64_t>(8, kAnother));
}

}  // namespace
}  // namespace tpmspace::engine
