#include "sweep/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>

#include "base/strings.h"

namespace entrain::sweep {
namespace {

constexpr std::size_t kMaxTextBytes = 1 << 20;
constexpr std::size_t kMaxNodes = 200'000;
constexpr std::size_t kMaxDepth = 32;

Place ToPlace(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

// What is wrong with the text as a whole; the parse ends there.
struct Refused {
  Place place;
  std::string message;
};

// Builds the tree from the parser's events.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(ProblemList* problems) : problems_(problems) {}
  YamlPointer root() const { return root_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Leaf({.kind = YamlNode::Kind::kNull, .place = ToPlace(mark)}, anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const bool quoted = tag == "!";
    const bool null = !quoted && (value.empty() || value == "~" || value == "null");
    Leaf({.kind = null ? YamlNode::Kind::kNull : YamlNode::Kind::kScalar,
          .place = ToPlace(mark),
          .text = value,
          .quoted = quoted},
         anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw Refused{ToPlace(mark), "an alias may not stand inside what it names"};
    Count(found->second->size, ToPlace(mark));
    // An alias as a key is its text.
    if (found->second->IsScalar()) {
      YamlNode copy = *found->second;
      copy.place = ToPlace(mark);
      Attach(std::make_shared<YamlNode>(std::move(copy)));
    } else {
      Attach(found->second);
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kList, ToPlace(mark), anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, ToPlace(mark), anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Frame {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor = 0;
    std::optional<YamlEntry> key;
    std::map<std::string, int> key_lines;
    std::vector<YamlEntry> merged;
  };

  void Count(std::size_t nodes, Place place) {
    count_ += nodes;
    if (count_ > kMaxNodes)
      throw Refused{place, StrCat("more than ", kMaxNodes, " values (aliases count as what they stand for)")};
  }
  void Leaf(YamlNode node, YAML::anchor_t anchor) {
    Count(1, node.place);
    auto pointer = std::make_shared<YamlNode>(std::move(node));
    if (anchor != 0) anchors_[anchor] = pointer;
    Attach(pointer);
  }
  void Open(YamlNode::Kind kind, Place place, YAML::anchor_t anchor) {
    Count(1, place);
    if (frames_.size() >= kMaxDepth) throw Refused{place, StrCat("nested more than ", kMaxDepth, " levels deep")};
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->place = place;
    frames_.push_back({node, anchor, std::nullopt, {}, {}});
  }
  void Close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    for (const YamlEntry& entry : frame.merged) {
      if (frame.key_lines.emplace(entry.key, entry.place.line).second) frame.node->entries.push_back(entry);
    }
    for (const YamlPointer& item : frame.node->items) frame.node->size += item->size;
    for (const YamlEntry& entry : frame.node->entries) frame.node->size += 1 + entry.value->size;
    if (frame.anchor != 0) anchors_[frame.anchor] = frame.node;
    Attach(frame.node);
  }
  void Attach(const YamlPointer& node) {
    if (frames_.empty()) {
      root_ = node;
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node->IsList()) {
      frame.node->items.push_back(node);
    } else if (!frame.key) {
      if (!node->IsScalar()) throw Refused{node->place, StrCat("a key must be a plain text, is ", DescribeNode(*node))};
      frame.key = YamlEntry{node->text, node->place, nullptr};
    } else {
      frame.key->value = node;
      AddEntry(&frame, std::move(*frame.key));
      frame.key.reset();
    }
  }
  void AddEntry(Frame* frame, YamlEntry entry) {
    if (entry.key == "<<") {
      Merge(frame, entry);
    } else if (const auto [first, fresh] = frame->key_lines.emplace(entry.key, entry.place.line); !fresh) {
      problems_->Add(entry.place, entry.key, StrCat("is given twice; first in line ", first->second));
    } else {
      frame->node->entries.push_back(std::move(entry));
    }
  }
  void Merge(Frame* frame, const YamlEntry& entry) {
    const std::vector<YamlPointer> maps = entry.value->IsList() ? entry.value->items : std::vector{entry.value};
    for (const YamlPointer& map : maps) {
      if (!map->IsMap()) throw Refused{entry.place, "<< takes a map or a list of maps"};
      frame->merged.insert(frame->merged.end(), map->entries.begin(), map->entries.end());
    }
  }

  ProblemList* problems_;
  YamlPointer root_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, YamlPointer> anchors_;
  std::size_t count_ = 0;
};

// Refuses whatever follows the one document.
class NoFurtherDocument : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    throw Refused{ToPlace(mark), "a sweep file holds one document; a second one starts here"};
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// 4_000_000 is 4000000; underscores only between digits.
std::optional<std::string> WithoutUnderscores(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += text[i];
      continue;
    }
    const auto digit = [&](std::size_t at) {
      return at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]));
    };
    if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
  }
  if (plain.starts_with('+')) plain.erase(0, 1);
  return plain;
}

