#include <algorithm>

#include "conf/format.h"
#include "conf/network.h"
#include "gateway/planning/foreign_readers.h"
#include "gateway/planning/log_fields.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// nginx writes quotes, backslashes and bytes that are no ASCII as \xHH.
std::string_view unescaped(std::string_view text, std::string& into) {
  if (text.find("\\x") == std::string_view::npos) return text;
  into.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '\\' && i + 3 < text.size() && text[i + 1] == 'x' &&
                           hex_digit(text[i + 2]) >= 0 && hex_digit(text[i + 3]) >= 0;
    if (is_escape) {
      into += static_cast<char>(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3]));
      i += 3;
    } else {
      into += text[i];
    }
  }
  return into;
}

class NginxReader final : public LineReader {
 public:
  std::expected<AccessEntry, std::string> read(std::string_view line) override {
    constexpr auto no_line = "is no line of nginx's combined format";
    AccessEntry entry;
    entry.is_by_address = true;
    Cursor at(line);
    entry.client = at.word();
    // vhost_combined has its server before it; else this is "-", or what identd says.
    const std::string_view second = at.word();
    if (!conf::IpAddress::parse(entry.client) && conf::IpAddress::parse(second))
      entry.client = second;
    // A user's name may have spaces.
    const std::size_t bracket = at.rest().find('[');
    if (bracket == std::string_view::npos) return std::unexpected(no_line);
    at.skip(at.rest().substr(0, bracket));
    const auto time = at.between('[', ']');
    at.skip_spaces();
    const auto request = at.quoted();
    at.skip_spaces();
    if (!time || !request) return std::unexpected(no_line);
    const auto ended = clf_time_of(*time);
    if (!ended) return is_not("time", *time);
    entry.time_ns = *ended;
    const std::string_view status_text = at.word();
    const auto status = status_of(status_text);
    if (!status) return is_not("status", status_text);
    at.word();  // bytes of the answer
    if (at.rest().starts_with('"') && (!at.quoted() || !at.skip(" ") || !at.quoted()))
      return std::unexpected(no_line);

    Extra extra;
    if (auto taken = take_extra(at, extra); !taken) return std::unexpected(taken.error());
    if (extra.ended_ns) entry.time_ns = *extra.ended_ns;
    entry.is_to_the_second = !extra.ended_ns;
    entry.total = extra.total.value_or(extra.upstream.value_or(0s));
    entry.upstream = extra.upstream.value_or(entry.total);
    entry.took = extra.upstream ? AccessEntry::Took::upstream
                 : extra.total  ? AccessEntry::Took::total
                                : AccessEntry::Took::untold;
    entry.bytes_in = extra.bytes;
    entry.tells_bytes = extra.tells_bytes;
    judge(entry, *status,
          extra.upstream         ? Answerer::service
          : extra.tells_upstream ? Answerer::proxy
                                 : Answerer::untold);
    // nginx itself says these of a service that it has asked, too.
    if (extra.upstream && *status == 502) entry.reason = "upstream_broken";
    if (extra.upstream && *status == 504) entry.reason = "upstream_timeout";
    entry.method = method_of(*request);
    take_path(entry, unescaped(target_of(*request), unescaped_), path_);
    if (*status == 444 || (*status >= 494 && *status <= 497)) is_no_work(entry);
    return entry;
  }

 private:
  struct Extra {
    std::optional<std::int64_t> ended_ns;
    std::optional<Duration> total;
    std::optional<Duration> upstream;
    bool tells_upstream = false;
    std::uint64_t bytes = 0;
    bool tells_bytes = false;
  };

  // What stands behind combined: NAME=VALUE, the value in quotes or not.
  static std::expected<void, std::string> take_extra(Cursor& at, Extra& extra) {
    for (at.skip_spaces(); !at.rest().empty(); at.skip_spaces()) {
      const std::size_t equals = at.rest().find_first_of("= ");
      if (equals == std::string_view::npos || at.rest()[equals] != '=')
        return std::unexpected(fmt::format(
            "what \"{}\" is, is not said: log_format has NAME=$NAME behind combined (classgate(8))",
            shown(at.rest())));
      const std::string_view name = at.rest().substr(0, equals);
      at.skip(at.rest().substr(0, equals + 1));
      const auto in_quotes = at.quoted();
      const std::string_view value = in_quotes ? *in_quotes : at.word();
      if (auto taken = take_value(name, value, extra); !taken) return taken;
    }
    return {};
  }

  static std::expected<void, std::string> take_value(std::string_view name, std::string_view value,
                                                     Extra& extra) {
    const bool is_nothing = value.empty() || value == "-";
    if (name == "msec") {
      if (!(extra.ended_ns = epoch_of(value))) return is_not(name, value);
    } else if (name == "request_time" || name == "rt") {
      if (!(extra.total = duration_of(value, 1s))) return is_not(name, value);
    } else if (name == "upstream_response_time" || name == "urt") {
      extra.tells_upstream = true;
      if (!(extra.upstream = sum_of_seconds(value)) &&
          value.find_first_not_of("-,: ") != value.npos)
        return is_not(name, value);
    } else if (name == "content_length") {
      extra.tells_bytes = true;
      const auto bytes = number_of(value, AccessEntry::bytes_max);
      if (!bytes && !is_nothing) return is_not(name, value);
      extra.bytes = bytes.value_or(0);
    }
    return {};
  }

  std::string unescaped_;
  std::string path_;
};

}  // namespace

std::unique_ptr<LineReader> nginx_reader() { return std::make_unique<NginxReader>(); }

}  // namespace classgate::planning
