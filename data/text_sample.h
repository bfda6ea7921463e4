// A bounded part of a text of unknown length, spread over all of it: documents are chosen by their hash, so that it does not matter who
// read them.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace entrain::data {

class TextSample {
 public:
  explicit TextSample(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  struct Document {
    std::uint64_t hash = 0;
    std::string text;
  };

  bool Wants(std::uint64_t hash) const { return Mixed(hash) <= threshold_; }
  // A document that is wanted.
  void Add(std::uint64_t hash, std::string_view text) {
    documents_.push_back({hash, std::string(text)});
    bytes_ += text.size();
    while (bytes_ > max_bytes_ && documents_.size() > 1) Thin();
  }
  // In the text's order.
  const std::deque<Document>& documents() const { return documents_; }

 private:
  // Not the order by which splits are made.
  static std::uint64_t Mixed(std::uint64_t hash) {
    hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
    return hash ^ (hash >> 33);
  }
  void Thin() {
    threshold_ /= 2;
    std::erase_if(documents_, [this](const Document& document) {
      if (Mixed(document.hash) <= threshold_) return false;
      bytes_ -= document.text.size();
      return true;
    });
  }

  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::uint64_t threshold_ = ~std::uint64_t{0};
  std::deque<Document> documents_;
};

}  // namespace entrain::data
