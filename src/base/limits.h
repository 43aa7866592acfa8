// The limits of the daemon, each with its reason. config.h (`Limits`) holds the limits that an administrator may
// change; they start from the defaults here. Units are in the names or beside the value.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tpmspace::limits {

using std::chrono::milliseconds;
using std::chrono::seconds;

// --- Defaults of the configuration -----------------------------------------------------------------------------------
// Connections in total; 0: the system's descriptor limit alone counts.
inline constexpr std::uint32_t kConnections = 0;
// Connections of one owner: generous for thousands of short-lived clients of a service, and far below the usual 524,288
// descriptors, so that one owner cannot take all descriptors.
inline constexpr std::uint32_t kConnectionsPerOwner = 4096;
// Objects and sessions of one space; also the manager's defaults (books/owner.h).
inline constexpr std::uint32_t kObjects = 1000;
inline constexpr std::uint32_t kSessions = 64;
// Bytes of saved contexts in the whole daemon: a context takes 1 KiB, so about 65,000 objects.
inline constexpr std::uint64_t kBytes = 64ULL << 20;
inline constexpr std::uint64_t kLeastBytes = 1U << 16;  // with less no client could keep an object
// Sessions of one owner that outlive their connection: a quarter of a typical chip's 64.
inline constexpr std::uint32_t kClientSavedSessions = 16;
// Commands of all clients waiting for the TPM: a command is at most 4 KiB, so at most 40 MiB. For each owner's share
// see books/shared_room.h.
inline constexpr std::uint32_t kQueue = 10'000;

// --- The event loop --------------------------------------------------------------------------------------------------
// Bytes of one read: a typical command is below 1 KiB, the largest is 4 KiB.
inline constexpr std::size_t kReadChunk = 8192;
// Frames of one connection handled before other connections get their turn: refusals and control replies cost no TPM
// time, so no other limit would stop a client that sends only such frames.
inline constexpr unsigned kFramesPerTurn = 16;
// A long reply counts for more than one frame: each so many bytes count as one frame.
inline constexpr std::size_t kReplyPerFrame = 1024;
// Connections with more frames to handle that get a turn before the loop looks at new events. During a flood every new
// event waits that long, and a look costs less than one frame.
inline constexpr std::size_t kTurnsPerRound = 2;
// Frames that the daemon answers without a TPM (refusals, control replies) cost the loop about 25 microseconds each. An
// owner may send the burst at once, then one frame each kFreeFrame: all owners together use a tenth of the loop.
inline constexpr std::size_t kFreeFrameBurst = 64;
inline constexpr std::chrono::microseconds kFreeFrame{250};
// Entries of the turn queue that one round looks at, entries of ended connections included: more than can be added in a
// round.
inline constexpr std::size_t kTurnLooksPerRound = 64;
// Descriptors kept from clients: a quarter of the system's limit, at most this many, and at least the daemon's own
// descriptors (below) plus a few to refuse clients with.
inline constexpr unsigned kKeptDescriptors = 256;
// Upper bounds of the daemon's own open descriptors: without TPMs and listeners, for each TPM, for each listener.
inline constexpr unsigned kOwnDescriptors = 20;
inline constexpr unsigned kChipDescriptors = 7;
inline constexpr unsigned kListenerDescriptors = 3;
// Clients whose programs are not read yet because no rule needs the program: the daemon keeps a descriptor of each such
// process until the first command. Above this number the program is read at once.
inline constexpr unsigned kUnreadProcesses = 16;
// Descriptors open for a moment, to identify a client or to read a file.
inline constexpr unsigned kPassingDescriptors = 8;
// Connections beyond every limit, for root and the daemon's own user at the main listener: an administrator must be
// able to connect and end a flood.
inline constexpr unsigned kAdministratorPlaces = 8;
// How often one connection may narrow its rights: there are few more rights to give up.
inline constexpr unsigned kNarrowings = 16;
// Different identities in a chain of connections, each of which joined the previous connection (docs/fork.md). Equal
// processes count once, however often they forked.
inline constexpr std::size_t kOpeners = 8;
// Connections that a listening socket accepts before other work has its turn: six microseconds each. While one user
// connects and closes in a loop, every other client waits that long several times for each command. With fewer accepts
// in a turn, the loop accepts more slowly than a user connects, and the kernel's queue fills.
inline constexpr unsigned kAcceptsPerTurn = 12;
// Accepted connections that are not identified yet, with at least kManyDescriptors descriptors; with fewer descriptors
// the limit is a sixteenth of the descriptors, at most kArrivals / 8. kArrivals is above the default of
// `limits.connections_per_owner`, which ends the burst of one user, so the kernel's queue stays empty for other users.
inline constexpr unsigned kArrivals = 8192, kManyDescriptors = 16'384;
// Accepted connections that one round identifies, and connections closed because the client hung up meanwhile.
inline constexpr unsigned kIdentificationsPerRound = 8;
inline constexpr unsigned kHangupsPerRound = 64;
// Connections that the kernel holds until the daemon accepts them, first come, first served (the kernel caps the number
// at net.core.somaxconn, 4096). If more than kBacklog connections came without a pause, someone connects faster than
// the daemon accepts, and every other client would wait for the whole queue: six microseconds for each connection. Then
// the queue is short for a while (docs/decisions/0022).
inline constexpr int kBacklog = 4096, kShortBacklog = 128;
inline constexpr seconds kShortBacklogFor{5};
// Without free descriptors, accepting is tried again after a client left, or after this time.
inline constexpr milliseconds kAcceptPause{1000};
// Clients above a limit of connections are answered before their connection is closed. The daemon waits for this many
// refused clients at a time (fewer with few descriptors), this long each. Further refused clients are closed at once.
inline constexpr std::size_t kRefusedAtATime = 64;
inline constexpr seconds kRefusedPatience{5};

