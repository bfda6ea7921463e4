// Evaluates weights on given tokens and writes every number that the definition of the models knows (docs/GLOSSARY.md): logits, loss,
// entropies, regulariser values, gradients, the state after optimiser steps.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace entrain::trainer {

struct ProbeOptions {
  // A JSON file: a model section ({"model": {...}, "optimiser": {...}} as in a numerical case, or a checkpoint's config.json), or a Hugging
  // Face GPT-2 config.json.
  std::string config;
  // A safetensors file, or a folder that holds model.safetensors.
  std::string weights;
  // `tokens` integer [B,T] and, optionally, `labels` [B,T] (already shifted, -100 not counted). Without labels the next token is the label
  // and the last position is not counted.
  std::string tokens;
  // Instead of tokens: a text file, tokenised and cut into sequences of n_positions (or one of all its tokens, where they are fewer).
  std::string text;
  // What data::OpenTokenizer takes. Empty: the tokenizer.json, or vocab.json beside merges.txt, in the folder of the weights or of the
  // config; without one bytes, for a vocabulary of 256 or 257.
  std::string tokenizer;
  // Of a longer text the first so many sequences are read: every one takes a T x T matrix a head and a row of logits a token.
  std::int64_t max_sequences = 8;
  std::string out;
  // Also write grad.<parameter>.
  bool gradients = false;
  // Optimiser steps on the same batch, with the config's `optimiser` section or AdamW's defaults; 0: none.
  std::int64_t steps = 0;
  // Compute, and write, in double precision.
  bool float64 = false;
  // Where to compute.
  std::string device = "cpu";
};

// Writes `out` as safetensors. INVALID_ARGUMENT or NOT_FOUND names the file and field that is wrong; then nothing is written.
absl::Status RunProbe(const ProbeOptions& options);

}  // namespace entrain::trainer
