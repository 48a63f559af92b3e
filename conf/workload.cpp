#include "conf/workload.h"

#include <algorithm>
#include <functional>
#include <sstream>
#include <tuple>

#include "conf/document.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/secret_fields.h"
#include "conf/table.h"
#include "conf/text_file.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

constexpr Bytes body_max{1ULL << 30};  // `classgate load` sends it

// ---- One reader for each kind of value. `Access` gives the field. ----

std::optional<double> number_in(const RawValue& raw) {
  if (const auto* whole = std::get_if<std::int64_t>(&raw.value)) return static_cast<double>(*whole);
  if (const auto* real = std::get_if<double>(&raw.value)) return *real;
  return std::nullopt;
}

template <typename Access>
auto number(double least, double most, Access access) {
  return [=](auto& target, const RawValue& raw) -> Read {
    const auto value = number_in(raw);
    if (!value) return std::unexpected(std::string("expected a number without quotes"));
    if (!(*value >= least && *value <= most))
      return std::unexpected(fmt::format("{} is out of range: {} to {}", *value, least, most));
    access(target) = *value;
    return {};
  };
}

template <typename Access>
auto count(std::uint64_t least, std::uint64_t most, Access access) {
  return [=](auto& target, const RawValue& raw) -> Read {
    const auto* value = std::get_if<std::int64_t>(&raw.value);
    if (value == nullptr) return std::unexpected(std::string("expected a whole number"));
    if (*value < static_cast<std::int64_t>(least) || *value > static_cast<std::int64_t>(most))
      return std::unexpected(fmt::format("{} is out of range: {} to {}", *value, least, most));
    auto& field = access(target);
    field = static_cast<std::remove_reference_t<decltype(field)>>(*value);
    return {};
  };
}

template <typename Access>
auto flag(Access access) {
  return [=](auto& target, const RawValue& raw) -> Read {
    const auto* value = std::get_if<bool>(&raw.value);
    if (value == nullptr) return std::unexpected(std::string("expected true or false"));
    access(target) = *value;
    return {};
  };
}

std::expected<std::string, std::string> text_in(const RawValue& raw) {
  if (const auto* text = std::get_if<std::string>(&raw.value)) return *text;
  return std::unexpected(std::string("expected text in quotes"));
}

// Of a year at most: what is added up in nanoseconds then stays far below what 64 bits hold.
std::expected<Nanoseconds, std::string> moment_in(std::string_view text) {
  constexpr std::chrono::hours most(366 * 24);
  const auto value = parse_duration(text);
  if (!value) return std::unexpected(value.error());
  if (*value > most)
    return std::unexpected(
        fmt::format("\"{}\" is out of range: {} at most", text, print_duration(most)));
  return Nanoseconds(*value);
}

template <typename Access>
auto duration(Access access) {
  return [=](auto& target, const RawValue& raw) -> Read {
    const auto text = text_in(raw);
    if (!text) return std::unexpected(text.error());
    const auto value = moment_in(*text);
    if (!value) return std::unexpected(value.error());
    access(target) = *value;
    return {};
  };
}

template <typename Access>
auto law(Access access) {
  return [=](auto& target, const RawValue& raw) -> Read {
    const auto text = text_in(raw);
    if (!text) return std::unexpected(text.error());
    const auto value = parse_law(*text);
    if (!value) return std::unexpected(value.error());
    access(target) = *value;
    return {};
  };
}

Read read_rate(WorkloadClass& into, const RawValue& raw) {
  double rate = 0;
  if (auto read = number(0, 1e6, [&](WorkloadClass&) -> double& { return rate; })(into, raw); !read)
    return read;
  into.rates = {{Nanoseconds::zero(), rate}};
  return {};
}

// ["0s 10", "60s 200"]
Read read_rates(WorkloadClass& into, const RawValue& raw) {
  const auto* steps = std::get_if<std::vector<std::string>>(&raw.value);
  if (steps == nullptr)
    return std::unexpected(
        std::string("expected a list of times and rates, such as [\"0s 10\", \"60s 200\"]"));
  into.rates.clear();
  for (const std::string& step : *steps) {
    std::istringstream in(step);
    std::string time;
    double rate = -1;
    in >> time >> rate;
    const auto from = moment_in(time);
    if (!from || !in.eof() || in.fail() || !(rate >= 0 && rate <= 1e6))
      return std::unexpected(fmt::format(
          "\"{}\" is no time and rate: write them as in \"60s 200\", the rate at most 1000000",
          step));
    if (!into.rates.empty() && *from <= into.rates.back().from)
      return std::unexpected(fmt::format("\"{}\" is not later than the step before it", step));
    into.rates.push_back({*from, rate});
  }
  return {};
}

Read read_path(WorkloadClass& into, const RawValue& raw) {
  const auto text = text_in(raw);
  if (!text) return std::unexpected(text.error());
  const auto route = parse_route_path(*text);
  if (!route) return std::unexpected(route.error());
  if (route->is_prefix) return std::unexpected(std::string("is the path of a request: no '*'"));
  into.path = route->path;
  return {};
}

