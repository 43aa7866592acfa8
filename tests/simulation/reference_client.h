// A client that sends the same to two TPMs and remembers each response.
//
// Idea: a generated `Step` is numbers only. Their meaning is decided when the step is sent, by the client's knowledge
// then: "the third living session", "a stale handle", "the blob from before". So a shrunk sequence stays meaningful,
// and one step becomes two commands, each with that side's own handles and blobs. Side 0 is the subject, side 1 the
// reference. Most choices are sensible ones; some are wild on purpose: handles that are stale, of the wrong kind or
// never existed, wrong passwords, changed blobs. Threads: none. Limits: the memory is bounded (kRemembered of each
// kind); the oldest are forgotten first.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "speech.h"

namespace tpmspace::simulation {

inline constexpr std::size_t kSides = 2;
inline constexpr std::size_t kRemembered = 24;

// A client's next step, as a generator makes it. Any numbers are a valid step.
struct Step {
  std::uint16_t what = 0;
  std::uint16_t a = 0, b = 0, c = 0;
  std::uint16_t auth = 0;

  auto operator<=>(const Step&) const = default;
};

enum class Verb : std::uint8_t {
  kCreatePrimary,
  kCreate,
  kCreateLoaded,
  kLoad,
  kLoadExternal,
  kReadPublic,
  kSign,
  kUnseal,
  kObjectChangeAuth,
  kPersist,
  kUnpersist,
  kContextSave,
  kContextLoad,
  kFlush,
  kHashStart,
  kHmacStart,
  kSequenceUpdate,
  kSequenceComplete,
  kEventComplete,
  kStartSession,
  kPolicyCommandCode,
  kPolicyPcr,
  kPolicyOther,  // PolicyOR, PolicyNvWritten, PolicyLocality
  kPolicyPlain,
  kPolicySecret,
  kListHandles,
  kProperty,
  kGetRandom,
  kPcrExtend,
  kPcrRead,
  kClear,
  kHierarchyControl,
  kChangeSeed,
  kLockReset,
};
inline constexpr std::size_t kVerbs = 34;
[[nodiscard]] const char* name_of(Verb verb);

// How often each verb is chosen, relative to the others.
struct Weights {
  unsigned ordinary = 4;
  unsigned persist = 1;
  unsigned sessions = 1;  // starting, saving and using them, times `ordinary`
  unsigned policies = 1;  // policy sessions, their steps and their objects; above 1 most sessions are policy sessions
  unsigned global = 1;    // Clear, HierarchyControl, ChangeEPS, ChangePPS, in thirds of `ordinary`
  bool wild = true;       // stale, foreign and garbage handles
  bool protects = false;  // many objects are protected from guessing
  unsigned lock_resets = 0;      // DictionaryAttackLockReset, in thirds of `ordinary`
  bool careful = false;          // no wrong authorization is ever said knowingly or by chance; wants `wild` off, too
  bool more_persistent = false;  // handles at the ends of windows, and how many objects there are
  // Either bound sessions or objects without a private part: libtpms 0.9.2 fails for good (0x101) when a bound session
  // is to authorize such an object.
  bool bound_sessions = true;
  // Whether side 1 is told, too, that an audit must be exclusive. Where others share side 0 it would not be the same
  // there (tpm-behaviour 9).
  bool exclusive_reference = true;
};

enum class EntityKind : std::uint8_t { kObject, kSequence, kEventSequence, kSession };

struct Entity {
  EntityKind kind = EntityKind::kObject;
  std::array<std::uint32_t, kSides> handle{};
  speech::Template made_as = speech::Template::kParent;
  speech::SessionKind session = speech::SessionKind::kHmac;
  wire::Bytes auth;
  std::uint64_t individual = 0;
  bool alive = true;                           // as far as the client knows
  std::array<std::uint32_t, kSides> parent{};  // of an object that was made under another one; 0: none
  // Of a policy session, as far as the client knows: the meaning of its digest.
  enum class Policy : std::uint8_t { kNothing, kUnseal, kPcr, kPassword, kBranch, kOther };
  Policy policy = Policy::kNothing;
  bool saved = false;  // a session that was put into a blob
};

struct Blob {
  std::array<wire::Bytes, kSides> context;
  Entity about;
  std::uint64_t client = 0;  // the saving client
  std::uint64_t serial = 0;  // never reused
};

struct Wrapped {
  std::array<wire::Bytes, kSides> bytes;  // TPM2B_PRIVATE, TPM2B_PUBLIC
  std::array<std::uint32_t, kSides> parent{};
  Entity about;
};

// Files, which clients can hand to each other.
struct Pool {
  std::vector<Blob> blobs;
  std::vector<Wrapped> wrapped;
  std::uint64_t next_serial = 1;
};

// One command, said twice.
struct Utterance {
  Verb verb = Verb::kGetRandom;
  std::array<wire::Bytes, kSides> bytes;
  std::array<std::uint32_t, kSides> handle{};                      // the main entity: saved, flushed, completed
  std::vector<std::array<std::uint32_t, kSides>> ending_sessions;  // used with continueSession clear
  std::vector<std::array<std::uint32_t, kSides>> used_sessions;
  std::uint32_t persistent = 0;          // that EvictControl names
  std::optional<Entity::Policy> policy;  // the state of the session `handle` after success
  std::optional<Entity> makes;
  std::optional<Blob> blob;  // the one to be loaded, as it was saved
  bool blob_changed = false;
  bool audit = false;  // with an audit session
  std::string text;    // for people
};

class ReferenceClient {
 public:
  using SessionMap = std::function<std::uint32_t(std::uint32_t)>;

