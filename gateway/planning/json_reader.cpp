#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "conf/format.h"
#include "gateway/planning/foreign_readers.h"
#include "gateway/planning/log_fields.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

// The members of an object that are no objects themselves, and those of its member "request" (as
// "request.uri"): all others are passed over, without memory for them.
class Members final : public nlohmann::json_sax<nlohmann::json> {
 public:
  // False when that is no object.
  bool read(std::string_view line) {
    count_ = depth_ = arrays_ = 0;
    in_request_ = false;
    return line.starts_with('{') && nlohmann::json::sax_parse(line, this);
  }
  const std::string* find(std::string_view name) const {
    for (std::size_t i = 0; i < count_; ++i)
      if (members_[i].name == name) return &members_[i].value;
    return nullptr;
  }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t value) override {
    return keep(fmt::format_int(value).str());
  }
  bool number_unsigned(number_unsigned_t value) override {
    return keep(fmt::format_int(value).str());
  }
  bool number_float(number_float_t, const string_t& text) override { return keep(text); }
  bool string(string_t& text) override { return keep(text); }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    in_request_ = depth_ == 1 && arrays_ == 0 && key_ == "request";
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    in_request_ = false;
    return true;
  }
  bool start_array(std::size_t) override { return ++arrays_ > 0; }
  bool end_array() override {
    --arrays_;
    return true;
  }
  bool key(string_t& name) override {
    key_ = name;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  static constexpr std::size_t members_max = 200;
  struct Member {
    std::string name;
    std::string value;
  };

  bool keep(const std::string& value) {
    const bool is_wanted = arrays_ == 0 && (depth_ == 1 || (depth_ == 2 && in_request_));
    if (!is_wanted || count_ == members_max) return true;
    if (count_ == members_.size()) members_.emplace_back();
    members_[count_].name = depth_ == 2 ? "request." + key_ : key_;
    members_[count_].value = value;
    ++count_;
    return true;
  }

  std::vector<Member> members_;  // the first count_; the rest keep their memory
  std::size_t count_ = 0;
  std::size_t depth_ = 0;
  std::size_t arrays_ = 0;
  bool in_request_ = false;
  std::string key_;
};

struct Timed {
  std::string_view name;
  Duration unit;
};
constexpr std::array ended_names{"time",         "timestamp", "@timestamp", "ts",
                                 "time_iso8601", "msec",      "time_local", "end_time"};
constexpr std::array began_names{"start_time", "time_start"};
constexpr std::array client_names{
    "client",  "client_ip",       "remote_addr",       "remote_ip",
    "address", "x_forwarded_for", "request.client_ip", "request.remote_ip"};
constexpr std::array path_names{"path", "uri", "request_uri", "url", "request.uri"};
constexpr std::array method_names{"method", "request_method", "request.method"};
constexpr std::array status_names{"status", "status_code", "response_code"};
constexpr std::array bytes_names{"bytes_in", "content_length", "bytes_received", "bytes_read"};
// Whose unit is in their name, or well known.
constexpr std::array total_names{Timed{"total_ms", 1ms},   Timed{"duration_ms", 1ms},
                                 Timed{"latency_ms", 1ms}, Timed{"request_time", 1s},
                                 Timed{"duration_s", 1s},  Timed{"duration_seconds", 1s}};
constexpr std::array upstream_names{Timed{"upstream_ms", 1ms}, Timed{"service_ms", 1ms},
                                    Timed{"upstream_service_time", 1ms},
                                    Timed{"upstream_response_time", 1s}};
constexpr Timed caddy_total{"duration", 1s};

struct ReadTime {
  std::int64_t ns = 0;
  bool is_to_the_second = false;
};

// Seconds since 1970, or thousandths, millionths or billionths of one: these have had so many
// digits since 2001, and will until 2286.
std::optional<ReadTime> epoch_time_of(std::string_view text) {
  constexpr std::size_t of_seconds = 10;
  auto plain = plain_number(text);
  if (!plain) return std::nullopt;
  const std::size_t point = std::min(plain->find('.'), plain->size());
  const bool has_fraction = point < plain->size();
  for (const std::size_t more : {3U, 6U, 9U})
    if (point == of_seconds + more) {
      if (has_fraction) plain->erase(point, 1);
      plain->insert(of_seconds, 1, '.');
      const auto ns = epoch_of(*plain);
      if (!ns) return std::nullopt;
      return ReadTime{*ns, false};
    }
  const auto ns = epoch_of(*plain);
  if (!ns) return std::nullopt;
  return ReadTime{*ns, !has_fraction};
}

// "2026-11-24T09:30:07Z", "24/Nov/2026:09:30:07 +0000", or since 1970.
std::optional<ReadTime> any_time_of(std::string_view text) {
  if (const auto time = epoch_time_of(text)) return time;
  const bool has_fraction = text.find_first_of(".,") != std::string_view::npos;
  if (const auto ns = iso_time_of(text)) return ReadTime{*ns, !has_fraction};
  if (const auto ns = clf_time_of(text)) return ReadTime{*ns, !has_fraction};
  return std::nullopt;
}

