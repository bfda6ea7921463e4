// How long what runs leave behind is kept. docs/operations.md says what each means to a user.
#pragma once

#include <cstdint>

namespace entrain::retention {

// Ages are of the wall clock, in seconds; 0 switches a rule off.
struct Limits {
  // Newest checkpoints kept of every run, beside those that are needed whatever their age.
  std::int64_t keep_newest = 5;
  // Of a sweep that ended so long ago only the results stay, or nothing once it is released.
  std::int64_t delete_after_s = 0;
  // A sweep that ended so long ago is released by itself.
  std::int64_t release_after_s = 0;
  // Datasets and checkpoints together. Beyond it sweeps that ended are cut to their results, the longest over first.
  std::int64_t artifact_quota_bytes = 0;
  // What nothing in the store names goes when nobody has touched it for so long. Never 0.
  std::int64_t orphan_grace_s = 86'400;
  // A dataset that no sweep names goes when it is so old: somebody may have prepared it for a sweep that is still to come.
  std::int64_t delete_datasets_after_s = 0;
  // Of a sweep that ended so long ago about `samples_kept` samples a run stay.
  std::int64_t thin_after_s = 0;
  std::int64_t samples_kept = 1'000;
  // Beyond it the runs of sweeps that ended are thinned, the longest over first, then down to their results.
  std::int64_t sample_quota_bytes = 0;
  // Log lines: of one run, and in all (of sweeps that ended, the longest over first). The oldest lines go.
  std::int64_t log_bytes_per_run = 0;
  std::int64_t log_quota_bytes = 0;
};

}  // namespace entrain::retention
