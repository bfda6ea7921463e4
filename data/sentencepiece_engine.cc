#include "data/sentencepiece_engine.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <memory>
#include <unordered_map>

namespace entrain::data {
namespace {

using Processor = sentencepiece::SentencePieceProcessor;

const Processor& Of(const void* model) { return *static_cast<const Processor*>(model); }

class LineIterator : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return next_ >= lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  std::size_t next_ = 0;
};

void* Load(const std::string& model, std::string* error) {
  auto processor = std::make_unique<Processor>();
  const auto status = processor->LoadFromSerializedProto(model);
  if (status.ok()) return processor.release();
  *error = status.ToString();
  return nullptr;
}

void Release(void* model) { delete static_cast<Processor*>(model); }
std::int64_t VocabSize(const void* model) { return Of(model).GetPieceSize(); }
int EndOfSentence(const void* model) { return Of(model).eos_id(); }
int Unknown(const void* model) { return Of(model).unk_id(); }

bool Encode(const void* model, std::string_view text, std::vector<std::uint32_t>* tokens, std::string* error) {
  std::vector<int> ids;
  const auto status = Of(model).Encode({text.data(), text.size()}, &ids);
  if (!status.ok()) {
    *error = status.ToString();
    return false;
  }
  tokens->insert(tokens->end(), ids.begin(), ids.end());
  return true;
}

bool Decode(const void* model, const std::uint32_t* tokens, std::size_t count, std::string* text, std::string* error) {
  std::vector<int> ids(tokens, tokens + count);
  for (const int id : ids) {
    if (id >= 0 && id < Of(model).GetPieceSize()) continue;
    *error = "token " + std::to_string(id) + " of a vocabulary of " + std::to_string(Of(model).GetPieceSize());
    return false;
  }
  std::string decoded;
  const auto status = Of(model).Decode(ids, &decoded);
  if (!status.ok()) {
    *error = status.ToString();
    return false;
  }
  *text += decoded;
  return true;
}

// No normalisation and kept spaces make decoding exact; newlines reach the model as byte pieces, a run of spaces as one
// piece.
std::string Train(const std::string& model_type, std::int64_t vocab_size, std::size_t max_line_bytes,
                  const std::vector<std::string>& lines, std::string* error) {
  const std::unordered_map<std::string, std::string> arguments = {
      {"model_type", model_type},
      {"vocab_size", std::to_string(vocab_size)},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"split_digits", "true"},
      {"max_sentence_length", std::to_string(max_line_bytes)},
      {"minloglevel", "2"},
      {"num_threads", "1"},
  };
  LineIterator iterator(lines);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, &model);
  if (!status.ok()) {
    *error = status.ToString();
    return "";
  }
  return model;
}

}  // namespace
}  // namespace entrain::data

extern "C" __attribute__((visibility("default"))) const entrain::data::SentencePieceEngine* entrain_sentencepiece_engine() {
  using namespace entrain::data;
  static const SentencePieceEngine engine = {Load, Release, VocabSize, EndOfSentence, Unknown, Encode, Decode, Train};
  return &engine;
}