Read read_method(WorkloadClass& into, const RawValue& raw) {
  const auto text = text_in(raw);
  if (!text) return std::unexpected(text.error());
  if (!is_field_name(*text) || *text == "CONNECT" ||
      std::ranges::any_of(*text, [](char c) { return c >= 'a' && c <= 'z'; }))
    return std::unexpected(std::string("is a method in capitals, such as \"POST\""));
  into.method = *text;
  return {};
}

// Not repeated in a message: they open something.
Read read_keys(WorkloadClass& into, const RawValue& raw) {
  if (const auto* one = std::get_if<std::string>(&raw.value))
    into.keys = {*one};
  else if (const auto* many = std::get_if<std::vector<std::string>>(&raw.value))
    into.keys = *many;
  else
    return std::unexpected(std::string("expected text in quotes, or a list of these"));
  if (into.keys.empty()) return std::unexpected(std::string("has no key in its list"));
  const auto is_unfit = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; };
  for (std::size_t i = 0; i < into.keys.size(); ++i) {
    const std::string& key = into.keys[i];
    if (key.empty() || key.starts_with(' ') || key.ends_with(' ') ||
        std::ranges::any_of(key, is_unfit))
      return std::unexpected(
          fmt::format("key {} of {} is no value of a field: not empty, no control characters, no "
                      "spaces around it",
                      i + 1, into.keys.size()));
  }
  return {};
}

Read read_key_header(Workload& into, const RawValue& raw) {
  const auto text = text_in(raw);
  if (!text) return std::unexpected(text.error());
  if (!is_field_name(*text))
    return std::unexpected(std::string("is the name of a field, such as \"X-Api-Key\""));
  into.key_header = *text;
  return {};
}

Read read_arrivals(WorkloadClass& into, const RawValue& raw) {
  const auto text = text_in(raw);
  if (!text || (*text != "poisson" && *text != "regular"))
    return std::unexpected(std::string("is \"poisson\" or \"regular\""));
  into.is_regular = *text == "regular";
  return {};
}

Read read_body(WorkloadClass& into, const RawValue& raw) {
  const auto text = text_in(raw);
  if (!text) return std::unexpected(text.error());
  const auto bytes = parse_bytes(*text);
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->count > body_max.count)
    return std::unexpected(
        fmt::format("\"{}\" is out of range: {} at most", *text, print_bytes(body_max)));
  into.body = *bytes;
  return {};
}

