// SentencePiece behind std types only: its headers declare an absl::string_view that does not go together with absl's
// own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::data {

class SentencePieceModel {
 public:
  // Null and a reason in `error` when the bytes are no model.
  static std::unique_ptr<SentencePieceModel> Load(const std::string& model, std::string* error);
  ~SentencePieceModel();

  std::int64_t vocab_size() const;
  bool has_end_of_sentence() const;
  std::uint32_t end_of_sentence() const;
  std::uint32_t unknown() const;
  // False and a reason in `error` when the text cannot be encoded. Thread-safe.
  bool Encode(std::string_view text, std::vector<std::uint32_t>* tokens, std::string* error) const;

  // Appends the text; false and a reason in `error` for a token outside the vocabulary. Thread-safe.
  bool Decode(const std::uint32_t* tokens, std::size_t count, std::string* text, std::string* error) const;

 private:
  struct Impl;
  explicit SentencePieceModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Trains on the lines; empty, with a reason in `error`, when that fails.
std::string TrainSentencePieceModel(const std::string& model_type, std::int64_t vocab_size, std::size_t max_line_bytes,
                                    const std::vector<std::string>& lines, std::string* error);

}  // namespace entrain::data
