#include "data/byte_level_vocabulary.h"

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::data {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxTokenId = (1 << 24) - 1;

// GPT-2 writes every byte as a printable character: itself where it is one, else the next from U+0100 on.
const std::array<char32_t, 256>& ByteCharacters() {
  static const std::array<char32_t, 256> characters = [] {
    std::array<char32_t, 256> made{};
    char32_t next = 0x100;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      made[byte] = printable ? static_cast<char32_t>(byte) : next++;
    }
    return made;
  }();
  return characters;
}

std::string ByteText(std::size_t byte) {
  const char32_t character = ByteCharacters()[byte];
  if (character < 0x80) return std::string(1, static_cast<char>(character));
  return {static_cast<char>(0xC0 | character >> 6), static_cast<char>(0x80 | (character & 0x3F))};
}

// The bytes behind a token's text; the text itself where it is not written in GPT-2's characters.
std::string BytesOf(const std::string& text) {
  static const std::unordered_map<std::string, char> bytes = [] {
    std::unordered_map<std::string, char> made;
    for (std::size_t byte = 0; byte < 256; ++byte) made[ByteText(byte)] = static_cast<char>(byte);
    return made;
  }();
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = static_cast<unsigned char>(text[at]) < 0x80 ? 1 : 2;
    const auto found = bytes.find(text.substr(at, length));
    if (found == bytes.end()) return text;
    result += found->second;
    at += length;
  }
  return result;
}

// Builds the vocabulary from its parts, naming the file in every error.
class VocabularyBuilder {
 public:
  explicit VocabularyBuilder(const std::string& path) : path_(path) {}

  absl::Status AddToken(const std::string& field, const std::string& text, const json& id, bool written_as_bytes) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > kMaxTokenId) {
      return Bad(StrCat(field, ": the id of \"", text, "\" must be a whole number from 0 to ", kMaxTokenId, ", is ", id.dump()));
    }
    const auto number = id.get<std::uint32_t>();
    if (vocabulary_.bytes.size() <= number) vocabulary_.bytes.resize(number + 1);
    vocabulary_.bytes[number] = written_as_bytes ? BytesOf(text) : text;
    ids_[text] = number;
    return absl::OkStatus();
  }

  absl::Status AddMerge(const std::string& where, const std::string& left, const std::string& right) {
    BytePair pair;
    for (const auto& [text, token] :
         {std::pair{&left, &pair.left}, std::pair{&right, &pair.right}}) {
      const auto found = ids_.find(*text);
      if (found == ids_.end()) return Bad(StrCat(where, ": \"", *text, "\" is not in the vocabulary"));
      *token = found->second;
    }
    const auto joined = ids_.find(left + right);
    if (joined == ids_.end()) return Bad(StrCat(where, ": \"", left, right, "\" is not in the vocabulary"));
    pair.joined = joined->second;
    vocabulary_.pairs.push_back(pair);
    return absl::OkStatus();
  }

  absl::StatusOr<ByteLevelVocabulary> Finish() {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto found = ids_.find(ByteText(byte));
      if (found == ids_.end()) {
        return Bad(StrCat("model.vocab: no token for byte ", byte, " (\"", ByteText(byte), "\"): not a byte-level vocabulary"));
      }
      vocabulary_.byte_tokens[byte] = found->second;
    }
    for (const char* end : {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"}) {
      const auto found = ids_.find(end);
      if (found == ids_.end()) continue;
      vocabulary_.end_of_text = found->second;
      break;
    }
    return std::move(vocabulary_);
  }

  absl::Status Bad(const std::string& what) const { return absl::InvalidArgumentError(StrCat(path_, ": ", what)); }
  void set_add_prefix_space(bool add) { vocabulary_.add_prefix_space = add; }

 private:
  const std::string& path_;
  ByteLevelVocabulary vocabulary_;
  std::unordered_map<std::string, std::uint32_t> ids_;
};

bool Unset(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() || *found == "" || *found == false || *found == 0.0;
}

absl::Status CheckModel(const json& model, const VocabularyBuilder& builder) {
  if (!model.is_object() || !model.contains("vocab") || !model.contains("merges")) {
    return builder.Bad("model: must be an object with vocab and merges");
  }
  if (model.contains("type") && model["type"] != "BPE") return builder.Bad(StrCat("model.type: must be BPE, is ", model["type"].dump()));
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"}) {
    if (!Unset(model, key)) return builder.Bad(StrCat("model.", key, ": ", model[key].dump(), " is not GPT-2's byte-level BPE"));
  }
  if (!model["vocab"].is_object()) return builder.Bad("model.vocab: must map tokens to ids");
  if (!model["merges"].is_array()) return builder.Bad("model.merges: must be a list");
  return absl::OkStatus();
}

