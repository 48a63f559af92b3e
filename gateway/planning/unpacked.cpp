#include "gateway/planning/unpacked.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <new>
#include <string_view>
#include <vector>

#include "conf/format.h"

namespace classgate::planning {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t taken_at_once = 128 * 1024;
constexpr auto gzip_magic = "\x1f\x8b"sv;
constexpr auto zstd_magic = "\x28\xb5\x2f\xfd"sv;

struct OtherPacking {
  std::string_view magic;
  std::string_view what;
  std::string_view remedy;  // "{}": the name of the file
};
constexpr std::array others{
    OtherPacking{"\xfd"
                 "7zXZ"sv,
                 "is packed with xz", "xz -dc {} | classgate ... --log -"},
    OtherPacking{"BZh"sv, "is packed with bzip2", "bzip2 -dc {} | classgate ... --log -"},
    OtherPacking{"\x04\x22\x4d\x18"sv, "is packed with lz4", "lz4 -dc {} | classgate ... --log -"},
    OtherPacking{"PK\x03\x04"sv, "is a zip archive", "unzip -p {} | classgate ... --log -"},
    OtherPacking{"LPKSHHRH"sv, "is a journal of systemd",
                 "journalctl --file {} -o cat | classgate ... --log -"},
};

struct EndInflate {
  void operator()(z_stream* stream) const {
    inflateEnd(stream);
    delete stream;
  }
};
struct FreeZstd {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

class Plain final : public Unpacked {
 public:
  explicit Plain(std::shared_ptr<const LogFile> file) : Unpacked(std::move(file)) {}
  std::expected<std::size_t, std::string> read(std::span<char> into) override { return take(into); }
};

// Where it is damaged is told in bytes of the file: its lines cannot be counted any more.
std::unexpected<std::string> damaged(std::string_view packing, std::uint64_t before,
                                     std::string_view why) {
  return std::unexpected(
      fmt::format("is damaged: {} cannot unpack it before byte {}: {}", packing, before, why));
}
std::unexpected<std::string> cut(std::string_view packing) {
  return std::unexpected(fmt::format("is cut: it ends in the middle of what {} packed", packing));
}

class Gzip final : public Unpacked {
 public:
  explicit Gzip(std::shared_ptr<const LogFile> file)
      : Unpacked(std::move(file)), packed_(taken_at_once), stream_(new z_stream{}) {
    constexpr int gzip_only = 16;
    if (inflateInit2(stream_.get(), gzip_only + MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }

  std::expected<std::size_t, std::string> read(std::span<char> into) override {
    stream_->next_out = reinterpret_cast<Bytef*>(into.data());
    stream_->avail_out = static_cast<uInt>(into.size());
    while (stream_->avail_out == into.size()) {
      if (stream_->avail_in == 0) {
        if (const auto more = refill(); !more) return std::unexpected(more.error());
        if (stream_->avail_in == 0) {
          if (is_in_member_) return cut("gzip");
          return 0;
        }
      }
      if (!is_in_member_ && is_padding()) continue;
      is_in_member_ = true;
      const int status = inflate(stream_.get(), Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        is_in_member_ = false;
        inflateReset(stream_.get());
      } else if (status != Z_OK) {
        return damaged("gzip", taken() - stream_->avail_in,
                       stream_->msg != nullptr ? stream_->msg : "not what gzip writes");
      }
    }
    return into.size() - stream_->avail_out;
  }

 private:
  std::expected<void, std::string> refill() {
    const auto got = take(packed_);
    if (!got) return std::unexpected(got.error());
    stream_->next_in = reinterpret_cast<Bytef*>(packed_.data());
    stream_->avail_in = static_cast<uInt>(*got);
    return {};
  }
  // Zeros between and behind members, as tapes and block devices have them, are nothing.
  bool is_padding() {
    const bool is_zero = *stream_->next_in == 0;
    if (is_zero) {
      ++stream_->next_in;
      --stream_->avail_in;
    }
    return is_zero;
  }

  std::vector<char> packed_;
  std::unique_ptr<z_stream, EndInflate> stream_;
  bool is_in_member_ = false;
};

class Zstd final : public Unpacked {
 public:
  explicit Zstd(std::shared_ptr<const LogFile> file)
      : Unpacked(std::move(file)), packed_(taken_at_once), stream_(ZSTD_createDStream()) {
    if (!stream_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, zstd_window_log_max);
  }

  std::expected<std::size_t, std::string> read(std::span<char> into) override {
    ZSTD_outBuffer out{into.data(), into.size(), 0};
    while (out.pos == 0) {
      // Without input it may have something left, when its last output was full.
      if (in_.pos == in_.size && !has_more_) {
        const auto got = take(packed_);
        if (!got) return std::unexpected(got.error());
        in_ = {packed_.data(), *got, 0};
        if (*got == 0) {
          if (is_in_frame_) return cut("zstd");
          return 0;
        }
      }
      const std::size_t left = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(left) != 0)
        return damaged("zstd", taken() - (in_.size - in_.pos), ZSTD_getErrorName(left));
      is_in_frame_ = left != 0;
      has_more_ = is_in_frame_ && out.pos == out.size;
    }
    return out.pos;
  }

 private:
  std::vector<char> packed_;
  std::unique_ptr<ZSTD_DStream, FreeZstd> stream_;
  ZSTD_inBuffer in_{};
  bool is_in_frame_ = false;
  bool has_more_ = false;
};

}  // namespace

std::expected<std::unique_ptr<Unpacked>, std::string> Unpacked::open(
    std::shared_ptr<const LogFile> file) {
  std::array<char, 8> first{};
  const auto got = file->read_at(0, first);
  if (!got) return std::unexpected(fmt::format("{}: {}", file->name(), got.error()));
  const std::string_view beginning(first.data(), *got);
  for (const OtherPacking& other : others)
    if (beginning.starts_with(other.magic))
      return std::unexpected(fmt::format("{}: {}, which is not read here: {}", file->name(),
                                         other.what,
                                         fmt::format(fmt::runtime(other.remedy), file->name())));
  if (beginning.starts_with(gzip_magic)) return std::make_unique<Gzip>(std::move(file));
  if (beginning.starts_with(zstd_magic)) return std::make_unique<Zstd>(std::move(file));
  return std::make_unique<Plain>(std::move(file));
}

std::expected<std::size_t, std::string> Unpacked::take(std::span<char> into) {
  auto got = file_->read_at(taken_, into);
  if (got) taken_ += *got;
  return got;
}

}  // namespace classgate::planning
