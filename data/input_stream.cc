#include "data/input_stream.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::data {
namespace {

constexpr std::size_t kChunkBytes = 1 << 20;
// A frame may ask for a window of this size (zstd --ultra --long=27); larger ones are refused, so that memory stays bounded.
constexpr int kMaxWindowLog = 27;

class PlainStream : public InputStream {
 public:
  PlainStream(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~PlainStream() override { ::close(fd_); }
  PlainStream(const PlainStream&) = delete;
  PlainStream& operator=(const PlainStream&) = delete;

  absl::StatusOr<bool> ReadInto(std::string* buffer) override {
    const std::size_t old = buffer->size();
    buffer->resize(old + kChunkBytes);
    ssize_t count = 0;
    do {
      count = ::read(fd_, buffer->data() + old, kChunkBytes);
    } while (count < 0 && errno == EINTR);
    const int error = errno;
    buffer->resize(old + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0) return ErrnoStatus(error, "read", path_);
    offset_ += count;
    return count > 0;
  }
  absl::Status Skip(std::int64_t bytes) override {
    if (::lseek(fd_, bytes, SEEK_CUR) < 0) return ErrnoStatus(errno, "seek in", path_);
    offset_ += bytes;
    return absl::OkStatus();
  }
  const std::string& path() const { return path_; }
  std::int64_t offset() const { return offset_; }

 private:
  const std::string path_;
  const int fd_;
  std::int64_t offset_ = 0;
};

// What both packers share: packed bytes at hand, and skipping by reading.
class PackedStream : public InputStream {
 public:
  explicit PackedStream(std::unique_ptr<PlainStream> file) : file_(std::move(file)) {}
  absl::Status Skip(std::int64_t bytes) override {
    while (bytes > 0) {
      if (kept_.empty()) {
        ENTRAIN_ASSIGN_OR_RETURN(const bool more, Unpack(&kept_));
        if (!more) return Bad("its content is shorter than before");
      }
      const auto here = static_cast<std::size_t>(std::min<std::int64_t>(bytes, static_cast<std::int64_t>(kept_.size())));
      kept_.erase(0, here);
      bytes -= static_cast<std::int64_t>(here);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<bool> ReadInto(std::string* buffer) override {
    if (kept_.empty()) return Unpack(buffer);
    buffer->append(kept_);
    kept_.clear();
    return true;
  }

 protected:
  // Appends some unpacked bytes; false at the end.
  virtual absl::StatusOr<bool> Unpack(std::string* buffer) = 0;
  // More packed bytes; false at the end of the file.
  absl::StatusOr<bool> Refill() {
    packed_.clear();
    return file_->ReadInto(&packed_);
  }
  absl::Status Bad(const std::string& what, std::size_t left = 0) const {
    return absl::InvalidArgumentError(
        StrCat(file_->path(), ": offset ", file_->offset() - static_cast<std::int64_t>(left), ": ", what));
  }
  const std::unique_ptr<PlainStream> file_;
  std::string packed_;

 private:
  std::string kept_;
};

class GzipStream : public PackedStream {
 public:
  explicit GzipStream(std::unique_ptr<PlainStream> file) : PackedStream(std::move(file)) {
    // 15: the largest window; 16: gzip's header.
    ::inflateInit2(&zlib_, 15 + 16);
  }
  ~GzipStream() override { ::inflateEnd(&zlib_); }

 private:
  absl::StatusOr<bool> Unpack(std::string* buffer) override {
    const std::size_t old = buffer->size();
    buffer->resize(old + kChunkBytes);
    zlib_.next_out = reinterpret_cast<Bytef*>(buffer->data() + old);
    zlib_.avail_out = kChunkBytes;
    absl::Status status;
    while (status.ok() && zlib_.avail_out == kChunkBytes && !ended_) status = Step();
    buffer->resize(old + kChunkBytes - zlib_.avail_out);
    if (!status.ok()) return status;
    return buffer->size() > old;
  }

  absl::Status Step() {
    if (zlib_.avail_in == 0) {
      ENTRAIN_ASSIGN_OR_RETURN(const bool more, Refill());
      if (!more) {
        ended_ = true;
        return inside_ ? Bad("cut off inside gzip's data") : absl::OkStatus();
      }
      zlib_.next_in = reinterpret_cast<Bytef*>(packed_.data());
      zlib_.avail_in = static_cast<uInt>(packed_.size());
    }
    // Several members may follow each other.
    if (!inside_) ::inflateReset(&zlib_);
    inside_ = true;
    const int result = ::inflate(&zlib_, Z_NO_FLUSH);
    if (result == Z_STREAM_END) inside_ = false;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) return absl::OkStatus();
    return Bad(StrCat("damaged gzip data", zlib_.msg == nullptr ? "" : ": ", zlib_.msg == nullptr ? "" : zlib_.msg), zlib_.avail_in);
  }

  z_stream zlib_{};
  bool inside_ = false;
  bool ended_ = false;
};

class ZstdStream : public PackedStream {
 public:
  explicit ZstdStream(std::unique_ptr<PlainStream> file) : PackedStream(std::move(file)), context_(::ZSTD_createDCtx()) {
    ::ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kMaxWindowLog);
  }
  ~ZstdStream() override { ::ZSTD_freeDCtx(context_); }

 private:
  absl::StatusOr<bool> Unpack(std::string* buffer) override {
    const std::size_t old = buffer->size();
    buffer->resize(old + kChunkBytes);
    ZSTD_outBuffer out{buffer->data() + old, kChunkBytes, 0};
    absl::Status status;
    while (status.ok() && out.pos == 0 && !ended_) status = Step(&out);
    buffer->resize(old + out.pos);
    if (!status.ok()) return status;
    return buffer->size() > old;
  }

  absl::Status Step(ZSTD_outBuffer* out) {
    // A full output may have left something behind although the input is used up.
    if (in_.pos == in_.size && !more_inside_) {
      ENTRAIN_ASSIGN_OR_RETURN(const bool more, Refill());
      if (!more) {
        ended_ = true;
        return wanted_ != 0 ? Bad("cut off inside Zstandard's data") : absl::OkStatus();
      }
      in_ = {packed_.data(), packed_.size(), 0};
    }
    wanted_ = ::ZSTD_decompressStream(context_, out, &in_);
    more_inside_ = wanted_ != 0 && out->pos == out->size;
    if (!::ZSTD_isError(wanted_)) return absl::OkStatus();
    return Bad(StrCat("damaged Zstandard data: ", ::ZSTD_getErrorName(wanted_)), in_.size - in_.pos);
  }

  ZSTD_DCtx* const context_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  std::size_t wanted_ = 0;  // 0 at the end of a frame
  bool more_inside_ = false;
  bool ended_ = false;
};

bool IsGzip(const std::string& path) { return path.ends_with(".gz"); }
bool IsZstd(const std::string& path) { return path.ends_with(".zst"); }

}  // namespace

absl::StatusOr<std::unique_ptr<InputStream>> InputStream::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  auto file = std::make_unique<PlainStream>(path, fd);
  if (IsGzip(path)) return std::make_unique<GzipStream>(std::move(file));
  if (IsZstd(path)) return std::make_unique<ZstdStream>(std::move(file));
  return file;
}

std::string UnpackedName(const std::string& path) {
  if (IsGzip(path)) return path.substr(0, path.size() - 3);
  return IsZstd(path) ? path.substr(0, path.size() - 4) : path;
}

}  // namespace entrain::data
