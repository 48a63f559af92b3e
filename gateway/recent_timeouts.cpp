#include "gateway/recent_timeouts.h"

#include <algorithm>

#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using proxy::wire::FieldId;

// Different at each attempt, or for each connection: ids and times of the attempt, how many there
// were, what proxies on the way say of themselves.
bool is_of_one_attempt(const proxy::wire::Field& field) {
  constexpr proxy::wire::FieldSet ids =
      proxy::wire::hop_by_hop | set_of(FieldId::content_length, FieldId::date, FieldId::expect,
                                       FieldId::via, FieldId::x_request_id);
  if (ids & proxy::wire::set_of(field.id)) return true;
  constexpr std::array names = {
      "x-retry-count",
      "x-stainless-retry-count",
      "amz-sdk-request",
      "x-envoy-attempt-count",
      "grpc-previous-rpc-attempts",
      "request-id",
      "x-correlation-id",
      "x-amzn-trace-id",
      "x-cloud-trace-context",
      "traceparent",
      "tracestate",
      "baggage",
      "sentry-trace",
      "b3",
      "x-b3-traceid",
      "x-b3-spanid",
      "x-b3-parentspanid",
      "x-client-request-id",
  };
  return std::ranges::any_of(
      names, [&](std::string_view name) { return proxy::wire::equal_names(field.name, name); });
}

// Of several texts, in this order: each hash is part of the key of the next.
class Chain {
 public:
  explicit Chain(const HashKey& key) : key_(key) {}
  void add(std::string_view text) { value_ = SipHash::of({key_[0] ^ value_, key_[1]}, text); }
  void add(std::uint64_t number) { value_ ^= number; }
  std::uint64_t value() const { return value_; }

 private:
  HashKey key_;
  std::uint64_t value_ = 0;
};

std::uint64_t hash_of(const HashKey& key, std::uint64_t head, std::string_view body) {
  return SipHash::of({key[0] ^ head, ~key[1]}, body);
}

}  // namespace

std::uint64_t RecentTimeouts::head_of(std::uint64_t client, std::string_view address,
                                      std::string_view target,
                                      const proxy::wire::Head& head) const {
  Chain chain(key_);
  if (client == 0)
    chain.add(address);
  else
    chain.add(client);
  chain.add(head.method);
  chain.add(target);
  for (const proxy::wire::Field& field : head.fields) {
    if (is_of_one_attempt(field)) continue;
    chain.add(field.name);
    chain.add(field.value);
  }
  return std::max<std::uint64_t>(chain.value(), 1);
}

void RecentTimeouts::add(std::uint64_t head, std::string_view body, admission::Time until) {
  const std::uint64_t hash = hash_of(key_, head, body);
  const std::lock_guard lock(mutex_);
  if (entries_.empty()) entries_.resize(sets);
  Set& set = entries_[head % sets];
  auto entry = std::ranges::find_if(
      set, [&](const Entry& one) { return one.head == head && one.body == hash; });
  if (entry == set.end()) entry = std::ranges::min_element(set, {}, &Entry::until);
  *entry = {head, hash, until};
  is_empty_.store(false, std::memory_order_release);
}

template <typename Is>
bool RecentTimeouts::has_one(std::uint64_t head, admission::Time now, Is is) const {
  if (is_empty_.load(std::memory_order_acquire)) return false;
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(entries_[head % sets], [&](const Entry& one) {
    return one.head == head && now < one.until && is(one);
  });
}

bool RecentTimeouts::may_have(std::uint64_t head, admission::Time now) const {
  return has_one(head, now, [](const Entry&) { return true; });
}

bool RecentTimeouts::has(std::uint64_t head, std::string_view body, admission::Time now) const {
  return has_one(head, now,
                 [hash = hash_of(key_, head, body)](const Entry& one) { return one.body == hash; });
}

}  // namespace classgate::gateway
