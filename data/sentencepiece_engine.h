// What the shared object with SentencePiece offers. Debian's library carries a Protobuf of its own under the same names as the one that gRPC
// needs, so it is loaded with its own symbols first, and nothing of it is linked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace entrain::data {

struct SentencePieceEngine {
  void* (*load)(const std::string& model, std::string* error);  // null and a reason when the bytes are no model
  void (*release)(void* model);
  std::int64_t (*vocab_size)(const void* model);
  int (*end_of_sentence)(const void* model);  // -1: none
  int (*unknown)(const void* model);
  bool (*encode)(const void* model, std::string_view text, std::vector<std::uint32_t>* tokens, std::string* error);
  bool (*decode)(const void* model, const std::uint32_t* tokens, std::size_t count, std::string* text, std::string* error);
  std::string (*train)(const std::string& model_type, std::int64_t vocab_size, std::size_t max_line_bytes,
                       const std::vector<std::string>& lines, std::string* error);
};

inline constexpr char kSentencePieceEngineSymbol[] = "entrain_sentencepiece_engine";

}  // namespace entrain::data