template <typename Number>
std::optional<Number> ReadWhole(const std::string& text) {
  const std::optional<std::string> plain = WithoutUnderscores(text);
  if (!plain) return std::nullopt;
  Number value{};
  const auto end = std::from_chars(plain->data(), plain->data() + plain->size(), value);
  if (end.ec != std::errc() || end.ptr != plain->data() + plain->size() || plain->empty()) return std::nullopt;
  return value;
}

// 1.2e9 is an integer too.
std::optional<std::int64_t> ReadInteger(const std::string& text) {
  if (const auto integer = ReadWhole<std::int64_t>(text)) return integer;
  const auto number = ReadWhole<double>(text);
  if (!number || !std::isfinite(*number) || *number != std::floor(*number) || std::abs(*number) > 9e15)
    return std::nullopt;
  return static_cast<std::int64_t>(*number);
}

std::optional<Value> ReadScalar(const YamlNode& node, FieldKind kind) {
  if (!node.IsScalar()) return std::nullopt;
  const bool textual = kind == FieldKind::kText || kind == FieldKind::kChoice;
  if (node.quoted && !textual) return std::nullopt;
  switch (kind) {
    case FieldKind::kBool:
      if (node.text == "true" || node.text == "false") return Value(node.text == "true");
      return std::nullopt;
    case FieldKind::kInteger:
      if (const auto integer = ReadInteger(node.text)) return Value(*integer);
      return std::nullopt;
    case FieldKind::kSeed:
      if (const auto seed = ReadWhole<std::uint64_t>(node.text)) return Value(*seed);
      return std::nullopt;
    case FieldKind::kNumber:
      if (const auto number = ReadWhole<double>(node.text)) return Value(*number);
      return std::nullopt;
    default:
      return Value(node.text);
  }
}

std::optional<Value> ReadTexts(const YamlNode& node) {
  std::vector<std::string> texts;
  if (node.IsScalar()) texts.push_back(node.text);
  for (const YamlPointer& item : node.items) {
    if (!item->IsScalar()) return std::nullopt;
    texts.push_back(item->text);
  }
  if (!node.IsScalar() && !node.IsList()) return std::nullopt;
  return Value(texts);
}

}  // namespace

const YamlEntry* YamlNode::Find(std::string_view key) const {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [&](const YamlEntry& entry) { return entry.key == key; });
  return found == entries.end() ? nullptr : &*found;
}

YamlPointer ParseYaml(std::string_view text, ProblemList* problems) {
  if (text.size() > kMaxTextBytes) {
    problems->Add({}, "", StrCat("the file has ", text.size(), " bytes, more than ", kMaxTextBytes));
    return nullptr;
  }
  TreeBuilder builder(problems);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    NoFurtherDocument rest;
    parser.HandleNextDocument(rest);
  } catch (const YAML::Exception& error) {
    problems->Add(error.mark.is_null() ? Place{} : ToPlace(error.mark), "", StrCat("not YAML: ", error.msg));
    return nullptr;
  } catch (const Refused& refused) {
    problems->Add(refused.place, "", refused.message);
    return nullptr;
  }
  if (builder.root() == nullptr) problems->Add({}, "", "the file is empty");
  return builder.root();
}

std::string DescribeNode(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "empty";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    case YamlNode::Kind::kScalar:
      break;
  }
  constexpr std::size_t kShownBytes = 60;
  const std::string shown = StrCat(node.text.substr(0, kShownBytes), node.text.size() > kShownBytes ? "..." : "");
  return node.quoted ? StrCat("the text \"", shown, "\"") : shown;
}

std::optional<Value> ReadValue(const YamlNode& node, const FieldSpec& field, std::string* why) {
  const bool list = field.kind == FieldKind::kChoices || field.kind == FieldKind::kTexts;
  const std::optional<Value> value = list ? ReadTexts(node) : ReadScalar(node, field.kind);
  if (!value) {
    *why = StrCat("must be ", DescribeAllowed(field), "; is ", DescribeNode(node));
    return std::nullopt;
  }
  if (auto reason = WhyNotAllowed(field, *value)) {
    *why = *reason;
    if (field.kind == FieldKind::kChoice) *why += DidYouMean(std::get<std::string>(*value), field.choices);
    return std::nullopt;
  }
  return value;
}

}  // namespace entrain::sweep
