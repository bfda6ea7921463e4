// The lines that a trainer writes and the worker's daemon reads: events, commands, and the records of how ranks ended.
#include "base/check.h"
#include "tests/fuzz/fuzz.h"
#include "worker/attempt/attempt_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace entrain;
  std::string_view text = fuzz::TextOf(bytes, size);
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    attempt::DecodeCommand(line).IgnoreError();
    const auto event = attempt::DecodeEvent(line);
    if (!event.ok()) continue;
    // What was understood is written, and read again, as the same.
    const std::string again = attempt::EncodeEvent(*event);
    const auto reread = attempt::DecodeEvent(again);
    ENTRAIN_CHECK(reread.ok() && attempt::EncodeEvent(*reread) == again);
  }
  return 0;
}
