#include "proxy/wire/deadline.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "proxy/wire/fields.h"

namespace classgate::proxy::wire {
namespace {

using std::chrono::nanoseconds;

constexpr std::string_view grpc_name = "grpc-timeout";
constexpr std::string_view plain_name = "x-request-timeout";
constexpr std::string_view prefer_name = "prefer";
constexpr nanoseconds longest = std::chrono::hours(24);

struct Unit {
  std::string_view name;
  nanoseconds one;
};
constexpr std::array grpc_units{
    Unit{"H", std::chrono::hours(1)},        Unit{"M", std::chrono::minutes(1)},
    Unit{"S", std::chrono::seconds(1)},      Unit{"m", std::chrono::milliseconds(1)},
    Unit{"u", std::chrono::microseconds(1)}, Unit{"n", nanoseconds(1)}};
constexpr std::array plain_units{Unit{"ms", std::chrono::milliseconds(1)},
                                 Unit{"s", std::chrono::seconds(1)},
                                 Unit{"", std::chrono::seconds(1)}};
constexpr std::array prefer_units{Unit{"", std::chrono::seconds(1)}};

template <std::size_t Count>
std::optional<nanoseconds> read(std::string_view text, const std::array<Unit, Count>& units,
                                std::size_t digits_max) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > digits_max) return std::nullopt;
  const auto unit = std::ranges::find(units, text.substr(digits), &Unit::name);
  if (unit == units.end()) return std::nullopt;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, number);
  const auto most = static_cast<std::uint64_t>(longest / unit->one);
  if (error != std::errc{} || number > most) return longest;
  return unit->one * static_cast<std::int64_t>(number);
}

// Seconds, perhaps with decimals.
std::optional<nanoseconds> read_stainless(std::string_view text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  double seconds = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), seconds, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  const double most = std::chrono::duration<double>(longest).count();
  if (seconds >= most) return longest;
  return seconds == 0 ? std::chrono::seconds(1)
                      : nanoseconds(static_cast<nanoseconds::rep>(seconds * 1e9));
}

bool is_stainless(const Field& field) {
  return equal_names(field.name, "x-stainless-timeout") ||
         equal_names(field.name, "x-stainless-read-timeout");
}

bool is_prefer(const Field& field) { return equal_names(field.name, prefer_name); }

// "wait=10", also "wait = 10" and quoted; nothing for another preference.
std::optional<nanoseconds> wait_of(std::string_view preference) {
  const std::size_t equals = preference.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  std::string_view name = preference.substr(0, equals);
  std::string_view value = preference.substr(equals + 1);
  while (name.ends_with(' ') || name.ends_with('\t')) name.remove_suffix(1);
  while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
  if (value.size() > 1 && value.starts_with('"') && value.ends_with('"'))
    value = value.substr(1, value.size() - 2);
  if (!equal_names(name, "wait")) return std::nullopt;
  return read(value, prefer_units, 1000);
}

}  // namespace

std::optional<Deadline> deadline_of(const Head& request) {
  std::optional<Deadline> shortest;
  const auto note = [&](Deadline::Form form, std::optional<nanoseconds> time) {
    if (time && (!shortest || *time < shortest->time)) shortest = {form, *time};
  };
  for (const Field& field : request.fields) {
    if (field.id != FieldId::other) continue;
    if (equal_names(field.name, grpc_name))
      note(Deadline::Form::grpc, read(field.value, grpc_units, 8));
    else if (equal_names(field.name, plain_name))
      note(Deadline::Form::plain, read(field.value, plain_units, 1000));
    else if (is_stainless(field))
      note(Deadline::Form::plain, read_stainless(field.value));
    else if (is_prefer(field))
      for_each_element(field.value, [&](std::string_view preference) {
        note(Deadline::Form::prefer, wait_of(preference));
      });
  }
  return shortest;
}

Head without_deadline(const Head& request, std::string& preferences) {
  Head left = request;
  preferences.clear();
  std::erase_if(left.fields, [&](const Field& field) {
    if (field.id != FieldId::other) return false;
    if (is_prefer(field))
      for_each_element(field.value, [&](std::string_view preference) {
        if (wait_of(preference)) return;
        preferences += preferences.empty() ? "" : ", ";
        preferences += preference;
      });
    return is_prefer(field) || equal_names(field.name, grpc_name) ||
           equal_names(field.name, plain_name) || is_stainless(field);
  });
  if (!preferences.empty()) left.add("Prefer", preferences);
  return left;
}

void append_deadline(std::string& out, const Deadline& left) {
  const auto milliseconds = std::to_string(
      std::chrono::ceil<std::chrono::milliseconds>(std::min(left.time, longest)).count());
  switch (left.form) {
    case Deadline::Form::prefer:
      out += "Prefer: wait=";
      out += std::to_string(std::chrono::ceil<std::chrono::seconds>(left.time).count());
      break;
    case Deadline::Form::grpc:  // a day in milliseconds has eight digits
      out += "grpc-timeout: " + milliseconds + "m";
      break;
    case Deadline::Form::plain: out += "X-Request-Timeout: " + milliseconds + "ms"; break;
  }
  out += "\r\n";
}

}  // namespace classgate::proxy::wire
