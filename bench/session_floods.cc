// Floods of those that want sessions: through the queue for them, by their deadlines, by holding them all, by leaving
// them parked.
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

constexpr uid_t kHostile = 1001, kVictim = 6001;

Bytes one_session() {
  return support::start_session(SessionType::kHmac);
}

std::vector<double> random_times(const std::string& socket, milliseconds span) {
  return measured_as(kVictim, [&] {
    Socket own(socket);
    const Bytes command = support::get_random();
    return times_of([&] { own.run(command); }, span);
  });
}

// Every session that the bank gives out, held by one user for ever.
Process hold_all_sessions(const std::string& socket) {
  return {kHostile, [=](const Ready& ready) {
            std::deque<Socket> held;
            for (int i = 0; i < 60; ++i) held.emplace_back(socket).run(one_session());
            ready();
            for (;;) std::this_thread::sleep_for(seconds(60));
          }};
}

Process ask_in_a_crowd(const std::string& socket, const Crowd& crowd) {
  return {kHostile, [=](const Ready& ready) { keep_asking(socket, crowd, ready); }};
}

std::vector<double> through_the_line(const std::string& socket, bool is_control, bool quick) {
  const Process holder = hold_all_sessions(socket);
  const Crowd crowd{quick ? 300U : 1500U, is_control ? support::get_random() : one_session(), 5};
  const Process others = ask_in_a_crowd(socket, crowd);
  return random_times(socket, seconds(quick ? 3 : 12));
}

// All that wait expire together, ask again together, and so on.
std::vector<double> by_deadlines(const std::string& socket, bool is_control, bool quick) {
  const Process holder = hold_all_sessions(socket);
  const Crowd crowd{quick ? 600U : 4000U, is_control ? support::get_random() : one_session(), 0};
  const Process others = ask_in_a_crowd(socket, crowd);
  return random_times(socket, seconds(quick ? 5 : 15));
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

// A user who holds none starts one after the other. The first one, which has to be waited for, is not measured. In the
// control the other user works as hard with 52 sessions, so that some are free.
std::vector<double> one_after_the_other(const std::string& socket, bool is_control, bool quick) {
  std::deque<Process> hoarders;
  while (hoarders.size() < (is_control ? 26 : 30))
    hoarders.emplace_back(kHostile, [=](const Ready& ready) { hoard(socket, ready); });
  return measured_as(kVictim, [&] {
    Socket own(socket);
    own.run(support::flush_context(own.run(one_session()).handle));
    std::vector<double> out;
    for (int i = 0; i < (quick ? 3 : 10); ++i) {
      std::this_thread::sleep_for(seconds(1));
      const auto one =
          times_of([&] { own.run(support::flush_context(own.run(one_session()).handle)); }, milliseconds(0));
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

std::vector<double> beside_parked_ones(const std::string& socket, bool is_control, bool quick) {
  std::deque<Process> users;
  for (uid_t i = 0; !is_control && i < 4; ++i)
    users.emplace_back(kHostile + i, [=](const Ready& ready) { park(socket, quick ? 8 : 64, ready); });
  return random_times(socket, seconds(quick ? 2 : 6));
}

}  // namespace

std::vector<Flood> session_floods() {
  return {
      {"GetRandom; 1500 connections of another user wait for a session, cancel and ask again, 5 each millisecond",
       "they ask for GetRandom", "", through_the_line},
      {"GetRandom; 4000 of them expire together every 3 s", "they ask for GetRandom",
       "[profile.default]\ndeadline = \"3s\"\n", by_deadlines},
      {"StartAuthSession and FlushContext, once a second; another user has all sessions and wants more; not the first",
       "the other user has 52 and wants no more", "", one_after_the_other},
      {"GetRandom; 4 other users have 4096 parked sessions each", "nobody else is there", "", beside_parked_ones},
  };
}

}  // namespace tpmspace::bench
