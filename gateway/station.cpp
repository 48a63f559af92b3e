#include "gateway/station.h"

#include <algorithm>
#include <random>
#include <utility>

#include "gateway/first_look.h"

namespace classgate::gateway {
namespace {

constexpr std::chrono::milliseconds between_vain_changes{10};
constexpr std::size_t response_buffer_when_tight = 16 * 1024;
}  // namespace

Station::Timeouts::Timeouts(proxy::net::Loop& loop, const conf::Settings& settings)
    : header(loop, settings.client.header_timeout),
      body(loop, settings.client.body_timeout),
      stream(loop,
             std::min<std::chrono::milliseconds>(settings.client.body_timeout, stream_window)),
      send(loop, settings.client.send_timeout),
      idle(loop, settings.client.idle_timeout),
      linger(loop, settings.client.linger_timeout),
      request(loop, settings.admission.request_timeout),
      queue(loop, settings.admission.queue_timeout),
      stream_idle(loop, settings.upstream.stream_idle_timeout),
      stream_time(loop, settings.upstream.stream_time_max),
      look(loop, std::chrono::milliseconds(250)) {}

void Station::Timeouts::change(const conf::Settings& settings) {
  header.change_duration(settings.client.header_timeout);
  body.change_duration(settings.client.body_timeout);
  stream.change_duration(
      std::min<std::chrono::milliseconds>(settings.client.body_timeout, stream_window));
  send.change_duration(settings.client.send_timeout);
  idle.change_duration(settings.client.idle_timeout);
  linger.change_duration(settings.client.linger_timeout);
  request.change_duration(settings.admission.request_timeout);
  queue.change_duration(settings.admission.queue_timeout);
  stream_idle.change_duration(settings.upstream.stream_idle_timeout);
  stream_time.change_duration(settings.upstream.stream_time_max);
}

Station::Station(Shared& shared, std::shared_ptr<const Policy> policy, const Sockets& sockets,
                 Milestones milestones)
    : shared_(shared),
      policy_(policy),
      rules_(policy->rules.get()),
      milestones_(std::move(milestones)),
      number_(shared.gate.attach(*this)),
      usage_(shared.usage.of_loop(number_)),
      timeouts_(loop_, settings()),
      upstreams_(loop_, shared, policy_, number_ == 0),
      mailbox_(loop_, [this](Letter& letter) { read(letter); }),
      memory_(shared.memory),
      held_(loop_, [this] { return holds(); }),
      exchanges_(*this,
                 [this](std::size_t count) {
                   held_.reserve(count);
                   // Those that it has left in its last life, other letters.
                   mailbox_.reserve(2 * count + 64);
                 }),
      connections_(*this),
      records_{.lines{shared.access_log, std::random_device{}()},
               .roll_up{loop_, [this] { records_.lines.tell_rolled_up(loop_.now()); }}},
      change_{.again{loop_, [this] { change(); }}},
      drain_{.grace = {loop_, [this] { on_grace_over(); }}} {
  adopt(std::move(policy));
  connections_.listen_on(sockets);
  loop_.at_turn_end([this] { end_turn(); });
  loop_.at_exception([this](const std::exception& thrown) { shared_.note_exception(thrown); });
  upstreams_.begin_service();
}

// ---- The conf ----------------------------------------------------------------------------------

// What was begun is done again until there is memory for all of it: a change that is left out would
// leave this loop with other rules than the others.
void Station::change() {
  if (!change_.wanted.policy) return;  // a later one has been made whole meanwhile
  loop_.guard(
      [this] {
        if (!drain_.is_on) connections_.stop_listening_except(change_.wanted.sockets);
        adopt(change_.wanted.policy);
        if (!drain_.is_on) connections_.listen_on(change_.wanted.sockets);
        change_.wanted = {};
      },
      [this] { change_.again.start(between_vain_changes); });
}

// Requests that are under way keep what they began with: their timeouts and upstream connections.
// What needs memory comes first, so that it is adopted whole or not; what a new pool begins with is
// made up for by the next attempt.
void Station::adopt(std::shared_ptr<const Policy> policy) {
  const Rules& rules = *policy->rules;
  const bool has_same_rules = rules_ == &rules && metrics_.has_rules();  // not at the start
  RuleMetrics::Places metrics;
  if (!has_same_rules) metrics = metrics_.under(rules, shared_.usage.names);
  Upstreams::Change upstreams = upstreams_.prepare(*policy_, policy);
  if (!has_same_rules) timeouts_.change(rules.settings);
  records_.decisions.resize(part_of(rules.settings.ops.why_max, rules.settings.threads, number_));
  const conf::AdmissionSettings& limits = rules.settings.admission;
  records_.decisions.set_in_force({.generation = rules.generation,
                                   .rate = limits.rate,
                                   .burst = limits.burst,
                                   .workers = limits.workers,
                                   .queue_size = limits.queue_size,
                                   .queue_timeout = limits.queue_timeout});
  const std::shared_ptr<const Policy> before = std::exchange(policy_, std::move(policy));
  rules_ = &rules;
  strangers_health_.forget();
  if (!has_same_rules) {
    metrics_.use(std::move(metrics));
    request_limits_ = head_limits_of(rules.settings.client);
    connections_.judge_senders();
  }
  upstreams_.adopt(std::move(upstreams), *policy_);
  upstreams_.begin();
}

// Its loop has ended. Those who wait hear so first: the workers of the others would be theirs.
Station::~Station() {
  for (const bool waits : {true, false})
    for (const auto& exchange : exchanges_.all())
      if (exchange && static_cast<bool>(exchange->place()) == waits)
        loop_.guard([&] { exchange->on_gateway_ending(); }, [&] { exchange->cut(); });
  for (const auto& exchange : exchanges_.all())
    if (exchange) exchange->cut();
  connections_.reset_unfinished();
  records_.lines.tell_rolled_up(loop_.now());
  records_.lines.hand_over();
}

// ---- Exchanges ---------------------------------------------------------------------------------

bool Station::holds() {
  const bool are_full = settings().upstream.requests_per_server != 0 &&
                        !policy_->servers->none_reachable() && !upstreams_.pool().has_place();
  return are_full || time_to_hold(settings().upstream, *policy_->servers, loop_.now()).count() > 0;
}

void Station::append_refusal_of_connection(std::string& out, conf::Reason reason,
                                           const ClientIdentities::Listener* listener) {
  const Refusals& refusals = policy_->rules->refusals_of(nullptr, listener);
  refusals.append(out, {.rejection = {reason, std::chrono::seconds(1)},
                        .request_id = {},
                        .date = date_text(),
                        .allow = {},
                        .own_fields = {},
                        .close = true});
}

bool Station::is_too_slow_for_waiters(std::uint64_t bytes_in_window) {
  const std::uint64_t least =
      settings().client.stream_rate_min.count * static_cast<std::uint64_t>(stream_window.count());
  return bytes_in_window < least && shared_.gate.has_waiters();
}

std::size_t Station::response_buffer() const {
  const auto wanted = static_cast<std::size_t>(settings().client.response_buffer.count);
  return memory_.is_tight() ? std::min(wanted, response_buffer_when_tight) : wanted;
}

// The exchange that holds this ticket; null when it has left the queue meanwhile, or is another one
// by now.
Exchange* Station::waiter(admission::Ticket ticket, std::uint32_t tag) {
  Exchange* const exchange = exchanges_.at(tag);
  if (exchange == nullptr || !exchange->place()) return nullptr;
  return exchange->place().ticket() == ticket ? exchange : nullptr;
}

// ---- Letters -----------------------------------------------------------------------------------

void Station::on_granted(admission::Ticket ticket, std::uint32_t tag, admission::Permit permit) {
  mailbox_.send(Grant{ticket, tag, std::move(permit)});
}

void Station::on_shed(admission::Ticket ticket, std::uint32_t tag,
                      const admission::Rejection& rejection) {
  mailbox_.send(Shed{ticket, tag, rejection});
}

// A kind of letter that nobody reads does not compile.
void Station::read(Letter& letter) {
  std::visit([this](auto& content) { take(content); }, letter);
}

// A waiter that has left meanwhile is not found, and the permit goes back.
void Station::take(Grant& grant) {
  admission::Permit permit = std::move(grant.permit);
  if (Exchange* exchange = waiter(grant.ticket, grant.tag))
    loop_.guard([&] { exchange->on_granted(std::move(permit)); }, [&] { exchange->on_fault(); });
}

void Station::take(const Shed& shed) {
  if (Exchange* exchange = waiter(shed.ticket, shed.tag))
    loop_.guard([&] { exchange->on_shed(shed.rejection); }, [&] { exchange->on_fault(); });
}

void Station::take(Reconfigure& change) {
  change_.wanted = std::move(change);
  this->change();
}

void Station::take(const Drain& how) {
  drain_.is_on = true;
  drain_.serves_on = how.has_successor;
  drain_.spares_silent = !drain_.serves_on && how.grace.count() > 0;
  if (drain_.serves_on || drain_.spares_silent) drain_.grace.start(how.grace);
  connections_.drain();
  // What has connected already hears an answer rather than a reset; unless another process listens
  // on the same socket: then it is that one's.
  connections_.stop_listening(!drain_.serves_on);
}

void Station::take(const Resume& again) {
  drain_.grace.stop();
  drain_.is_on = drain_.serves_on = drain_.spares_silent = false;
  connections_.listen_on(again.sockets);
  if (std::exchange(drain_.is_reported, false)) milestones_.resumed();
}

void Station::on_grace_over() {
  if (!drain_.serves_on) shared_.gate.drain();
  drain_.serves_on = drain_.spares_silent = false;
  connections_.drain();
}

void Station::take(const Census& census) {
  std::vector<WaitingRequest> waiters;
  for (const auto& exchange : exchanges_.all())
    if (exchange && exchange->place() && waiters.size() < Census::waiters_max)
      waiters.push_back(exchange->describe_wait());
  census.answer(std::move(waiters));
}

// ---- Turns -------------------------------------------------------------------------------------

void Station::end_turn() {
  exchanges_.end_turn();
  memory_.look();
  relieve_memory();
  if (connections_.is_empty() && memory_.has_untold()) memory_.tell();
  upstreams_.end_turn();
  records_.lines.hand_over();
  if (drain_.is_on && connections_.is_empty() && !drain_.is_reported) {
    drain_.is_reported = true;
    milestones_.empty();
  }
}

}  // namespace classgate::gateway