absl::Status CheckCut(const json& root, VocabularyBuilder* builder) {
  if (!Unset(root, "normalizer")) return builder->Bad("normalizer: must be null: text is not changed before it is cut");
  const json cut = root.value("pre_tokenizer", json());
  if (!cut.is_object() || cut.value("type", "") != "ByteLevel" || !cut.value("use_regex", true)) {
    return builder->Bad(StrCat("pre_tokenizer: must be ByteLevel with its regular expression (GPT-2's), is ",
                               cut.is_object() ? cut.value("type", std::string("of no type")) : cut.dump()));
  }
  builder->set_add_prefix_space(cut.value("add_prefix_space", true));
  return absl::OkStatus();
}

absl::Status AddAddedTokens(const json& root, VocabularyBuilder* builder) {
  const json added = root.value("added_tokens", json::array());
  for (const json& token : added) {
    const std::string content = token.at("content").get<std::string>();
    // Text is encoded as text, so a special token never comes out of it; another kind would have to.
    if (!token.value("special", false)) {
      return builder->Bad(StrCat("added_tokens: \"", content, "\" is not a special token; others are not supported"));
    }
    ENTRAIN_RETURN_IF_ERROR(builder->AddToken("added_tokens", content, token.at("id"), false));
  }
  return absl::OkStatus();
}

absl::Status AddMerges(const json& merges, VocabularyBuilder* builder) {
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string where = StrCat("model.merges[", i, "]");
    std::string left;
    std::string right;
    if (merges[i].is_array() && merges[i].size() == 2 && merges[i][0].is_string() && merges[i][1].is_string()) {
      left = merges[i][0].get<std::string>();
      right = merges[i][1].get<std::string>();
    } else if (merges[i].is_string()) {
      const std::string both = merges[i].get<std::string>();
      const std::size_t space = both.find(' ');
      left = both.substr(0, space);
      if (space != std::string::npos) right = both.substr(space + 1);
    }
    if (left.empty() || right.empty() || right.find(' ') != std::string::npos) {
      return builder->Bad(StrCat(where, ": must name two tokens, is ", merges[i].dump()));
    }
    ENTRAIN_RETURN_IF_ERROR(builder->AddMerge(where, left, right));
  }
  return absl::OkStatus();
}

absl::StatusOr<ByteLevelVocabulary> ParseRoot(const json& root, const std::string& path) {
  VocabularyBuilder builder(path);
  if (!root.is_object()) return builder.Bad("must be a JSON object");
  const json& model = root.contains("model") ? root["model"] : json();
  ENTRAIN_RETURN_IF_ERROR(CheckModel(model, builder));
  ENTRAIN_RETURN_IF_ERROR(CheckCut(root, &builder));
  for (const auto& [text, id] : model["vocab"].items()) {
    ENTRAIN_RETURN_IF_ERROR(builder.AddToken("model.vocab", text, id, true));
  }
  ENTRAIN_RETURN_IF_ERROR(AddMerges(model["merges"], &builder));
  ENTRAIN_RETURN_IF_ERROR(AddAddedTokens(root, &builder));
  return builder.Finish();
}

absl::StatusOr<json> ReadVocabulary(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  json vocabulary = json::parse(text, nullptr, false);
  if (vocabulary.is_object()) return vocabulary;
  return absl::InvalidArgumentError(StrCat(path, ": must be a JSON object from tokens to ids"));
}

// Every line two tokens; a first line #version is a comment.
absl::StatusOr<json> ReadMerges(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  json merges = json::array();
  std::string_view rest = text;
  for (int number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const std::size_t space = line.find(' ');
    const bool two = space != std::string_view::npos && space > 0 && space + 1 < line.size() && line.find(' ', space + 1) == std::string_view::npos;
    if (!two) return absl::InvalidArgumentError(StrCat(path, ":", number, ": must name two tokens, is \"", line, "\""));
    merges.push_back(std::string(line));
  }
  return merges;
}

}  // namespace

absl::StatusOr<ByteLevelVocabulary> ParseTokenizerJson(std::string_view text, const std::string& path) {
  try {
    return ParseRoot(json::parse(text), path);
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(StrCat(path, ": ", error.what()));
  }
}

absl::StatusOr<std::string> TokenizerJsonOf(const std::string& vocab_path, const std::string& merges_path) {
  ENTRAIN_ASSIGN_OR_RETURN(json vocabulary, ReadVocabulary(vocab_path));
  ENTRAIN_ASSIGN_OR_RETURN(json merges, ReadMerges(merges_path));
  json added = json::array();
  if (const auto end = vocabulary.find("<|endoftext|>"); end != vocabulary.end()) {
    added.push_back({{"id", *end}, {"content", "<|endoftext|>"}, {"single_word", false}, {"lstrip", false},
                     {"rstrip", false}, {"normalized", false}, {"special", true}});
  }
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const json root = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", std::move(added)},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", byte_level},
                     {"post_processor", nullptr},
                     {"decoder", byte_level},
                     {"model", {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                                {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", false},
                                {"vocab", std::move(vocabulary)}, {"merges", std::move(merges)}}}};
  const std::string text = root.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  // Errors are told by the files that people know.
  const absl::StatusOr<ByteLevelVocabulary> parsed = ParseTokenizerJson(text, StrCat(vocab_path, " with ", merges_path));
  if (!parsed.ok()) return parsed.status();
  return text;
}

}  // namespace entrain::data