#define FIELD(type, member) [](type& t) -> auto& { return t.member; }
const std::vector<Field<Workload>>& workload_fields() {
  // clang-format off
  static const std::vector<Field<Workload>> fields{
      {"duration", duration(FIELD(Workload, duration))},
      {"seed", count(0, 1ULL << 62, FIELD(Workload, seed))},
      {"key_header", read_key_header},
      {"upstream.service", law(FIELD(Workload, upstream.service))},
      {"upstream.capacity", count(0, 1'000'000, FIELD(Workload, upstream.capacity))},
      {"upstream.servers", count(1, 10'000, FIELD(Workload, upstream.servers))},
      {"upstream.batch", count(0, 100'000, FIELD(Workload, upstream.batch))},
      {"upstream.batch_wait", duration(FIELD(Workload, upstream.batch_wait))},
      {"upstream.slowdown_beyond", count(0, 1'000'000, FIELD(Workload, upstream.slowdown_beyond))},
      {"upstream.slowdown_power", number(0, 10, FIELD(Workload, upstream.slowdown_power))},
      {"upstream.failures", number(0, 1, FIELD(Workload, upstream.failures))},
      {"upstream.stops_when_left", flag(FIELD(Workload, upstream.stops_when_left))},
  };
  // clang-format on
  return fields;
}

const std::vector<Field<WorkloadClass>>& class_fields() {
  using Class = WorkloadClass;
  // clang-format off
  static const std::vector<Field<Class>> fields{
      {"name", [](Class& into, const RawValue& raw) -> Read {
         const auto text = text_in(raw);
         if (!text) return std::unexpected(text.error());
         into.name = *text;
         return {};
       }},
      {"path", read_path},
      {"method", read_method},
      {"key", read_keys},
      {"clients", count(1, 100'000, FIELD(Class, clients))},
      {"rate", read_rate},
      {"rates", read_rates},
      {"arrivals", read_arrivals},
      {"burst_every", duration(FIELD(Class, burst_every))},
      {"burst_length", duration(FIELD(Class, burst_length))},
      {"burst_rate", number(0, 1e6, FIELD(Class, burst_rate))},
      {"users", count(1, 100'000, FIELD(Class, users))},
      {"think", law(FIELD(Class, think))},
      {"from", duration(FIELD(Class, from))},
      {"to", duration(FIELD(Class, to))},
      {"service", law(FIELD(Class, service))},
      {"patience", law(FIELD(Class, patience))},
      {"retries", count(0, 100, FIELD(Class, retries))},
      {"retry_delay", law(FIELD(Class, retry_delay))},
      {"honours_retry_after", flag(FIELD(Class, honours_retry_after))},
      {"body", read_body},
      {"items", count(1, 10'000, FIELD(Class, items))},
      {"upload", duration(FIELD(Class, upload))},
  };
  // clang-format on
  return fields;
}
#undef FIELD

class WorkloadReader {
 public:
  explicit WorkloadReader(std::string name) { workload_.name = std::move(name); }

  std::expected<Workload, std::vector<Mistake>> read(const std::string& text, bool with_classes) {
    DocumentForm form{{}, {"class"}};
    for (const auto& field : workload_fields()) form.keys.push_back(field.name);
    const Document document = read_document(text, form);
    for (const DocumentMistake& wrong : document.mistakes) mistake(wrong.place, wrong.text);
    for (const Entry& entry : document.entries) read(workload_fields(), workload_, entry, "");
    for (const TableEntry& table : document.tables_of("class")) read_class(table);
    if (with_classes && found_.empty() && workload_.classes.empty())
      mistake({1, 1}, "has no [[class]]: nobody asks for anything");
    if (workload_.duration == Nanoseconds::zero())
      mistake({1, 1}, "duration: a workload of no time has nothing to tell");
    if (found_.empty()) return std::move(workload_);
    // (libstdc++ 12 warns under clang about its own stable_sort.)
    std::ranges::sort(
        found_, {}, [](const DocumentMistake& wrong) { return std::tie(wrong.place, wrong.text); });
    std::vector<Mistake> mistakes;
    for (DocumentMistake& wrong : found_)
      mistakes.push_back(
          {printable(fmt::format("{}:{}:{}", workload_.name, wrong.place.line, wrong.place.column)),
           printable(wrong.text)});
    return std::unexpected(std::move(mistakes));
  }

 private:
  template <typename Target>
  void read(const std::vector<Field<Target>>& fields, Target& target, const Entry& entry,
            std::string_view where) {
    if (std::string wrong = read_entry(fields, target, entry, "", where); !wrong.empty())
      mistake(entry.place, std::move(wrong));
  }

  void read_class(const TableEntry& table) {
    WorkloadClass one;
    for (const Entry& entry : table.entries) read(class_fields(), one, entry, " in [[class]]");
    const auto has = [&](std::string_view key) {
      return std::ranges::any_of(table.entries, [&](const Entry& e) { return e.key == key; });
    };
    if (has("users") == (has("rate") || has("rates")))
      mistake(table.place,
              "[[class]] has either users, who wait for answers, or a rate, which does not");
    if (has("rate") && has("rates")) mistake(table.place, "[[class]] has rate and rates");
    if (has("users") && !has("think"))
      mistake(table.place, "[[class]] has users but no think, such as \"exponential 5s\"");
    if (has("burst_rate") != has("burst_every") || has("burst_rate") != has("burst_length"))
      mistake(table.place, "[[class]]: burst_every, burst_length and burst_rate belong together");
    else if (has("burst_rate") && one.burst_every <= one.burst_length)
      mistake(table.place, "[[class]]: burst_length is not shorter than burst_every");
    if (has("key") && workload_.key_header.empty())
      mistake(
          table.place,
          "[[class]] has a key, and the workload no key_header: say in which field clients send "
          "it, above the first table, such as key_header = \"X-Api-Key\"");
    if (one.to && *one.to <= one.from) mistake(table.place, "[[class]] ends before it begins");
    if (one.name.empty()) one.name = fmt::format("class {}", workload_.classes.size() + 1);
    for (const WorkloadClass& other : workload_.classes)
      if (other.name == one.name)
        mistake(table.place, fmt::format("two classes are called \"{}\"", one.name));
    workload_.classes.push_back(std::move(one));
  }

  void mistake(Place place, std::string text) { found_.push_back({place, std::move(text)}); }

  Workload workload_;
  std::vector<DocumentMistake> found_;
};

}  // namespace

std::expected<Workload, std::vector<Mistake>> parse_workload(const std::string& text,
                                                             const std::string& name,
                                                             bool with_classes) {
  return WorkloadReader(name).read(text, with_classes);
}

std::expected<Workload, std::vector<Mistake>> read_workload(const std::string& path,
                                                            bool with_classes) {
  const auto text = read_text_file(path, {}, FileKind::any);  // a tool may be fed by a pipe
  if (!text) return std::unexpected(std::vector<Mistake>{{printable(path), text.error()}});
  return parse_workload(*text, path, with_classes);
}

std::vector<std::string> workload_keys() {
  std::vector<std::string> keys;
  for (const auto& field : workload_fields()) keys.push_back(field.name);
  for (const auto& field : class_fields()) keys.push_back("class." + field.name);
  return keys;
}

}  // namespace classgate::conf
