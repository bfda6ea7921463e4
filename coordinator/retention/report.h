// What one pass of retention found and did.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace entrain::retention {

struct PassItem {
  std::string kind;  // "checkpoint", "orphan", "upload", "dataset", "samples" or "log_lines"
  std::string name;  // a path in the artifact root, or a run's id
  std::int64_t bytes = 0;
  std::string why;
  std::int64_t due_in_s = 0;
  bool deleted = false;
  std::int64_t count = 1;  // samples or lines that went; folders count one each
};

struct PassReport {
  std::vector<PassItem> items;
  std::int64_t artifact_bytes = 0;  // before the pass
  std::int64_t artifact_quota_bytes = 0;
  // 0 where no limit asks for them.
  std::int64_t sample_bytes = 0;
  std::int64_t log_bytes = 0;
};

}  // namespace entrain::retention
