// How the system's descriptors are divided, and which identified clients get a place.
#include "daemon/admission.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "daemon/refusal_codes.h"
#include "wire/response.h"

namespace tpmspace::daemon {
namespace {

TEST(Descriptors, ClientsGetWhatIsLeftOfTheLimit) {
  constexpr std::uint32_t kOwn = 30;
  for (const std::uint32_t limit : {1024U, 4096U, 16'384U, 524'288U, 4'000'000'000U}) {
    const Descriptors all = divide_descriptors(limit, kOwn);
    EXPECT_GT(all.clients, limit / 3) << limit;
    EXPECT_LT(all.clients + all.arrivals + all.refused + kOwn, limit) << limit;
    EXPECT_GE(all.refused, 1U) << limit;
    EXPECT_LE(all.refused, limits::kRefusedAtATime) << limit;
  }
}

TEST(Descriptors, OneClientIsServedHoweverFewThereAre) {
  const Descriptors few = divide_descriptors(40, 30);
  EXPECT_EQ(few.clients, 1U);
  EXPECT_GE(few.arrivals, 1U);
  EXPECT_GE(few.refused, 1U);
}

class SilentTpm final : public tpm::BackEnd {
 public:
  Answer transact(wire::ByteView, std::uint8_t) override { return wire::success_response({}); }
  void hang_up() override {}
};

// The clients are handled by no daemon.
class FakeDaemon final : public Connection::Host {
 public:
  explicit FakeDaemon(Clients& clients) : clients_(clients) {}
  std::optional<wire::Rc> submit(Connection&, wire::Command, std::uint8_t) override { return kNoChip; }
  std::optional<proto::Reply> handle(Connection&, const proto::Request&) override { return proto::HelloReply{}; }
  void answered_early(Connection&, wire::Rc) override {}
  void cut_off(Connection&, const std::string&) override {}
  void over(Connection& from) override { clients_.remove(from.id()); }

 private:
  Clients& clients_;
};

class AdmissionTest : public testing::Test {
 protected:
  // Runs the test when the TPM serves.
  void run(std::function<void()> test) {
    test_ = std::move(test);
    EXPECT_EQ(loop_.run(), 0);
  }
  static host::TpmSource tpm() {
    host::TpmSource out;
    out.open = [](const auto&) -> tl::expected<std::unique_ptr<tpm::BackEnd>, std::string> {
      return std::make_unique<SilentTpm>();
    };
    out.bring_up = [](wire::Tpm&, const auto&) -> tl::expected<host::ChipReport, std::string> {
      host::ChipReport report;
      report.table = wire::CommandTable::builtin();
      report.chip.max_command = 4096;
      return report;
    };
    out.name = "fake";
    return out;
  }
  host::Chips::Callbacks callbacks() {
    return {.open =
                [this] {
                  test_();
                  chips_.stop();
                },
            .main_failed = [] { ADD_FAILURE(); },
            .over = [this] { loop_.stop(0); },
            .away = [] {},
            .changed = [] {},
            .replaced = [](std::size_t) {},
            .answered = [](host::ClientId, wire::ByteView) {},
            .order_done = [](host::ClientId, const auto&) {},
            .listed = [](std::size_t, host::ClientId, const auto&) {},
            .accounted = [](std::size_t, const auto&) {}};
  }
  // A client of that user, introduced without its socket's help; its own end of the connection.
  base::Fd introduce(std::uint32_t uid, Verdict verdict = Verdict::kWelcome, bool has_kept_place = false) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    guard::Principal who;
    who.uid = uid;
    who.is_native = guard::Match::kYes;
    auto identity = access_control_.admit(who, {.listener = "main"});
    EXPECT_TRUE(identity);
    admission_.admit(base::Fd(ends[0]), {*std::move(identity), {count_, 0}, verdict, has_kept_place});
    return base::Fd(ends[1]);
  }
  static bool is_closed(const base::Fd& client) {
    char byte = 0;
    return ::recv(client.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }

  static constexpr std::uint32_t kAlice = 1000;
  log::Log log_{log::LogLevel::kError};
  loop::EventLoop loop_;
  std::function<void()> test_;
  access::AccessControl access_control_{
      std::make_shared<const guard::Policy>(guard::Policy::standard(0)), {"main"}, {}, UINT64_MAX};
  loop::Listeners::Count count_ = std::make_shared<std::uint32_t>(0);
  Clients clients_{loop_, 2, [] {}};
  FakeDaemon daemon_{clients_};
  Admission admission_{loop_,
                       log_,
                       {.connections_per_owner = 2},
                       {.clients = 2, .refused = 1, .arrivals = 8, .unread = 1},
                       access_control_,
                       chips_,
                       clients_,
                       daemon_,
                       [] {}};
  host::Chips chips_{loop_, log_, {{guard::Chip{}, tpm()}}, {.engine = {}, .queue = 10}, callbacks()};
};

TEST_F(AdmissionTest, AnIntroducedClientHasAPlaceOfItsOwnUser) {
  run([&] {
    const auto client = introduce(kAlice);
    EXPECT_EQ(clients_.index().of_user({.owner = peer::owner_of(kAlice), .part = {}}).size(), 1U);
    EXPECT_EQ(clients_.places().total(), 1U);
    EXPECT_EQ(*count_, 1U);
    EXPECT_FALSE(is_closed(client));
  });
}

TEST_F(AdmissionTest, AboveTheLimitAFewAreAnsweredAndTheOthersAreClosed) {
  run([&] {
    const auto one = introduce(kAlice), two = introduce(kAlice);
    const auto answered = introduce(kAlice), closed = introduce(kAlice);
    EXPECT_EQ(clients_.places().total(), 2U);
    EXPECT_EQ(clients_.without_place(), 1U);
    EXPECT_EQ(clients_.refused_ever(), 2U);
    EXPECT_FALSE(is_closed(answered));
    EXPECT_TRUE(is_closed(closed));
  });
}

TEST_F(AdmissionTest, AListenerThatIsFullRefuses) {
  run([&] {
    const auto client = introduce(kAlice, Verdict::kTooManyAtListener);
    EXPECT_EQ(clients_.places().total(), 0U);
    EXPECT_EQ(clients_.without_place(), 1U);
    EXPECT_EQ(*count_, 0U);
  });
}

TEST_F(AdmissionTest, AKeptPlaceIsForAnAdministrator) {
  run([&] {
    const auto one = introduce(kAlice), two = introduce(kAlice);
    const auto root = introduce(0, Verdict::kTooMany, true);
    EXPECT_EQ(clients_.places().total(), 3U);
    const auto other = introduce(kAlice, Verdict::kTooMany, true);
    EXPECT_EQ(clients_.places().total(), 3U);
    EXPECT_EQ(clients_.without_place(), 1U);
  });
}

}  // namespace
}  // namespace tpmspace::daemon