// "0.033", "0,033", "3.3e-2", or of several servers "0.010, 0.023".
std::optional<Duration> any_duration_of(std::string_view text, Duration unit) {
  if (const auto plain = plain_number(text)) return duration_of(*plain, unit);
  if (unit == Duration(1s)) return sum_of_seconds(text);
  return std::nullopt;
}

class JsonReader final : public LineReader {
 public:
  explicit JsonReader(bool is_caddy) : is_caddy_(is_caddy) {}

  std::expected<AccessEntry, std::string> read(std::string_view line) override {
    if (!members_.read(line)) return std::unexpected("is no JSON object");
    if (is_caddy_ && members_.find("request.uri") == nullptr)
      return std::unexpected("is no line of Caddy's access log");
    AccessEntry entry;
    entry.is_by_address = true;
    if (auto taken = take_time(entry); !taken) return std::unexpected(taken.error());
    const std::string* const status_text = first_of(status_names);
    const auto status = status_text == nullptr ? std::nullopt : status_of(*status_text);
    if (!status) return missing("status", status_text);
    const std::string* const target = first_of(path_names);
    if (target == nullptr) return missing("path", target);
    const std::string* const client = first_of(client_names);
    entry.client = client == nullptr ? "-" : std::string_view(*client);
    entry.client = entry.client.substr(0, entry.client.find(','));
    if (const std::string* const bytes = first_of(bytes_names)) {
      const auto number = number_of(*bytes, AccessEntry::bytes_max);
      if (!number && !bytes->empty() && *bytes != "-") return is_not("the size", *bytes);
      entry.bytes_in = number.value_or(0);
    } else {
      entry.tells_bytes = false;
    }
    judge(entry, *status, answerer_);
    if (answerer_ == Answerer::service && *status == 504) entry.reason = "upstream_timeout";
    if (answerer_ == Answerer::service && *status == 502) entry.reason = "upstream_broken";
    if (*status == 0) was_left(entry);
    if (const std::string* const method = first_of(method_names)) entry.method = *method;
    take_path(entry, *target, path_);
    return entry;
  }

 private:
  template <std::size_t size>
  const std::string* first_of(const std::array<const char*, size>& names) const {
    for (const char* name : names)
      if (const std::string* const found = members_.find(name)) return found;
    return nullptr;
  }
  template <std::size_t size>
  std::optional<std::pair<std::string_view, Timed>> timed(
      const std::array<Timed, size>& names) const {
    for (const Timed& name : names)
      if (const std::string* const found = members_.find(name.name))
        return std::pair{std::string_view(*found), name};
    return std::nullopt;
  }
  static std::unexpected<std::string> missing(std::string_view what, const std::string* value) {
    if (value != nullptr) return is_not(what, *value);
    return std::unexpected(fmt::format("has no {} by a name that is known (classgate(8))", what));
  }

  std::expected<void, std::string> take_time(AccessEntry& entry) {
    auto total = timed(total_names);
    if (is_caddy_)
      if (const std::string* const found = members_.find(caddy_total.name))
        total = {*found, caddy_total};
    const auto upstream = timed(upstream_names);
    const auto read = [](const std::optional<std::pair<std::string_view, Timed>>& text)
        -> std::expected<std::optional<Duration>, std::string> {
      if (!text || text->first.empty() || text->first == "-") return std::nullopt;
      const auto took = any_duration_of(text->first, text->second.unit);
      if (!took) return is_not(text->second.name, text->first);
      return took;
    };
    const auto all = read(total), at_service = read(upstream);
    if (!all) return std::unexpected(all.error());
    if (!at_service) return std::unexpected(at_service.error());
    entry.total = all->value_or(at_service->value_or(0s));
    entry.upstream = at_service->value_or(entry.total);
    entry.took = *at_service ? AccessEntry::Took::upstream
                 : *all      ? AccessEntry::Took::total
                             : AccessEntry::Took::untold;
    answerer_ = *at_service ? Answerer::service : upstream ? Answerer::proxy : Answerer::untold;
    if (const std::string* const began = first_of(began_names)) {
      const auto time = any_time_of(*began);
      if (!time) return is_not("the time", *began);
      entry.time_ns = time->ns + entry.total.count();
      return {};
    }
    const std::string* const ended = first_of(ended_names);
    if (ended == nullptr) return missing("time", ended);
    const auto time = any_time_of(*ended);
    if (!time) return is_not("the time", *ended);
    entry.time_ns = time->ns;
    entry.is_to_the_second = time->is_to_the_second;
    return {};
  }

  bool is_caddy_;
  Members members_;
  Answerer answerer_ = Answerer::untold;
  std::string path_;
};

}  // namespace

std::unique_ptr<LineReader> caddy_reader() { return std::make_unique<JsonReader>(true); }
std::unique_ptr<LineReader> json_reader() { return std::make_unique<JsonReader>(false); }

}  // namespace classgate::planning
