#include "gateway/ops/name_watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds soonest{1'000};
constexpr milliseconds after_failure{5'000};

using Endpoints = std::vector<proxy::net::Endpoint>;

// The servers that were known before and are not in the new answer.
Endpoints rest_of(const Endpoints& known, const Endpoints& told) {
  Endpoints rest;
  std::ranges::copy_if(known, std::back_inserter(rest), [&](const auto& one) {
    return std::ranges::find(told, one.address, &proxy::net::Endpoint::address) == told.end();
  });
  return rest;
}

}  // namespace

NameWatch::Name::Name(NameWatch& watch, conf::Address address)
    : wanted(std::move(address)), timer(watch.loop_, [this, &watch] { watch.look_up(*this); }) {}

void NameWatch::begin() {
  end();
  const conf::UpstreamSettings& upstream = server_.settings().upstream;
  for (const conf::Address& address : upstream.servers)
    if (address.is_name() &&
        (address.is_service || !proxy::net::Resolver::is_in_hosts_file(address.host) ||
         server_.policy().servers->endpoints_of(address).empty()))
      names_.push_back(std::make_unique<Name>(*this, address));
  if (names_.empty()) return;
  resolver_ =
      std::make_unique<proxy::net::Resolver>(loop_, upstream.nameservers, upstream.resolve_timeout);
  // Looked up at once, though the address is known: only the answer has a time to live.
  for (const auto& name : names_) name->timer.start(milliseconds(0));
}

void NameWatch::end() {
  resolver_.reset();
  names_.clear();
}

void NameWatch::look_up(Name& name) {
  const auto try_later = [&name] { name.timer.start(after_failure); };
  loop_.guard(
      [&] {
        resolver_->look_up(name.wanted,
                           [this, &name, try_later](const proxy::net::Resolver::Result& answer) {
                             loop_.guard([&] { on_answer(name, answer); }, try_later);
                           });
      },
      try_later);
}

void NameWatch::on_answer(Name& name, const proxy::net::Resolver::Result& answer) {
  const milliseconds latest = server_.settings().upstream.resolve_interval;
  const auto known = server_.policy().servers->endpoints_of(name.wanted);
  if (!answer) return on_failure(name, !known.empty(), answer.error().why);
  auto endpoints = answer->endpoints;
  const Endpoints rest = answer->lacks.empty() ? Endpoints() : rest_of(known, endpoints);
  const bool has_v4 = !known.empty() && known.front().address.ip().is_v4();
  if (!rest.empty() && !name.wanted.is_service && has_v4)
    return on_failure(name, true, answer->lacks);
  // Of a service those go on whose hosts may be there still.
  if (!rest.empty() && name.wanted.is_service) {
    endpoints.insert(endpoints.end(), rest.begin(), rest.end());
    proxy::net::tidy(endpoints);
  }
  if (std::exchange(name.has_failed, false))
    spdlog::info("\"{}\" can be looked up again", name.wanted.text);
  if (std::exchange(name.left_out, answer->left_out) != answer->left_out && answer->left_out > 0)
    spdlog::warn("\"{}\" has {} addresses: the first {} are used (upstream.servers)",
                 name.wanted.text, answer->endpoints.size() + answer->left_out,
                 answer->endpoints.size());
  name.timer.start(
      std::clamp<milliseconds>(answer->time_to_live, soonest, std::max(latest, soonest)));
  server_.use_endpoints(name.wanted, endpoints);
}

void NameWatch::on_failure(Name& name, bool is_known, const std::string& why) {
  if (!std::exchange(name.has_failed, true)) {
    if (is_known)
      spdlog::warn("cannot look up \"{}\" again: {}; it keeps its addresses (upstream.servers)",
                   name.wanted.text, why);
    else
      spdlog::error("cannot look up \"{}\": {}; it has no address yet (upstream.servers)",
                    name.wanted.text, why);
  }
  if (!is_known) server_.note_unknown(name.wanted, why);
  // Nobody is served while it is not known.
  name.timer.start(
      std::min(is_known ? after_failure : soonest, server_.settings().upstream.resolve_interval));
}

}  // namespace classgate::gateway