// --- The TPM ---------------------------------------------------------------------------------------------------------
// If the start of a TPM takes longer than this, a log line says so; the self-test of a chip may take a second or two.
inline constexpr seconds kSlowStart{3};
// Clients are let in when the main TPM serves and every other TPM serves or has failed, or after this time. Then
// clients that want a missing TPM are refused.
inline constexpr seconds kChipPatience{10};
// A TPM that is missing or gone is tried again after the first time, then after twice that, up to the second time.
inline constexpr milliseconds kRetryFirst{1000};
inline constexpr milliseconds kRetryMost{30'000};
// How often the watchdog checks a running command's deadline; deadlines are 10 s and more.
inline constexpr milliseconds kWatchdogPeriod{250};
// Lists of sessions that the event loop makes in one such period while a command is at the TPM.
inline constexpr std::size_t kListsMeanwhile = 8;
// A chip may miss a request to cancel a command: the request is repeated this often.
inline constexpr milliseconds kCancelRetry{50};
// Orders that the TPM's thread has not taken yet: an open and a submit for as many commands as may wait. For each
// owner's share see books/shared_room.h. One close for each known connection comes on top.
inline constexpr std::size_t kOrders = 2 * std::size_t{kQueue};
// Orders that the thread takes between two steps of the engine, a few microseconds each; owners take turns.
inline constexpr std::size_t kOrdersPerStep = 16;
// Orders to flush sessions that the TPM's thread has not done, of all administrators together: the thread flushes one
// session after each client's command.
inline constexpr std::size_t kFlushOrders = 16;
// After TERM the command in flight may end by itself for the first time, then it is cancelled. After the second time
// the daemon leaves without the command's answer. Together the times are well below systemd's 90 s.
inline constexpr seconds kStopGrace{10};
inline constexpr seconds kStopCancel{10};

// --- The log ---------------------------------------------------------------------------------------------------------
// Lines of one kind that a client can cause: a period logs this many lines, then only the number of further lines.
inline constexpr unsigned kLinesPerPeriod = 5;
inline constexpr seconds kLinePeriod{10};
// Bytes of one line; longer lines are cut.
inline constexpr std::size_t kMaxLine = 2048;
// Unwritten bytes of the log, and of audit records: some thousand lines.
inline constexpr std::size_t kMaxUnwritten = 1 << 20;
// At the end the daemon waits this long for unwritten lines.
inline constexpr seconds kLastWords{2};

// --- The configuration -----------------------------------------------------------------------------------------------
// Bytes of a configuration file, which is read whole; a usual file is a page of text.
inline constexpr std::size_t kMaxConfigFile = 1 << 20;
// Entries of each kind in the configuration: far beyond any file written by hand. A profile with full lists is 37 KiB,
// so all profiles are below 5 MiB; a client is compared with every rule once.
inline constexpr std::size_t kProfiles = 128;
inline constexpr std::size_t kRules = 1024;
inline constexpr std::size_t kListeners = 64;
inline constexpr std::size_t kNamespaces = 64;
// TPMs beside the main TPM: each has a thread, and a machine has one or two chips and some software TPMs.
inline constexpr std::size_t kChips = 16;
inline constexpr std::size_t kListEntries = 256;
// Bytes of the name of a profile, listener or namespace, for people; bytes of a pattern: no path is longer (PATH_MAX).
inline constexpr std::size_t kMaxName = 64;
inline constexpr std::size_t kMaxPattern = 4096;

// --- The limits against each other
// ------------------------------------------------------------------------------------
static_assert(kLeastBytes <= kBytes);
static_assert(kClientSavedSessions <= kSessions);
static_assert(kOrders >= 2 * std::size_t{kQueue}, "an open and a submit for each command that may wait");
static_assert(kReplyPerFrame <= kReadChunk);
static_assert(kFreeFrameBurst >= kFramesPerTurn, "an owner within its burst has a whole turn");
static_assert(kTurnLooksPerRound > kTurnsPerRound);
static_assert(kKeptDescriptors > kOwnDescriptors + kChipDescriptors + kListenerDescriptors + kPassingDescriptors,
              "the kept descriptors are enough for the daemon with one TPM and one listener");
static_assert(kUnreadProcesses < kKeptDescriptors);
static_assert(kArrivals > kConnectionsPerOwner, "the burst of one user ends before the arrivals are full");
static_assert(kArrivals <= kManyDescriptors / 2);
static_assert(kIdentificationsPerRound < kArrivals && kHangupsPerRound < kArrivals);
static_assert(kAcceptsPerTurn > kIdentificationsPerRound, "the kernel's queue empties faster than arrivals wait");
static_assert(kBacklog > 0 && unsigned{kBacklog} >= kAcceptsPerTurn);
static_assert(kRetryFirst < kRetryMost);
static_assert(kWatchdogPeriod > kCancelRetry && kWatchdogPeriod < seconds{10}, "deadlines are 10 s and more");
static_assert(kSlowStart < kChipPatience, "a slow start is reported before clients are let in without the TPM");
static_assert(kStopGrace + kStopCancel + kLastWords < seconds{90}, "systemd kills a service after 90 s");
static_assert(kMaxLine < kMaxUnwritten);
static_assert(kLinePeriod > seconds{0} && kLinesPerPeriod > 0);
static_assert(kMaxName <= kMaxPattern && kMaxPattern <= kMaxConfigFile);
static_assert(kRules >= kProfiles, "each profile can have a rule");

}  // namespace tpmspace::limits
