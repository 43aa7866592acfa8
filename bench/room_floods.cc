// Floods of users that fill the common room.
#include <deque>
#include <thread>

#include "bench/flood_kit.h"
#include "bench/floods.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

using std::chrono::seconds;
using Ready = Process::Ready;

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

std::vector<double> beside_full_shares(Scene& scene) {
  constexpr uid_t kUsers = 16;
  for (uid_t i = 0; !scene.is_control && i < kUsers; ++i)
    scene.others.emplace_back(kFirstHostile + i, [&](const Ready& ready) { fill(scene.socket, ready); });
  return measured_as(kVictim, [&] {
    Socket own(scene.socket);
    const auto make_a_key = [&] {
      const auto key = own.run(support::create_primary(support::kOwner));
      return key.code == 0 && own.run(support::flush_context(key.handle)).code == 0;
    };
    return times_of(make_a_key, scene.span(seconds(5)));
  });
}

// The other user has more connections than its share of the queue has places. Its commands above the share are refused,
// and are sent again at once. In the control all of its commands wait in the queue.
std::vector<double> beside_a_full_queue(Scene& scene) {
  const Crowd crowd{scene.is_control ? 2000U : 2800U, support::get_random(), 0, false};
  scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) { keep_asking(scene.socket, crowd, ready); });
  return random_times(scene, seconds(6));
}

}  // namespace

std::vector<Flood> room_floods() {
  return {
      {"CreatePrimary of a newcomer; 16 other users have filled their shares of the memory", "no other user is there",
       "[limits]\nbytes = 4194304\n", beside_full_shares},
      {"GetRandom; another user fills its share of the queue of commands by 2800 connections, is refused and asks "
       "again",
       "it asks for GetRandom by 2000 connections, and none is refused", "", beside_a_full_queue},
  };
}

}  // namespace tpmspace::bench
