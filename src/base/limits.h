// Every limit of this room, with its reason. What an administrator may change is in config.h (`Limits`) and starts from
// the defaults here. Units are in the names or beside the value.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tpmspace::limits {

using std::chrono::milliseconds;
using std::chrono::seconds;

// --- Defaults of the configuration -----------------------------------------------------------------------------------
// Connections in all; 0: none but the descriptors the system gives us.
inline constexpr std::uint32_t kConnections = 0;
// Of one owner: generous for thousands of short-lived clients of a service, and far below the usual 524,288
// descriptors, so that one owner cannot take them all.
inline constexpr std::uint32_t kConnectionsPerOwner = 4096;
// Of one space: as the manager's own defaults (books/owner.h).
inline constexpr std::uint32_t kObjects = 1000;
inline constexpr std::uint32_t kSessions = 64;
// Saved contexts in the whole daemon, octets: 1 KiB each, so about 65,000 objects.
inline constexpr std::uint64_t kBytes = 64ULL << 20;
inline constexpr std::uint64_t kLeastBytes = 1U << 16;  // with less nobody could keep anything
// Sessions that outlive their connection, of one owner: a quarter of a typical chip's 64.
inline constexpr std::uint32_t kClientSavedSessions = 16;
// Commands that wait for the TPM, all clients together: a command is at most 4 KiB, so at most 40 MiB. Each owner's
// share of them: books/shared_room.h.
inline constexpr std::uint32_t kQueue = 10'000;

// --- The event loop --------------------------------------------------------------------------------------------------
// One read: a typical command is below 1 KiB, the largest 4 KiB.
inline constexpr std::size_t kReadChunk = 8192;
// Frames of one connection handled before the others get their turn: refusals and control replies cost no TPM time, so
// nothing else would stop a client that sends only those.
inline constexpr unsigned kFramesPerTurn = 16;
// A long reply counts for more: each so many bytes as one frame.
inline constexpr std::size_t kReplyPerFrame = 1024;
// Of those that have more to handle, so many before new events are looked at: while a flood is handled everybody else
// waits that long for each thing that happens, and to look costs less than one frame.
inline constexpr std::size_t kTurnsPerRound = 2;
// So many entries of the queue for turns are looked at, also those of connections that have ended: more than can come
// in.
inline constexpr std::size_t kTurnLooksPerRound = 64;
// Descriptors that no client gets: a quarter of those the system gives us, at most this many, and at least what follows
// and a few to refuse others with.
inline constexpr unsigned kKeptDescriptors = 256;
// What the daemon itself has open is below these: without TPMs and listeners, for each TPM, for each listener.
inline constexpr unsigned kOwnDescriptors = 20;
inline constexpr unsigned kChipDescriptors = 7;
inline constexpr unsigned kListenerDescriptors = 3;
// Clients of whose programs nothing is known yet, because nothing is decided by it: a descriptor of each process is
// kept until the first command. Beyond these it is read at once.
inline constexpr unsigned kUnreadProcesses = 16;
// Open for a moment, to find out who has come or to read a file.
inline constexpr unsigned kPassingDescriptors = 8;
// Connections beyond every limit, for root and the daemon's own user at the main listener: whoever can end a flood must
// be let in.
inline constexpr unsigned kAdministratorPlaces = 8;
// How often a connection may give rights away: there are not many more things to give.
inline constexpr unsigned kNarrowings = 16;
// Different identities in a line of connections, each of which joined the one before it (docs/fork.md). Processes that
// are alike count once, however often they forked.
inline constexpr std::size_t kOpeners = 8;
// Connections of a listening socket that are accepted before everything else has its turn: some microseconds each.
// While one user connects and closes in a loop everybody else waits that long several times for each command.
inline constexpr unsigned kAcceptsPerTurn = 32;
// Connections that were accepted and not identified yet, where there are kManyDescriptors; with fewer descriptors a
// sixteenth of them, at most an eighth of this. It is above the default of `limits.connections_per_owner`, which ends
// the burst of one user, so that the kernel's queue stays empty for everybody else.
inline constexpr unsigned kArrivals = 8192, kManyDescriptors = 16'384;
// Of those that are identified in one round, and that have hung up meanwhile and are closed.
inline constexpr unsigned kIdentificationsPerRound = 8;
inline constexpr unsigned kHangupsPerRound = 64;
// Waiting connections in the kernel (it caps this at net.core.somaxconn, 4096).
inline constexpr int kBacklog = 4096;
// Without descriptors: accepting is tried again after a client left, or after this time.
inline constexpr milliseconds kAcceptPause{1000};
// Clients above a limit of connections are answered before they are closed; this many at a time are waited for (fewer
// with few descriptors), this long each. Beyond that they are closed at once.
inline constexpr std::size_t kRefusedAtATime = 64;
inline constexpr seconds kRefusedPatience{5};

