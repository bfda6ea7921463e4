#include "data/gzip.h"

#include <zlib.h>

#include "base/check.h"

namespace entrain::data {

std::string Gzip(std::string_view text) {
  z_stream stream{};
  // 15: the largest window; 16: gzip's header.
  ENTRAIN_CHECK(::deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(::deflateBound(&stream, static_cast<uLong>(text.size())) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = ::deflate(&stream, Z_FINISH);
  packed.resize(packed.size() - stream.avail_out);
  ::deflateEnd(&stream);
  ENTRAIN_CHECK(result == Z_STREAM_END);
  return packed;
}

}  // namespace entrain::data
