// A sweep file: YAML text -> checked, expanded sweep. No I/O, no torch.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/sweep.h"

namespace entrain::sweep {

// One thing wrong, with its place. Lines and columns count from 1; 0 means the whole file.
struct Problem {
  int line = 0;
  int column = 0;
  std::string field;    // e.g. "variants[2].model.norm"
  std::string message;  // what is wrong and what is allowed
};

// What the `data` section asks for, before anything is prepared.
struct DataSource {
  std::string path;                  // folder or file as written; empty when `reference` is given
  std::string reference;             // name@hash
  std::string tokenizer;             // "bytes", ...
  std::int64_t vocab_size = 0;       // of a tokeniser that is trained, or of token shards; 0: what the tokeniser says
  std::string format = "auto";       // what the files hold
  std::string field = "text";        // of JSON lines
  std::vector<std::string> include;  // file name patterns, e.g. "*.py"
  std::int64_t max_bytes = 0;        // 0: everything
  double validation_fraction = 0.05;
  int line = 0;
};

struct Estimate {
  std::int64_t parameters = 0;
  std::int64_t tokens = 0;
  std::int64_t memory_bytes_per_rank = 0;
  std::int64_t disk_bytes = 0;
  double flops = 0.0;  // of the whole run: 6 N tokens + attention
};

struct ParsedSweep {
  domain::SweepSpec spec;
  DataSource data;
  std::vector<Estimate> estimates;  // one a run
};

// Gives the prepared dataset (and its vocabulary size) for the file's data section. Parsing for validation alone may
// bind a pretended one.
struct BoundDataset {
  domain::DatasetRef ref;
  std::int64_t vocab_size = 256;
};

// Only the data section, so that the command line can prepare it first.
std::vector<Problem> ParseDataSource(std::string_view yaml, DataSource* source);

// Everything. On problems the result is empty and every problem is listed, in file order.
std::vector<Problem> ParseSweep(std::string_view yaml, const BoundDataset& dataset, const std::string& owner,
                                ParsedSweep* result);

// Reference (Markdown) and JSON schema of the sweep file, generated from the parser's own table.
std::string SweepReferenceMarkdown();
std::string SweepJsonSchema();

}  // namespace entrain::sweep