  ReferenceClient(std::uint64_t id, std::shared_ptr<Pool> pool, const Weights& weights)
      : id_(id), pool_(std::move(pool)), weights_(weights) {}

  // How a session handle of side 0 is said on side 1. Default: the same.
  void set_session_map(SessionMap map) { session_map_ = std::move(map); }
  // Session handles of other clients, to be tried.
  void set_foreign_sessions(std::vector<std::uint32_t> handles) { foreign_ = std::move(handles); }

  [[nodiscard]] Utterance say(const Step& step);
  // Both sides answered, with the same code.
  // The session that `utterance` just saved was never told so; the context that its private TPM made.
  [[nodiscard]] wire::Bytes unlearn_save(const Utterance& utterance);
  void learn(const Utterance& utterance, const std::array<speech::Heard, kSides>& heard);
  // The chip was reset: everything is gone.
  void forget_volatile();

  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const std::vector<Entity>& entities() const { return entities_; }
  [[nodiscard]] Pool& pool() { return *pool_; }
  [[nodiscard]] Entity* find_session(std::uint32_t handle, std::size_t side);
  // Sessions that are gone without the client's knowledge (limits, resets, a response that never arrived): it would
  // continue to use their handles, which may be another client's by now.
  template <typename Predicate>
  void forget_sessions_unless(Predicate exists) {
    for (auto& entity : entities_)
      if (entity.kind == EntityKind::kSession && entity.alive && !exists(entity)) entity.alive = false;
  }
  // Another client loaded our blob, or the session was flushed.
  void lose_session(std::uint32_t handle, std::size_t side = 0);

 private:
  class Composer;
  using Handles = std::array<std::uint32_t, kSides>;

  void remember(Entity entity);
  void learn_policy(const Utterance& utterance);
  void end_session(const Handles& handle);
  void end(const Handles& handle);

  std::uint64_t id_;
  std::shared_ptr<Pool> pool_;
  Weights weights_;
  SessionMap session_map_;
  std::vector<std::uint32_t> foreign_;
  std::vector<Entity> entities_;
  std::uint64_t individuals_ = 0;
};

// Whether two answers to the same utterance say the same, where they can: codes, object handles, and values that are
// not random. Empty if they do, else a sentence. `exact`: both sides are models with one idea of keys, so that names,
// keys and lists must agree, too. `same_sessions`: session handles must agree.
struct Likeness {
  bool exact = false;
  bool same_sessions = true;
  bool compare_policy_digests = true;
};
[[nodiscard]] std::string difference(const Utterance& utterance, const std::array<speech::Heard, kSides>& heard,
                                     const Likeness& likeness);

}  // namespace tpmspace::simulation
