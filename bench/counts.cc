#include "bench/counts.h"

#include <functional>
#include <memory>

#include "bench/link.h"
#include "demo/kit/esys.h"
#include "demo/kit/interrupt.h"
#include "tests/support/tpm_commands.h"

namespace tpmspace::bench {
namespace {

using wire::Bytes;

// Does the work once; the number of commands that its clients sent.
using Round = std::function<unsigned()>;
struct Workload {
  const char* name;
  bool fits_bare;  // one connection at a time, three objects, three sessions
  const char* linux_elsewhere;
  std::function<Round(const std::string& tcti)> set_up;
};

// An ESYS client with keys and an HMAC session that authorizes their use.
class Signer {
 public:
  Signer(const std::string& tcti, unsigned keys) : tpm_(tcti) {
    for (unsigned i = 0; i < keys; ++i) {
      const demo::Bytes unique{static_cast<std::uint8_t>(i + 1)};
      keys_.push_back(tpm_.create_primary(demo::KeyUse::kSigning, unique, {}, ESYS_TR_PASSWORD));
    }
  }
  void start_session() { session_ = tpm_.start_hmac_session(nullptr); }

  unsigned sign_with_each() {
    TPM2B_DIGEST digest{};
    digest.size = 32;
    for (const auto& key : keys_) (void)tpm_.sign(key, digest, session_);
    return static_cast<unsigned>(keys_.size());
  }
  unsigned get_random() {
    (void)tpm_.get_random(8);
    return 1;
  }
  unsigned flush_all() {
    for (const auto& key : keys_) tpm_.flush(key.handle);
    if (session_ != ESYS_TR_PASSWORD) tpm_.flush(session_);
    return static_cast<unsigned>(keys_.size()) + (session_ != ESYS_TR_PASSWORD ? 1 : 0);
  }

 private:
  demo::Tpm tpm_;
  ESYS_TR session_ = ESYS_TR_PASSWORD;
  std::vector<demo::Key> keys_;
};

Round one_key_random(const std::string& tcti) {
  auto client = std::make_shared<Signer>(tcti, 1);
  return [client] { return client->get_random(); };
}
Round one_key_sign(const std::string& tcti) {
  auto client = std::make_shared<Signer>(tcti, 1);
  return [client] { return client->sign_with_each(); };
}
Round three_keys_and_session(const std::string& tcti) {
  auto client = std::make_shared<Signer>(tcti, 3);
  client->start_session();
  return [client] { return client->sign_with_each() + client->get_random(); };
}
Round in_turn(const std::string& tcti, unsigned clients) {
  auto all = std::make_shared<std::vector<std::unique_ptr<Signer>>>();
  for (unsigned i = 0; i < clients; ++i) {
    all->push_back(std::make_unique<Signer>(tcti, 1));
    all->back()->start_session();
  }
  return [all] {
    unsigned commands = 0;
    for (const auto& client : *all) commands += client->sign_with_each();
    return commands;
  };
}
Round whole_life(const std::string& tcti) {
  return [tcti] {
    Signer client(tcti, 1);
    client.start_session();
    return 2 + client.sign_with_each() + client.flush_all();
  };
}

// A secret sealed to PolicyCommandCode(Unseal), as a context that a file would hold.
Bytes sealed_context(const std::string& tcti) {
  using namespace support;
  Link link(tcti);
  const auto trial = link.run_for_handle(start_session(SessionType::kTrial));
  link.run(policy_command_code(trial, cc::kUnseal));
  const Bytes digest = link.run_for_parameters(policy_get_digest(trial));
  link.run(flush_context(trial));
  const auto policy = wire::Reader(digest).tpm2b().value_or(ByteView{});
  const auto parent = link.run_for_handle(create_primary(kOwner));
  const Bytes secret(32, 0x42);
  const Bytes created = link.run_for_parameters(create(parent, sealed_template(policy), secret));
  wire::Reader blob(created);
  (void)blob.tpm2b();  // private
  (void)blob.tpm2b();  // public
  const auto sealed = link.run_for_handle(load(parent, ByteView(created).first(blob.offset())));
  Bytes context = link.run_for_parameters(context_save(sealed));
  link.run(flush_context(sealed));
  link.run(flush_context(parent));
  return context;
}

// The commands of `tpm2_startauthsession -S`, a policy tool and `tpm2_unseal -p session:`, each a separate process.
Round policy_across_processes(const std::string& tcti) {
  return [tcti, sealed = sealed_context(tcti)] {
    using namespace support;
    Bytes session_file;
    {
      Link start(tcti);
      const auto session = start.run_for_handle(start_session(SessionType::kPolicy));
      session_file = start.run_for_parameters(context_save(session));
    }
    {
      Link policy(tcti);
      const auto session = policy.run_for_handle(context_load(session_file));
      policy.run(policy_command_code(session, cc::kUnseal));
      session_file = policy.run_for_parameters(context_save(session));
    }
    Link unsealing(tcti);
    const auto object = unsealing.run_for_handle(context_load(sealed));
    const auto session = unsealing.run_for_handle(context_load(session_file));
    unsealing.run(unseal(object, authorization(session)));
    unsealing.run(flush_context(session));
    unsealing.run(flush_context(object));
    return 10U;
  };
}

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all{
      {"1 key: GetRandom", true, "4", one_key_random},
      {"1 key: Sign", true, "4", one_key_sign},
      {"3 keys and a session: Sign with each, GetRandom", true, "12", three_keys_and_session},
      {"2 clients taking turns, each a key and a session: Sign", false, "6",
       [](const std::string& tcti) { return in_turn(tcti, 2); }},
      {"8 clients taking turns, each a key and a session: Sign", false, "6",
       [](const std::string& tcti) { return in_turn(tcti, 8); }},
      {"whole life of a client: CreatePrimary, StartAuthSession, Sign, 2 flushes", true, "4.6", whole_life},
      {"policy session through 3 processes by context files, Unseal", true, "", policy_across_processes},
  };
  return all;
}

tl::expected<double, std::string> per_command(Lab& lab, Peer peer, const Workload& workload) try {
  constexpr int kRounds = 5;
  if (demo::interrupted()) return tl::unexpected(std::string("interrupted"));
  auto site = lab.build(peer, true);
  if (!site) return tl::unexpected(site.error());
  const Round round = workload.set_up(site->tcti());
  (void)round();
  const auto before = site->relay().settled_count();
  unsigned commands = 0;
  for (int i = 0; i < kRounds; ++i) commands += round();
  const auto after = site->relay().settled_count();
  return static_cast<double>(after - before) / commands;
} catch (const demo::Failure& failure) {
  return tl::unexpected(std::string(workload.name) + " on " + name_of(peer) + ": " + failure.command + ": " +
                        demo::in_words(failure.code));
} catch (const std::exception& e) {
  return tl::unexpected(std::string(workload.name) + " on " + name_of(peer) + ": " + e.what());
}

}  // namespace

tl::expected<std::vector<CountRow>, std::string> count_commands(Lab& lab) {
  std::vector<CountRow> out;
  for (const auto& workload : workloads()) {
    CountRow row{workload.name, {}, {}, {}, workload.linux_elsewhere};
    for (const auto& [peer, count] :
         {std::pair{Peer::kDirect, &row.bare}, {Peer::kTpmspace, &row.tpmspace}, {Peer::kAbrmd, &row.abrmd}}) {
      if (!lab.has(peer) || (peer == Peer::kDirect && !workload.fits_bare)) continue;
      const auto counted = per_command(lab, peer, workload);
      if (!counted) return tl::unexpected(counted.error());
      *count = *counted;
    }
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace tpmspace::bench
