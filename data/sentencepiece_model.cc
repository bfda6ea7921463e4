#include "data/sentencepiece_model.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <unordered_map>

namespace entrain::data {
namespace {

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

}  // namespace

struct SentencePieceModel::Impl {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceModel::SentencePieceModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SentencePieceModel::~SentencePieceModel() = default;

std::unique_ptr<SentencePieceModel> SentencePieceModel::Load(const std::string& model, std::string* error) {
  auto impl = std::make_unique<Impl>();
  const auto status = impl->processor.LoadFromSerializedProto(model);
  if (!status.ok()) {
    *error = status.ToString();
    return nullptr;
  }
  return std::unique_ptr<SentencePieceModel>(new SentencePieceModel(std::move(impl)));
}

std::int64_t SentencePieceModel::vocab_size() const { return impl_->processor.GetPieceSize(); }

bool SentencePieceModel::has_end_of_sentence() const { return impl_->processor.eos_id() >= 0; }

std::uint32_t SentencePieceModel::unknown() const { return static_cast<std::uint32_t>(impl_->processor.unk_id()); }

std::uint32_t SentencePieceModel::end_of_sentence() const {
  return static_cast<std::uint32_t>(impl_->processor.eos_id());
}

bool SentencePieceModel::Encode(std::string_view text, std::vector<std::uint32_t>* tokens, std::string* error) const {
  std::vector<int> ids;
  const auto status = impl_->processor.Encode({text.data(), text.size()}, &ids);
  if (!status.ok()) {
    *error = status.ToString();
    return false;
  }
  tokens->insert(tokens->end(), ids.begin(), ids.end());
  return true;
}

bool SentencePieceModel::Decode(const std::uint32_t* tokens, std::size_t count, std::string* text, std::string* error) const {
  std::vector<int> ids(tokens, tokens + count);
  for (const int id : ids) {
    if (id >= 0 && id < impl_->processor.GetPieceSize()) continue;
    *error = "token " + std::to_string(id) + " of a vocabulary of " + std::to_string(impl_->processor.GetPieceSize());
    return false;
  }
  std::string decoded;
  const auto status = impl_->processor.Decode(ids, &decoded);
  if (!status.ok()) {
    *error = status.ToString();
    return false;
  }
  *text += decoded;
  return true;
}

// No normalisation and kept spaces make decoding exact; newlines reach the model as byte pieces, a run of spaces as one
// piece.
std::string TrainSentencePieceModel(const std::string& model_type, std::int64_t vocab_size, std::size_t max_line_bytes,
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

}  // namespace entrain::data