// --- The TPM ---------------------------------------------------------------------------------------------------------
// A TPM that is started longer than this is said to be waited for; a chip may well test itself for a second or two.
inline constexpr seconds kSlowStart{3};
// Clients are let in when the main TPM serves and the others do too or have failed, or after this time: who wants one
// that is still not there is refused.
inline constexpr seconds kChipPatience{10};
// One that is not there, or is gone, is tried again after this time, then after twice that, up to the second.
inline constexpr milliseconds kRetryFirst{1000};
inline constexpr milliseconds kRetryMost{30'000};
// How often a running command's deadline is looked at; deadlines are 10 s and more.
inline constexpr milliseconds kWatchdogPeriod{250};
// Lists of sessions that the event loop makes in one such period while a command is at the TPM.
inline constexpr std::size_t kListsMeanwhile = 8;
// A chip may miss that it was asked to give a command up: it is asked again this often.
inline constexpr milliseconds kCancelRetry{50};
// Orders to the TPM's thread that it has not taken yet, an open and a submit for as many commands as may wait; each
// owner's share: books/shared_room.h. On top of these: one close for each connection it knows.
inline constexpr std::size_t kOrders = 2 * std::size_t{kQueue};
// Of these, so many are taken between two steps of the engine, a few microseconds each; owners take turns.
inline constexpr std::size_t kOrdersPerStep = 16;
// Orders to flush sessions, of all administrators together, that the TPM's thread has not done: it takes one session
// after each client's command.
inline constexpr std::size_t kFlushOrders = 16;
// After TERM: the command in flight may end by itself this long, then it is cancelled, and after this long again we
// leave without it. Together well below systemd's 90 s.
inline constexpr seconds kStopGrace{10};
inline constexpr seconds kStopCancel{10};

// --- The log ---------------------------------------------------------------------------------------------------------
// Lines of one kind that a client can cause: this many in a period, then only their number.
inline constexpr unsigned kLinesPerPeriod = 5;
inline constexpr seconds kLinePeriod{10};
// One line, octets; what is longer is cut.
inline constexpr std::size_t kMaxLine = 2048;
// Of the log, and of audit records, octets that nobody has taken yet: some thousand lines.
inline constexpr std::size_t kMaxUnwritten = 1 << 20;
// At the end they are waited for this long.
inline constexpr seconds kLastWords{2};

// --- The configuration -----------------------------------------------------------------------------------------------
// A file is read whole; this one is a page of text.
inline constexpr std::size_t kMaxConfigFile = 1 << 20;
// What it may have of each: far beyond what anybody writes by hand. A profile with full lists is 37 KiB, so all of them
// are below 5 MiB; a client is compared with every rule once.
inline constexpr std::size_t kProfiles = 128;
inline constexpr std::size_t kRules = 1024;
inline constexpr std::size_t kListeners = 64;
inline constexpr std::size_t kNamespaces = 64;
// TPMs beside the main one: each has a thread, and a machine has one or two chips and some software TPMs.
inline constexpr std::size_t kChips = 16;
inline constexpr std::size_t kListEntries = 256;
// Octets of the name of a profile, listener or namespace, for people; of a pattern, as no path is longer (PATH_MAX).
inline constexpr std::size_t kMaxName = 64;
inline constexpr std::size_t kMaxPattern = 4096;

}  // namespace tpmspace::limits
