#include "gateway/clients/retry_marks.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

// Digits only; a number that is too large to read is large.
bool counts_beyond(std::string_view text, std::uint64_t limit) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return false;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc::result_out_of_range || number > limit;
}

// "attempt=2; max=3", as the AWS libraries write it.
std::string_view attempt_in(std::string_view parameters) {
  constexpr std::string_view start = "attempt=";
  const std::size_t at = parameters.find(start);
  constexpr std::string_view before = " ;";
  if (at == std::string_view::npos || (at > 0 && !before.contains(parameters[at - 1]))) return {};
  parameters.remove_prefix(at + start.size());
  return parameters.substr(0, parameters.find(';'));
}

bool says_retry(const proxy::wire::Field& field) {
  using proxy::wire::equal_names;
  switch (field.name.size()) {
    case 13: return equal_names(field.name, "x-retry-count") && counts_beyond(field.value, 0);
    case 15:
      return equal_names(field.name, "amz-sdk-request") &&
             counts_beyond(attempt_in(field.value), 1);
    case 21:
      return equal_names(field.name, "x-envoy-attempt-count") && counts_beyond(field.value, 1);
    case 23:
      return equal_names(field.name, "x-stainless-retry-count") && counts_beyond(field.value, 0);
    case 26:
      return equal_names(field.name, "grpc-previous-rpc-attempts") && counts_beyond(field.value, 0);
    default: return false;
  }
}

}  // namespace

RetryMarks retry_marks_of(const proxy::wire::Head& head, const HashKey& key, std::uint64_t client,
                          std::string_view path) {
  using proxy::wire::equal_names;
  RetryMarks marks;
  std::string_view name;
  int names = 0;
  for (const proxy::wire::Field& field : head.fields) {
    marks.is_retry = marks.is_retry || says_retry(field);
    if (field.name.size() != 15 || !equal_names(field.name, "idempotency-key")) continue;
    name = field.value;
    ++names;
  }
  if (name.empty() || names > 1) return marks;  // which of two the service takes nobody knows
  const HashKey own{key[0] ^ client, key[1] ^ SipHash::of(key, path)};
  marks.key = std::max<std::uint64_t>(SipHash::of(own, name), 1);
  return marks;
}

}  // namespace classgate::gateway
