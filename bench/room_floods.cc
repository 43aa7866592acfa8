// Floods of those that fill what all share.
#include <deque>
#include <thread>

#include "bench/flood_kit.h"
#include "bench/floods.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

using std::chrono::seconds;
using Ready = Process::Ready;

constexpr uid_t kFirstHostile = 2001, kOtherUser = 6001;
constexpr uid_t kHostileUsers = 16;
constexpr double kNever = 60'000;  // what is refused is worth a minute

// As many sequences as there is room for, held for ever.
void fill(const std::string& socket, const Ready& ready) {
  std::deque<Socket> connections;
  bool full = false;
  while (!full) {
    Socket& one = connections.emplace_back(socket);
    for (int i = 0; !full && i < 900; ++i) full = one.run(support::hash_start()).code != 0;
  }
  ready();
  for (;;) std::this_thread::sleep_for(seconds(60));
}

std::vector<double> beside_full_shares(const std::string& socket, bool is_control, bool quick) {
  std::deque<Process> users;
  for (uid_t i = 0; !is_control && i < kHostileUsers; ++i)
    users.emplace_back(kFirstHostile + i, [=](const Ready& ready) { fill(socket, ready); });
  return measured_as(kOtherUser, [&] {
    Socket own(socket);
    bool refused = false;
    auto times = times_of(
        [&] {
          const auto key = own.run(support::create_primary(support::kOwner));
          refused = refused || key.code != 0;
          own.run(support::flush_context(key.handle));
        },
        seconds(quick ? 1 : 5));
    if (refused) times.assign(1, kNever);
    return times;
  });
}

}  // namespace

std::vector<Flood> room_floods() {
  return {{"CreatePrimary of a newcomer; 16 other users have filled their shares of the memory", "nobody else is there",
           "[limits]\nbytes = 4194304\n", beside_full_shares}};
}

}  // namespace tpmspace::bench
