// What the fuzz targets share. Each defines LLVMFuzzerTestOneInput: linked with libFuzzer by scripts/fuzz, with replay.cc by the tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);

namespace entrain::fuzz {

inline std::string_view TextOf(const std::uint8_t* bytes, std::size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

}  // namespace entrain::fuzz
