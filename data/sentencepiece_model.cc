#include "data/sentencepiece_model.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/library_folders.h"
#include "data/sentencepiece_engine.h"

namespace entrain::data {
namespace {

// Its own symbols come first; a sanitizer's runtime refuses that, and programs under one do without.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kOwnSymbolsFirst = 0;
#else
constexpr int kOwnSymbolsFirst = RTLD_DEEPBIND;
#endif

// Null with a reason when it is not there.
const SentencePieceEngine* LoadEngine(std::string* error) {
  const std::vector<std::filesystem::path> folders = LibraryFolders();
  *error = "libentrain_sentencepiece.so is not installed beside " + folders.front().string();
  for (const std::filesystem::path& folder : folders) {
    const std::filesystem::path path = folder / "libentrain_sentencepiece.so";
    std::error_code unused;
    if (!std::filesystem::exists(path, unused)) continue;
    void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | kOwnSymbolsFirst);
    void* make = library == nullptr ? nullptr : ::dlsym(library, kSentencePieceEngineSymbol);
    if (make != nullptr) return reinterpret_cast<const SentencePieceEngine* (*)()>(make)();
    *error = "load " + path.string() + ": " + ::dlerror();
  }
  return nullptr;
}

const SentencePieceEngine* Engine(std::string* error) {
  static std::string why;
  static const SentencePieceEngine* const engine = LoadEngine(&why);
  if (engine == nullptr) *error = why;
  return engine;
}

}  // namespace

struct SentencePieceModel::Impl {
  const SentencePieceEngine* engine;
  void* model;
  ~Impl() { engine->release(model); }
};

SentencePieceModel::SentencePieceModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SentencePieceModel::~SentencePieceModel() = default;

std::unique_ptr<SentencePieceModel> SentencePieceModel::Load(const std::string& model, std::string* error) {
  const SentencePieceEngine* const engine = Engine(error);
  void* const loaded = engine == nullptr ? nullptr : engine->load(model, error);
  if (loaded == nullptr) return nullptr;
  return std::unique_ptr<SentencePieceModel>(new SentencePieceModel(std::unique_ptr<Impl>(new Impl{engine, loaded})));
}

std::int64_t SentencePieceModel::vocab_size() const { return impl_->engine->vocab_size(impl_->model); }

bool SentencePieceModel::has_end_of_sentence() const { return impl_->engine->end_of_sentence(impl_->model) >= 0; }

std::uint32_t SentencePieceModel::end_of_sentence() const {
  return static_cast<std::uint32_t>(impl_->engine->end_of_sentence(impl_->model));
}

std::uint32_t SentencePieceModel::unknown() const { return static_cast<std::uint32_t>(impl_->engine->unknown(impl_->model)); }

bool SentencePieceModel::Encode(std::string_view text, std::vector<std::uint32_t>* tokens, std::string* error) const {
  return impl_->engine->encode(impl_->model, text, tokens, error);
}

bool SentencePieceModel::Decode(const std::uint32_t* tokens, std::size_t count, std::string* text, std::string* error) const {
  return impl_->engine->decode(impl_->model, tokens, count, text, error);
}

std::string TrainSentencePieceModel(const std::string& model_type, std::int64_t vocab_size, std::size_t max_line_bytes,
                                    const std::vector<std::string>& lines, std::string* error) {
  const SentencePieceEngine* const engine = Engine(error);
  return engine == nullptr ? "" : engine->train(model_type, vocab_size, max_line_bytes, lines, error);
}

}  // namespace entrain::data
