// What one client may ask of the coordinator.
#pragma once

#include <cstddef>
#include <cstdint>

namespace entrain::rpc {

inline constexpr int kMaxReceivedMessageBytes = 16 << 20;
inline constexpr int kMaxSentMessageBytes = 64 << 20;
inline constexpr int kMaxStreamsPerConnection = 1024;  // further ones wait in the client
inline constexpr int kMaxMetadataBytes = 16 << 10;     // of one call: headers and token
inline constexpr std::size_t kMaxYamlBytes = 4 << 20;
inline constexpr std::size_t kMaxNameBytes = 256;  // owners, keys, ids
inline constexpr std::size_t kMaxRunsPerSweep = 100'000;
// Threads for calls: one a running call or stream and one more a worker's control stream.
inline constexpr int kMaxThreads = 4096;
inline constexpr std::size_t kMaxServerMemoryBytes = std::size_t{1} << 30;
// Messages that wait for one slow worker; beyond it its stream is ended, and it learns the difference when it connects again.
inline constexpr std::size_t kMaxQueuedWorkerMessages = 4096;
inline constexpr std::size_t kMaxLogLineBytes = 16 << 10;
inline constexpr int kMaxLogLinesPerChunk = 10'000;
inline constexpr int kMaxSamplesPerBatch = 4096;
// How long a call waits for the core's answer.
inline constexpr std::int64_t kReplyTimeoutMs = 30'000;
// A watched sweep is looked at this often.
inline constexpr std::int64_t kWatchIntervalMs = 250;
inline constexpr std::int64_t kSamplesPerPage = 256;
inline constexpr std::int64_t kLogLinesPerPage = 1024;
// One piece of a file that is sent; at most one of them is held a call.
inline constexpr std::int64_t kFilePieceBytes = 1 << 20;
inline constexpr int kMaxFilesPerFetch = 64;
// Results of final runs that are kept at hand.
inline constexpr std::size_t kMaxCachedResults = 20'000;

}  // namespace entrain::rpc
