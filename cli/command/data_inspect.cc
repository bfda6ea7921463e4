#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/data.h"
#include "cli/format.h"
#include "cli/session.h"
#include "data/inspect.h"

namespace entrain::cli::command {
namespace {

struct InspectFlags {
  std::string dataset;
  std::string artifacts = kDefaultArtifacts;
  data::InspectOptions inspect;
};

std::string Percent(std::int64_t part, std::int64_t whole) {
  std::array<char, 32> text;
  // Never 100 % of something that is not whole.
  const double share = whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  std::snprintf(text.data(), text.size(), "%.2f %%", part < whole && share > 99.99 ? 99.99 : share);
  return text.data();
}

std::string SplitText(const char* name, const data::SplitSummary& split) {
  return StrCat("  ", name, "  ", split.tokens, " tokens, ", split.documents, " documents, ", split.shards, split.shards == 1 ? " shard\n" : " shards\n");
}

std::string TokenizerText(const data::Inspection& found) {
  const data::DatasetManifest& manifest = found.manifest;
  std::string text = StrCat("  tokenizer   ", manifest.tokenizer, manifest.tokenizer_file.empty() ? "" : StrCat(" (", manifest.tokenizer_file, ")"),
                            ", vocabulary ", manifest.vocab_size, ", ",
                            manifest.end_of_document < 0 ? std::string("nothing ends a document")
                                                         : StrCat("token ", manifest.end_of_document, " ends a document"), "\n");
  if (manifest.round_trip.documents > 0) {
    StrAppend(&text, "  text back   ", manifest.round_trip.exact, " of ", manifest.round_trip.documents, " documents byte for byte (",
              Percent(manifest.round_trip.exact, manifest.round_trip.documents), "), tried when it was prepared\n");
  }
  if (!found.has_tokenizer) return text + "  text back   not known: the dataset keeps no tokenizer\n";
  StrAppend(&text, "  tokens back ", found.tokens_round_trip.exact, " of ", found.tokens_round_trip.documents, " documents (",
            Percent(found.tokens_round_trip.exact, found.tokens_round_trip.documents), "); unknown tokens ",
            Percent(found.unknown_tokens, found.tried_tokens));
  if (found.tried_tokens > 0) {
    std::array<char, 32> ratio;
    std::snprintf(ratio.data(), ratio.size(), "%.2f", static_cast<double>(found.tried_bytes) / static_cast<double>(found.tried_tokens));
    StrAppend(&text, "; ", std::string(ratio.data()), " bytes a token");
  }
  return text + "\n";
}

std::string InspectionText(const data::Inspection& found) {
  std::string text = StrCat(found.manifest.ref.ToString(), "\n", SplitText("train     ", found.train),
                            SplitText("validation", found.validation), TokenizerText(found), "  stored      ",
                            FormatBytes(found.stored_bytes), " from ", FormatBytes(found.manifest.source_bytes),
                            " of input; every block fits its hash\n");
  for (const data::SampleDocument& sample : found.samples) {
    StrAppend(&text, "\n", std::string(data::ToString(sample.split)), " document ", sample.index, ", ", sample.tokens, " tokens:\n ");
    for (const std::int32_t token : sample.first_tokens) StrAppend(&text, " ", token);
    text += "\n";
    if (!sample.text.empty()) StrAppend(&text, "  ", Printable(sample.text), "\n");
  }
  return text;
}

nlohmann::json InspectionJson(const data::Inspection& found) {
  const auto split = [](const data::SplitSummary& summary) {
    return nlohmann::json{{"tokens", summary.tokens}, {"documents", summary.documents}, {"shards", summary.shards}};
  };
  nlohmann::json samples = nlohmann::json::array();
  for (const data::SampleDocument& sample : found.samples) {
    samples.push_back({{"split", std::string(data::ToString(sample.split))},
                       {"document", sample.index},
                       {"tokens", sample.tokens},
                       {"first_tokens", sample.first_tokens},
                       {"text", Printable(sample.text)}});
  }
  return {{"reference", found.manifest.ref.ToString()},
          {"train", split(found.train)},
          {"validation", split(found.validation)},
          {"tokenizer", found.manifest.tokenizer},
          {"vocabulary", found.manifest.vocab_size},
          {"end_token", found.manifest.end_of_document},
          {"source_bytes", found.manifest.source_bytes},
          {"stored_bytes", found.stored_bytes},
          {"text_round_trip", {{"documents", found.manifest.round_trip.documents}, {"exact", found.manifest.round_trip.exact}}},
          {"token_round_trip", {{"documents", found.tokens_round_trip.documents}, {"exact", found.tokens_round_trip.exact}}},
          {"unknown_tokens", found.unknown_tokens},
          {"tried_tokens", found.tried_tokens},
          {"samples", std::move(samples)}};
}

int RunInspect(Session* session, const InspectFlags& flags) {
  const absl::StatusOr<std::string> dir = FindDataset(flags.dataset, flags.artifacts);
  if (!dir.ok()) return session->Fail(dir.status(), kExitBadSweep);
  const absl::StatusOr<data::Inspection> found = data::Inspect(*dir, flags.inspect);
  if (!found.ok()) return session->Fail(found.status(), kExitBadSweep);
  session->Print(InspectionText(*found), InspectionJson(*found));
  return kExitOk;
}

}  // namespace

void AddDataInspect(CLI::App* group, Session* session) {
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = AddCommand(group, session, "inspect",
      {"Counts, a sample and the tokenizer's fidelity of a prepared dataset",
       "Reads everything and compares it with the recorded hashes; damage is told with file and offset.",
       "  entrain data inspect texts@0123456789abcdef0123456789abcdef\n  entrain data inspect entrain-data/artifacts/datasets/0123... --samples 5"});
  command->add_option("DATASET", flags->dataset, "name@hash, hash, or the dataset's folder")->required();
  command->add_option("--artifacts", flags->artifacts, "Artifact root where name@hash is looked for")->capture_default_str();
  command->add_option("--samples", flags->inspect.samples, "Documents shown of each split")->check(CLI::Range(0, 1000))->capture_default_str();
  command->add_option("--sample-tokens", flags->inspect.sample_tokens, "Tokens shown of each")->check(CLI::Range(1, 100000))->capture_default_str();
  command->callback([=] { session->command = [=] { return RunInspect(session, *flags); }; });
}

}  // namespace entrain::cli::command
