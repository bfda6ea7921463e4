// A checkpoint brought home: a folder that transformers, entrain-trainer and people can use.
//
//   config.json, model.safetensors   as the trainer wrote them
//   tokenizer.*                      of the run's dataset, where it has a file
//   README.md                        where the weights come from
//   optimizer.safetensors, state.json, manifest.json   only when asked for: what training on needs
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/client.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::cli {

// Which of a run's checkpoints is meant.
enum class CheckpointWish { kBestOrLast, kBest, kLast, kStep };

struct ChosenCheckpoint {
  v1::Checkpoint checkpoint;
  std::optional<double> eval_loss;  // at that step, nats
  std::string remark;               // when it is not quite what was asked for; else empty
};

// Best: the lowest held-out loss among checkpoints at whose step there was an evaluation that counts. NOT_FOUND says which steps there are.
absl::StatusOr<ChosenCheckpoint> ChooseCheckpoint(const v1::RunDetail& run, CheckpointWish wish, std::int64_t step);

struct FetchOptions {
  std::string target;        // the folder to make; must not exist, or be empty
  bool with_training_state = false;
  // Called after every piece; an error ends the fetch.
  std::function<absl::Status(std::int64_t bytes_so_far)> on_progress;
};

struct FetchedModel {
  std::int64_t bytes = 0;
  std::string tokenizer;  // its name; empty when the dataset is not known any more
};

// Into a neighbour folder first, every file checked against the checkpoint's manifest and that against the coordinator's record, fsynced, then
// renamed: `target` is complete or absent. ALREADY_EXISTS, DATA_LOSS.
absl::StatusOr<FetchedModel> FetchModel(Client* client, const v1::RunDetail& run, const ChosenCheckpoint& chosen,
                                        const FetchOptions& options);

}  // namespace entrain::cli
