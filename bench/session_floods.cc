// Floods of users that want sessions: through the queues for sessions and session numbers, by deadlines, by holding all
// sessions, by leaving sessions parked.
#include <array>
#include <deque>
#include <thread>

#include "bench/flood_kit.h"
#include "bench/floods.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using support::SessionType;
using wire::Bytes;
using Ready = Process::Ready;

Bytes one_session() {
  return support::start_session(SessionType::kHmac);
}

// A session is started and flushed.
bool comes_and_goes(Socket& own, const Bytes& start) {
  const auto one = own.run(start);
  return one.code == 0 && own.run(support::flush_context(one.handle)).code == 0;
}

// Every session that the bank gives out, held by one user for ever.
void hold_all_sessions(Scene& scene) {
  scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) {
    std::deque<Socket> held;
    for (int i = 0; i < 60; ++i) held.emplace_back(scene.socket).run(one_session());
    ready();
    for (;;) std::this_thread::sleep_for(seconds(60));
  });
}

// Of one user, which cancels so many a millisecond.
void want_sessions(Scene& scene, std::size_t connections, unsigned cancels) {
  const Crowd crowd{connections, scene.is_control ? support::get_random() : one_session(), cancels, false};
  scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) { keep_asking(scene.socket, crowd, ready); });
}

std::vector<double> through_the_line(Scene& scene) {
  hold_all_sessions(scene);
  want_sessions(scene, scene.quick ? 300 : 1500, 5);
  return random_times(scene, seconds(12));
}

// All that wait expire together, ask again together, and so on.
std::vector<double> by_deadlines(Scene& scene) {
  hold_all_sessions(scene);
  want_sessions(scene, scene.quick ? 600 : 2500, 0);
  return random_times(scene, seconds(15));
}

// One of many connections that have two sessions each, use them all the time, and start another for each that is lost.
// Policy sessions that wait for an authValue cannot be made again, so they are as good as HMAC sessions.
void hoard(const std::string& socket, const Ready& ready) {
  Socket own(socket);
  const auto start = [&] {
    const auto one = own.run(support::start_session(SessionType::kPolicy)).handle;
    if (one != 0 && own.run(support::command(wire::cc::kPolicyAuthValue, {one}, {}, {})).code == 0) return one;
    if (one != 0) own.run(support::flush_context(one));
    return std::uint32_t{0};
  };
  std::array sessions = {start(), start()};
  ready();
  for (;; std::this_thread::sleep_for(milliseconds(500)))
    for (auto& one : sessions) {
      if (one != 0 && own.run(support::policy_get_digest(one)).code == 0) continue;
      if (one != 0) own.run(support::flush_context(one));
      one = start();
    }
}

// Of policy sessions that can be rebuilt, so that each needs a number of the chip and takes no session from another
// user.
Bytes one_number() {
  return support::start_session(SessionType::kPolicy);
}

// Each connection keeps the last session that it got: far more than the chip has numbers, all of them just used.
void want_numbers(Scene& scene) {
  Crowd crowd{scene.quick ? 300U : 1500U, one_number(), 5, true};
  if (scene.is_control) crowd = {crowd.connections, support::get_random(), crowd.cancels, false};
  scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) { keep_asking(scene.socket, crowd, ready); });
}

std::vector<double> through_the_line_for_numbers(Scene& scene) {
  want_numbers(scene);
  return random_times(scene, seconds(8));
}

// All that the chip has numbers for, used again and again: none of them is idle for as long as a number is waited for.
[[noreturn]] void use_all_numbers(const std::string& socket, const Ready& ready) {
  Socket own(socket);
  std::vector<std::uint32_t> sessions;
  while (sessions.size() < 64) sessions.push_back(own.run(one_number()).handle);
  ready();
  for (;; std::this_thread::sleep_for(milliseconds(50)))
    for (const auto one : sessions) {
      own.run(support::policy_command_code(one, wire::cc::kSign));
      own.run(support::policy_restart(one));
    }
}

std::vector<double> number_times(const Scene& scene) {
  return measured_as(kVictim, [&] {
    Socket own(scene.socket);
    return times_of([&] { return comes_and_goes(own, one_number()); }, scene.span(seconds(10)));
  });
}

std::vector<double> in_the_line_for_numbers(Scene& scene) {
  want_numbers(scene);
  return number_times(scene);
}

std::vector<double> beside_all_numbers(Scene& scene) {
  if (!scene.is_control)
    scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) { use_all_numbers(scene.socket, ready); });
  return number_times(scene);
}

// A user without sessions starts one session after the other. The first session, which has to be waited for, is not
// measured. In the control the other user works as hard with 52 sessions, so that some are free.
std::vector<double> one_after_the_other(Scene& scene) {
  while (scene.others.size() < (scene.is_control ? 26 : 30))
    scene.others.emplace_back(kFirstHostile, [&](const Ready& ready) { hoard(scene.socket, ready); });
  return measured_as(kVictim, [&] {
    Socket own(scene.socket);
    (void)comes_and_goes(own, one_session());
    std::vector<double> out;
    for (int i = 0; i < (scene.quick ? 3 : 10); ++i) {
      std::this_thread::sleep_for(seconds(1));
      const auto one = times_of([&] { return comes_and_goes(own, one_session()); }, milliseconds(0));
      out.insert(out.end(), one.begin(), one.end());
    }
    return out;
  });
}

// Policy sessions that can be made again, 64 of each connection.
void park(const std::string& socket, std::size_t connections, const Ready& ready) {
  std::deque<Socket> all;
  for (std::size_t i = 0; i < connections; ++i) all.emplace_back(socket);
  const Bytes start = support::start_session(SessionType::kPolicy);
  for (int k = 0; k < 64; ++k) {
    for (auto& one : all) one.send(start);
    for (auto& one : all) (void)one.receive();
  }
  ready();
  for (;;) std::this_thread::sleep_for(seconds(60));
}

std::vector<double> beside_parked_ones(Scene& scene) {
  for (uid_t i = 0; !scene.is_control && i < 4; ++i)
    scene.others.emplace_back(kFirstHostile + i,
                              [&](const Ready& ready) { park(scene.socket, scene.quick ? 8 : 64, ready); });
  return random_times(scene, seconds(6));
}

}  // namespace

std::vector<Flood> session_floods() {
  return {
      {"GetRandom; 1500 connections of another user wait for a session, cancel and ask again, 5 each millisecond",
       "they ask for GetRandom", "", through_the_line},
      {"GetRandom; 2500 of them expire together every 3 s", "they ask for GetRandom",
       "[profile.default]\ndeadline = \"3s\"\n", by_deadlines},
      {"GetRandom; 1500 connections of another user start policy sessions, for which the chip has no numbers, "
       "cancel and ask again, 5 each millisecond",
       "they ask for GetRandom", "", through_the_line_for_numbers},
      {"StartAuthSession of a policy session and FlushContext; the same flood", "they ask for GetRandom", "",
       in_the_line_for_numbers},
      {"StartAuthSession of a policy session and FlushContext; another user uses 64 policy sessions all the time",
       "no other user is there", "", beside_all_numbers},
      {"StartAuthSession and FlushContext, once a second; another user has all sessions and wants more; not the first",
       "the other user has 52 and wants no more", "", one_after_the_other},
      {"GetRandom; 4 other users have 4096 parked sessions each", "no other user is there", "", beside_parked_ones},
  };
}

}  // namespace tpmspace::bench
