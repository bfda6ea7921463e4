// Text from processes, made fit for the wire: Protobuf refuses strings that are not UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace entrain::agent {

// Bytes that are not part of a valid UTF-8 character become '?'; at most `max_bytes`, cut between characters.
std::string ValidUtf8(std::string_view text, std::size_t max_bytes);

// mpirun's tag "[1,3]<stdout>:text" as "[3] text"; other lines unchanged.
std::string ReadableLogLine(std::string_view line);

}  // namespace entrain::agent
