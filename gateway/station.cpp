#include "gateway/station.h"

#include <fmt/chrono.h>
#include <spdlog/spdlog.h>

#include <random>
#include <system_error>

#include "conf/format.h"
#include "conf/invariant.h"
#include "gateway/first_look.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t spare_parsers_max = 256;
constexpr std::size_t spare_parser_bytes_max = 16 * 1024;  // of each
constexpr std::size_t spare_exchanges_max = 256;
constexpr std::chrono::milliseconds between_vain_changes{10};
constexpr std::chrono::milliseconds between_looks{20};  // whether a server is up again

// Each loop keeps its share of the idle upstream connections, rounded up.
std::size_t idle_share(const conf::Settings& settings) {
  return (settings.upstream.idle_connections + settings.threads - 1) / settings.threads;
}

}  // namespace

Station::Deadlines::Deadlines(proxy::net::Loop& loop, const conf::Settings& settings)
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
      stream_time(loop, settings.upstream.stream_time_max) {}

void Station::Deadlines::change(const conf::Settings& settings) {
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
      unrouted_(&traffic_.route("-", 0)),
      unplanned_(&traffic_.plan("-")),
      milestones_(std::move(milestones)),
      number_(shared.gate.attach(*this)),
      deadlines_(loop_, settings()),
      upstreams_(make_upstreams(policy_)),
      mailbox_(loop_, [this](Letter& letter) { read(letter); }),
      memory_(shared.memory),
      access_lines_(shared.access_log, std::random_device{}()),
      roll_up_timer_(loop_, [this] { access_lines_.tell_rolled_up(loop_.now()); }),
      grace_(loop_, [this] { on_grace_over(); }),
      hold_look_(loop_, [this] { look_after_held(); }),
      change_again_(loop_, [this] { change(); }) {
  free_exchanges_.reserve(spare_exchanges_max);
  free_parsers_.reserve(spare_parsers_max);
  adopt(std::move(policy));
  listen_on(sockets);
  loop_.at_turn_end([this] { end_turn(); });
  loop_.at_exception([this](const std::exception& thrown) { shared_.note_exception(thrown); });
  if (number_ != 0) return;
  upstreams_->probe_unproven();
  look_after_upstreams();
}

// What only one loop does, for all.
void Station::look_after_upstreams() {
  if (number_ == 0) upstreams_->check_all();
}

std::unique_ptr<proxy::UpstreamPool> Station::make_upstreams(
    const std::shared_ptr<const Policy>& policy) {
  const conf::UpstreamSettings& upstream = policy->rules->settings.upstream;
  const auto interval =
      upstream.check.path.empty() ? upstream.probe_interval : upstream.check.interval;
  const auto on_change = [this, servers = policy->servers, interval](
                             std::size_t server, bool reachable, const std::string& why) {
    if (reachable)
      spdlog::info("upstream {}: reachable", servers->name(server));
    else
      spdlog::error("upstream {}: {}; trying again every {} ms (upstream.servers)",
                    servers->name(server), why, interval.count());
    shared_.fit_workers_to_servers(loop_.now());
  };
  auto pool = std::make_unique<proxy::UpstreamPool>(loop_, policy->servers, upstream,
                                                    idle_share(policy->rules->settings), on_change,
                                                    policy->tls.upstream);
  pool->at_ejection([servers = policy->servers, after = upstream.eject_after](
                        std::size_t server, std::chrono::milliseconds time) {
    spdlog::error("upstream {}: {} failures in a row: passed over for {} ms (upstream.eject_after)",
                  servers->name(server), after, time.count());
  });
  pool->at_failing([servers = policy->servers, share = upstream.eject_errors](std::size_t server) {
    spdlog::error(
        "upstream {}: {:.0f} % or more of its last {} answers were 5xx "
        "(upstream.eject_errors)",
        servers->name(server), 100 * share, proxy::Servers::answers_in_window);
  });
  pool->at_unasked([servers = policy->servers, pause = upstream.unasked_pause](std::size_t server) {
    spdlog::error(
        "upstream {}: it spoke without being asked: no connection to it is used twice until it has "
        "not for {} ms (upstream.unasked_pause)",
        servers->name(server), pause.count());
  });
  return pool;
}

// ---- The conf ----------------------------------------------------------------------------------

// What was begun is done again until there is memory for all of it: a change that is left out would
// leave this loop with other rules than the others.
void Station::change() {
  if (!wanted_.policy) return;  // a later one has been made whole meanwhile
  loop_.guard(
      [this] {
        if (!draining_) stop_listening_except(wanted_.sockets);
        adopt(wanted_.policy);
        if (!draining_) listen_on(wanted_.sockets);
        wanted_ = {};
      },
      [this] { change_again_.start(between_vain_changes); });
}

// Requests that are under way keep what they began with: their deadlines and upstream connections.
// What needs memory comes first, so that it is adopted whole or not; what a new pool begins with is
// made up for by the next attempt.
void Station::adopt(std::shared_ptr<const Policy> policy) {
  const Rules& rules = *policy->rules;
  const bool has_same_rules = rules_ == &rules && !route_traffic_.empty();  // not at the start
  std::vector<RouteTraffic*> route_traffic = has_same_rules ? route_traffic_ : traffic_under(rules);
  const bool same_upstream = policy_->servers == policy->servers &&
                             (has_same_rules || settings().upstream == rules.settings.upstream);
  // Connections to servers that stay are kept, unless they may be secured by other certificates
  // now.
  const bool are_kept = policy_->tls.upstream == policy->tls.upstream &&
                        settings().upstream.tls == rules.settings.upstream.tls;
  auto plan_traffic = has_same_rules ? plan_traffic_ : plan_traffic_under(rules);
  std::unique_ptr<proxy::UpstreamPool> upstreams;
  if (!same_upstream) {
    upstreams = make_upstreams(policy);
    former_upstreams_.reserve(former_upstreams_.size() + 1);
  }
  if (!has_same_rules) deadlines_.change(rules.settings);
  decisions_.resize((rules.settings.ops.why_max + rules.settings.threads - 1) /
                    rules.settings.threads);
  const std::shared_ptr<const Policy> before = std::exchange(policy_, std::move(policy));
  rules_ = &rules;
  strangers_health_.forget();
  if (!has_same_rules) {
    route_traffic_ = std::move(route_traffic);
    plan_traffic_ = std::move(plan_traffic);
    request_limits_ = head_limits_of(rules.settings.client);
    for (const auto& connection : connections_) connection->judge_sender();
  }
  if (same_upstream) {
    upstreams_->use_tls(policy_->tls.upstream);
    return begin_upstreams();
  }
  upstreams_->retire();
  former_upstreams_.push_back(std::exchange(upstreams_, std::move(upstreams)));
  upstreams_are_new_ = true;
  proxy::UpstreamPool& former = *former_upstreams_.back();
  for (const auto& pool : former_upstreams_)
    if (pool.get() != &former) pool->follow(former, are_kept ? upstreams_.get() : nullptr);
  if (are_kept) upstreams_->take_over(former);
  begin_upstreams();
}

std::vector<RouteTraffic*> Station::traffic_under(const Rules& rules) {
  std::vector<RouteTraffic*> traffic;
  for (const conf::RouteSettings& route : rules.settings.routes)
    traffic.push_back(&traffic_.route(conf::name_of(route), route.priority));
  traffic.push_back(&traffic_.route("*", conf::priority_worst));
  return traffic;
}

admission::ById<admission::PlanId, PlanTraffic*> Station::plan_traffic_under(const Rules& rules) {
  admission::ById<admission::PlanId, PlanTraffic*> traffic;
  for (const conf::PlanSettings& plan : rules.settings.admission.fairness.plans)
    *traffic.find_or_add(rules.ids.plan(plan.name)) = &traffic_.plan(plan.name);
  return traffic;
}

// Asks for memory: where there was none, once more with the next attempt to adopt.
void Station::begin_upstreams() {
  if (!upstreams_are_new_) return;
  look_after_upstreams();
  // Every loop asks: the one whose pool was asking may have let go of it by now.
  upstreams_->probe_unproven();
  upstreams_are_new_ = false;
}

// Before the next policy is adopted: who waits in the backlog of such a socket has come under this
// one, and begins with its certificates, proxies and limits.
void Station::stop_listening_except(const Sockets& sockets) {
  std::erase_if(listeners_, [&](const auto& listener) {
    if (std::ranges::find(sockets, listener->socket()) != sockets.end()) return false;
    listener->accept_the_rest();
    return true;
  });
}

void Station::listen_on(const Sockets& sockets) {
  for (const auto& socket : sockets) {
    const bool is_known = std::ranges::any_of(
        listeners_, [&](const auto& listener) { return listener->socket() == socket; });
    if (is_known) continue;
    listeners_.push_back(std::make_unique<proxy::net::Listener>(
        loop_, socket,
        [this, is_tls = socket->wanted.is_tls,
         listener = std::make_shared<const ClientIdentities::Listener>(
             socket->wanted.text, socket->local.port())](proxy::net::Fd fd,
                                                         const proxy::net::SocketAddress& address) {
          accept(std::move(fd), address, is_tls, listener);
        },
        [](int error) {
          spdlog::error(
              "cannot accept a connection: {} (raise LimitNOFILE or lower "
              "client.max_connections); trying again",
              std::generic_category().message(error));
        }));
  }
}

// Its loop has ended. Those who wait hear so first: the workers of the others would be theirs.
Station::~Station() {
  for (const bool waits : {true, false})
    for (const auto& exchange : exchanges_)
      if (exchange && static_cast<bool>(exchange->place()) == waits)
        loop_.guard([&] { exchange->on_gateway_ending(); }, [&] { exchange->cut(); });
  for (const auto& exchange : exchanges_)
    if (exchange) exchange->cut();
  for (const auto& connection : connections_) connection->reset_if_unfinished();
  access_lines_.tell_rolled_up(loop_.now());
  access_lines_.hand_over();
}

// ---- Exchanges ---------------------------------------------------------------------------------

Exchange& Station::take_exchange() {
  if (free_exchanges_.empty()) {
    if (free_tags_.empty()) make_tag();
    const std::uint32_t tag = free_tags_.back();
    exchanges_[tag] = std::make_unique<Exchange>(*this, tag);
    free_tags_.pop_back();
    memory_.change(sizeof(Exchange));
    return *exchanges_[tag];
  }
  Exchange& exchange = *free_exchanges_.back();
  free_exchanges_.pop_back();
  return exchange;
}

bool Station::holds() {
  const bool are_full = settings().upstream.requests_per_server != 0 &&
                        !policy_->servers->none_reachable() && !upstreams_->has_place();
  return are_full || time_to_hold(settings().upstream, *policy_->servers, loop_.now()).count() > 0;
}

void Station::hold(Exchange& exchange) {
  if (held_exchanges_.empty()) hold_look_.start(between_looks);
  held_exchanges_.push_back(&exchange);
}

void Station::look_after_held() {
  const bool goes_on = holds();
  // One may end another (a client that hears nothing any more), and be held again itself; none is
  // freed before the turn is over.
  looked_after_.assign(held_exchanges_.begin(), held_exchanges_.end());
  if (!goes_on) held_exchanges_.clear();
  for (Exchange* const exchange : looked_after_) {
    if (!exchange->is_held()) continue;
    const bool is_over = exchange->has_waited_enough(loop_.now());
    if (goes_on && !is_over) continue;
    loop_.guard([&] { is_over ? exchange->on_due() : exchange->on_hold_over(); },
                [&] { exchange->on_fault(); });
  }
  if (!held_exchanges_.empty()) hold_look_.start(between_looks);
}

// For one exchange more. What may come of it later asks for no memory then: its end, and the letter
// that lets it in (a permit on its way must not be lost).
void Station::make_tag() {
  if (exchanges_.size() == exchanges_.capacity()) {
    const std::size_t more = std::max<std::size_t>(16, 2 * exchanges_.size());
    exchanges_.reserve(more);
    free_tags_.reserve(more);
    ended_exchanges_.reserve(more);
    held_exchanges_.reserve(more);
    looked_after_.reserve(more);
    mailbox_.reserve(2 * more + 64);  // those that it has left in its last life, other letters
  }
  exchanges_.emplace_back();
  free_tags_.push_back(static_cast<std::uint32_t>(exchanges_.size() - 1));
}

// After its turn. Some are kept for the next requests; after a peak the rest go.
void Station::free_exchange(Exchange& exchange) {
  exchange.reset();
  if (free_exchanges_.size() < spare_exchanges_max) return free_exchanges_.push_back(&exchange);
  const std::uint32_t tag = exchange.tag();
  free_tags_.push_back(tag);
  exchanges_[tag].reset();
  memory_.change(-static_cast<std::int64_t>(sizeof(Exchange)));
}

void Station::retire_exchange(Exchange& exchange) { ended_exchanges_.push_back(&exchange); }

std::unique_ptr<proxy::wire::Parser> Station::take_parser() {
  if (free_parsers_.empty()) return std::make_unique<proxy::wire::Parser>();
  auto parser = std::move(free_parsers_.back());
  free_parsers_.pop_back();
  return parser;
}

void Station::return_parser(std::unique_ptr<proxy::wire::Parser> parser) {
  if (free_parsers_.size() < spare_parsers_max && parser->held_bytes() <= spare_parser_bytes_max)
    free_parsers_.push_back(std::move(parser));
}

// The exchange that holds this ticket; null when it has left the queue meanwhile, or is another one
// by now.
Exchange* Station::waiter(admission::Ticket ticket, std::uint32_t tag) {
  Exchange* const exchange = exchanges_[tag].get();
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
  wanted_ = std::move(change);
  this->change();
}

void Station::take(const Drain& how) {
  draining_ = true;
  serves_on_ = how.has_successor;
  spares_silent_ = !serves_on_ && how.grace.count() > 0;
  if (serves_on_ || spares_silent_) grace_.start(how.grace);
  for (std::size_t i = connections_.size(); i-- > 0;) connections_[i]->drain();
  // What has connected already hears an answer rather than a reset; unless another process listens
  // on the same socket: then it is that one's.
  if (!serves_on_)
    for (const auto& listener : listeners_) listener->accept_the_rest();
  listeners_.clear();
}

void Station::take(const Resume& again) {
  grace_.stop();
  draining_ = serves_on_ = spares_silent_ = false;
  listen_on(again.sockets);
  if (std::exchange(reported_empty_, false)) milestones_.resumed();
}

void Station::on_grace_over() {
  if (!serves_on_) shared_.gate.drain();
  serves_on_ = spares_silent_ = false;
  for (std::size_t i = connections_.size(); i-- > 0;) connections_[i]->drain();
}

void Station::take(const Census& census) {
  std::vector<WaitingRequest> waiters;
  for (const auto& exchange : exchanges_)
    if (exchange && exchange->place() && waiters.size() < Census::waiters_max)
      waiters.push_back(exchange->describe_wait());
  census.answer(std::move(waiters));
}

void Station::keep(Decision& into, const ExchangeRecord& record) {
  const conf::AdmissionSettings& limits = rules_->settings.admission;
  into.note(record, loop_.now());
  into.limits = {.generation = rules_->generation,
                 .rate = limits.rate,
                 .burst = limits.burst,
                 .workers = limits.workers,
                 .queue_size = limits.queue_size,
                 .queue_timeout = limits.queue_timeout};
}

// ---- Turns -------------------------------------------------------------------------------------

void Station::end_turn() {
  for (Exchange* exchange : ended_exchanges_)
    loop_.guard([&] { free_exchange(*exchange); },
                [&] { exchange->cut(); });  // and never used again
  ended_exchanges_.clear();
  memory_.look();
  relieve_memory();
  if (connections_.empty() && memory_.has_untold()) memory_.tell();
  std::erase_if(former_upstreams_, [](const auto& pool) { return !pool->is_in_use(); });
  access_lines_.hand_over();
  if (draining_ && connections_.empty() && !reported_empty_) {
    reported_empty_ = true;
    milestones_.empty();
  }
}

std::string_view Station::date_text() {
  const std::time_t now = std::time(nullptr);
  if (now != date_text_of_) {
    date_text_of_ = now;
    date_text_ = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now));
  }
  return date_text_;
}

}  // namespace classgate::gateway
