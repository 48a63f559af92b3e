#include "gateway/ops/name_watch.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds soonest{1'000};
constexpr milliseconds after_failure{5'000};

}  // namespace

NameWatch::Name::Name(NameWatch& watch, conf::Address address)
    : wanted(std::move(address)), timer(watch.loop_, [this, &watch] { watch.look_up(*this); }) {}

void NameWatch::begin() {
  end();
  const conf::UpstreamSettings& upstream = server_.settings().upstream;
  for (const conf::Address& address : upstream.servers)
    if (!address.is_unix && !conf::IpAddress::parse(address.host) &&
        !proxy::net::Resolver::is_in_hosts_file(address.host))
      names_.push_back(std::make_unique<Name>(*this, address));
  if (names_.empty()) return;
  resolver_ = std::make_unique<proxy::net::Resolver>(loop_, upstream.nameservers);
  // At once: only the answer tells for how long it holds.
  for (const auto& name : names_) name->timer.start(milliseconds(0));
}

void NameWatch::end() {
  resolver_.reset();
  names_.clear();
}

void NameWatch::look_up(Name& name) {
  resolver_->look_up(
      name.wanted.host, name.wanted.port,
      [this, &name](const std::expected<proxy::net::Resolver::Answer, std::string>& answer) {
        on_answer(name, answer);
      });
}

void NameWatch::on_answer(Name& name,
                          const std::expected<proxy::net::Resolver::Answer, std::string>& answer) {
  const milliseconds latest = server_.settings().upstream.resolve_interval;
  if (!answer) {
    if (!std::exchange(name.has_failed, true))
      spdlog::warn("cannot look up \"{}\" again: {}; it keeps its addresses (upstream.servers)",
                   name.wanted.text, answer.error());
    return name.timer.start(std::min(after_failure, latest));
  }
  if (std::exchange(name.has_failed, false))
    spdlog::info("\"{}\" can be looked up again", name.wanted.text);
  name.timer.start(
      std::clamp<milliseconds>(answer->time_to_live, soonest, std::max(latest, soonest)));
  server_.use_addresses(name.wanted, answer->addresses);
}

}  // namespace classgate::gateway
