#include "admission/simulation/simulation.h"

#include <algorithm>

#include "admission/route_table.h"
#include "conf/invariant.h"

namespace classgate::simulation {
namespace {

using admission::Outcome;
using conf::Reason;

constexpr std::uint32_t generation_mask = 0xffffff;

Ending rejected(const admission::Rejection& rejection) {
  return {Ending::Kind::rejected, rejection.reason, rejection.retry_after};
}

Ending ending_of(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::processed: return {Ending::Kind::served, {}, {}};
    case Outcome::Kind::failed: return {Ending::Kind::failed, outcome.reason, {}};
    case Outcome::Kind::rejected: return {Ending::Kind::rejected, outcome.reason, {}};
    default: return {Ending::Kind::abandoned, {}, {}};
  }
}

// How many workers the servers have room for, as gateway/shared.cpp has it while all are up. A name
// in upstream.servers stands for all its addresses: where the model says how many servers there
// are, it knows better.
std::uint32_t places_of(const conf::Settings& settings, const conf::UpstreamModel& model) {
  const std::uint64_t servers =
      model.servers > 1 ? std::uint64_t{model.servers} : settings.upstream.servers.size();
  std::uint64_t places = admission::Ceilings::none;
  for (const std::uint64_t each :
       {settings.upstream.requests_per_server, settings.admission.workers_per_server})
    if (each != 0) places = std::min(places, each * servers);
  return static_cast<std::uint32_t>(places);
}

}  // namespace

Simulation::Simulation(const conf::Settings& settings, const conf::UpstreamModel& model,
                       Traffic& traffic)
    : terms_(admission::Terms::of(settings.admission)),
      routes_(routes_by_id(settings)),
      finishes_(settings.upstream.on_client_abort == conf::OnClientAbort::finish),
      places_in_servers_(places_of(settings, model)),
      traffic_(traffic),
      upstream_(model),
      gate_(settings.admission, admission::Ids(settings)) {
  gate_.attach(*this);
  gate_.set_ceiling(admission::Ceilings::Source::upstream, places_in_servers_, now_);
  pull();
}

// Whoever waits goes before any worker comes back: nobody is granted one any more.
Simulation::~Simulation() {
  for (Call& call : calls_) call.place = {};
  for (Call& call : calls_) call.permit = {};
  news_.clear();
}

Simulation::RoutesById Simulation::routes_by_id(const conf::Settings& settings) {
  const admission::Ids ids(settings);
  RoutesById routes;
  for (const conf::RouteSettings& route : settings.routes)
    *routes.find_or_add(ids.route(conf::name_of(route))) = route;
  return routes;
}

void Simulation::pull() {
  is_coming_ = traffic_.next(coming_wish_);
  if (!is_coming_) return;
  coming_.at = std::max(coming_wish_.at, now_);
  coming_.sequence = sequence_++;
}

bool Simulation::advance(std::uint64_t events) {
  for (; events > 0; --events) {
    if (is_coming_ && (agenda_.is_empty() || coming_.is_before(agenda_.first()))) {
      now_ = coming_.at;
      const std::uint32_t slot = take_slot(coming_wish_);
      pull();
      arrive(slot);
    } else if (!agenda_.is_empty()) {
      const Event event = agenda_.pop();
      if (is_void(event)) continue;
      now_ = event.at;
      happen(event);
    } else {
      tally_.finish(now_);
      return false;
    }
    hear_news();
    ++happened_;
  }
  return true;
}

// It was planned for somebody who has gone since.
bool Simulation::is_void(const Event& event) const {
  if (event.kind == Event::Kind::computed)
    return !upstream_.is_computing(event.slot, event.generation);
  return calls_[event.slot].generation != event.generation;
}

void Simulation::happen(const Event& event) {
  switch (event.kind) {
    case Event::Kind::come: return arrive(event.slot);
    case Event::Kind::ready: return ask_for_worker(event.slot);
    case Event::Kind::alarm: return on_alarm(event.slot);
    case Event::Kind::computed: return on_computed(event.slot);
  }
}

// ---- The verdict: as in exchange.cpp -----------------------------------------------------------

admission::Arrival Simulation::arrival_of(const Call& call, std::uint32_t slot) const {
  admission::Arrival arrival;
  arrival.priority = call.wish.priority;
  arrival.rate_limited = call.wish.rate_limited;
  arrival.client_share = call.wish.client_share;
  arrival.cost = call.wish.cost;
  arrival.bytes = call.wish.bytes;
  arrival.route = call.wish.route;
  arrival.at = call.wish.at;
  arrival.tag = slot;
  arrival.terms = terms_;
  if (const conf::RouteSettings* const route = routes_.find(call.wish.route)) {
    arrival.workers = admission::workers_for(arrival.cost, route->cost_per_worker);
    if (route->deadline)
      arrival.deadline =
          call.wish.at + std::min<Duration>(*route->deadline, terms_.request_timeout);
  }
  arrival.client = call.wish.client + 1ULL;
  arrival.plan = call.wish.plan;
  arrival.client_kind = admission::ClientKind::known;  // nobody invents one here
  arrival.is_retry = call.wish.attempt > 0;
  return arrival;
}

void Simulation::arrive(std::uint32_t slot) {
  Call& call = calls_[slot];
  call.wish.at = now_;
  tally_.arrived(call.wish, now_);
  admission::Arrival arrival = arrival_of(call, slot);
  call.visit.begin(terms_, now_);
  call.visit.wants_answer_by(arrival.deadline);
  if (call.wish.upload == Duration::zero()) return take_answer(slot, gate_.enter(arrival, now_));
  if (const auto rejection = gate_.screen(arrival, now_)) return end(slot, rejected(*rejection));
  plan(Event::Kind::ready, now_ + call.wish.upload, slot, call.generation);
  set_alarm(slot);
}

void Simulation::ask_for_worker(std::uint32_t slot) {
  if (calls_[slot].visit.is(State::collecting))
    take_answer(slot, gate_.arrive(arrival_of(calls_[slot], slot), now_));
}

void Simulation::take_answer(std::uint32_t slot, admission::Gate::Answer answer) {
  if (auto* permit = std::get_if<admission::Permit>(&answer)) {
    go_in(slot, std::move(*permit));
  } else if (auto* place = std::get_if<admission::Place>(&answer)) {
    calls_[slot].visit.join(now_);
    calls_[slot].place = std::move(*place);
    hear_news();  // who gave way has gone before this one joins
    tally_.waiting_changed(calls_[slot].wish.priority, 1, now_);
    set_alarm(slot);
  } else {
    end(slot, rejected(std::get<admission::Rejection>(answer)));
  }
}

void Simulation::go_in(std::uint32_t slot, admission::Permit permit) {
  Call& call = calls_[slot];
  call.visit.go_in();
  tally_.admitted(call.wish, permit.waited(), now_);
  tally_.active_changed(1, now_);
  call.permit = std::move(permit);
  const Upstream::Entered entered = upstream_.enter(slot, call.wish.service, now_);
  call.job = entered.job;
  plan_computed(entered.started);
  set_alarm(slot);
}

void Simulation::on_granted(admission::Ticket, std::uint32_t tag, admission::Permit permit) {
  news_.push_back({tag, std::move(permit), {}});
}

void Simulation::on_shed(admission::Ticket, std::uint32_t tag,
                         const admission::Rejection& rejection) {
  news_.push_back({tag, {}, rejection});
}

// Hearing one piece may bring the next.
void Simulation::hear_news() {
  while (!news_.empty()) {
    heard_.swap(news_);
    for (News& news : heard_) {
      calls_[news.slot].place.release();
      stop_waiting(news.slot);
      if (news.permit)
        go_in(news.slot, std::move(news.permit));
      else
        end(news.slot, rejected(news.rejection));
    }
    heard_.clear();
  }
}

// ---- The upstream, time-outs, and clients that leave -------------------------------------------

void Simulation::on_computed(std::uint32_t job) {
  const Upstream::Finished finished = upstream_.finish(job, now_);
  plan_computed(finished.started);
  if (finished.caller == Upstream::nobody) return;
  const std::uint32_t slot = finished.caller;
  Call& call = calls_[slot];
  call.job = Upstream::nobody;
  const Outcome outcome =
      call.wish.fails ? Outcome::failed(Reason::upstream_broken) : Outcome::processed();
  const bool is_orphan = call.visit.is(State::orphaned);
  give_worker_back(slot, call.visit.closing(outcome));
  is_orphan ? free_slot(slot) : end(slot, ending_of(outcome));
}

Time Simulation::leaves_at(const Call& call) const {
  if (call.visit.is(State::orphaned) || call.wish.patience > Time::max() - call.wish.at)
    return Time::max();
  return call.wish.at + call.wish.patience;
}

// One alarm in the heap for each call is enough: when it goes off too early, it is set again.
void Simulation::set_alarm(std::uint32_t slot) {
  Call& call = calls_[slot];
  const Time limit = call.visit.limit();
  const Time due = std::min(limit, leaves_at(call));
  if (due == Time::max()) return;
  if (call.alarm_set > now_ && call.alarm_set <= due) return;
  call.alarm_set = due;
  plan(Event::Kind::alarm, due, slot, call.generation, due == limit);
}

void Simulation::on_alarm(std::uint32_t slot) {
  const Call& call = calls_[slot];
  const admission::Visit::AtService service{.computes_on = finishes_};
  if (leaves_at(call) <= now_) return take(slot, call.visit.client_left(service));
  if (call.visit.limit() <= now_) return take(slot, call.visit.due(service, now_));
  set_alarm(slot);
}

void Simulation::take(std::uint32_t slot, const admission::Visit::Step& step) {
  using Kind = admission::Visit::Step::Kind;
  Call& call = calls_[slot];
  switch (step.kind) {
    case Kind::none: return;
    case Kind::close:
      if (step.outcome.kind == Outcome::Kind::rejected)
        gate_.refuse(step.outcome.reason, now_);
      else
        gate_.abandon();
      return end(slot, ending_of(step.outcome));
    case Kind::leave: return leave_line(slot, step);
    case Kind::give_back: {
      const bool is_orphan = call.visit.is(State::orphaned);
      cancel_forwarding(slot);
      give_worker_back(slot, step.outcome);
      return is_orphan ? free_slot(slot) : end(slot, ending_of(step.outcome));
    }
    case Kind::orphan:
      call.visit.orphan(step.outcome, now_);
      call.permit.orphan();
      tell_client(slot, ending_of(step.outcome));
      return set_alarm(slot);
  }
}

void Simulation::leave_line(std::uint32_t slot, const admission::Visit::Step& step) {
  Call& call = calls_[slot];
  if (step.departure == admission::Departure::abandoned)
    call.place = {};
  else if (!call.place.leave(step.departure, now_))
    return;  // its turn has come in this moment
  stop_waiting(slot);
  Ending ending = ending_of(step.outcome);
  if (step.departure == admission::Departure::timed_out)
    ending.retry_after = gate_.return_time(arrival_of(call, slot).client, now_);
  end(slot, ending);
}

void Simulation::cancel_forwarding(std::uint32_t slot) {
  plan_computed(upstream_.leave(calls_[slot].job));
  calls_[slot].job = Upstream::nobody;
}

void Simulation::give_worker_back(std::uint32_t slot, Outcome outcome) {
  tally_.active_changed(-1, now_);
  outcome.is_too_late = calls_[slot].visit.is_too_late(now_);
  calls_[slot].permit.finish(outcome, now_);
}

void Simulation::stop_waiting(std::uint32_t slot) {
  tally_.waiting_changed(calls_[slot].wish.priority, -1, now_);
}

void Simulation::tell_client(std::uint32_t slot, const Ending& ending) {
  const Wish wish = calls_[slot].wish;
  tally_.ended(wish, ending, now_);
  Wish follow;
  if (!traffic_.after(wish, ending, now_, follow)) return;
  const std::uint32_t next = take_slot(follow);
  plan(Event::Kind::come, follow.at, next, calls_[next].generation);
}

void Simulation::end(std::uint32_t slot, const Ending& ending) {
  tell_client(slot, ending);
  free_slot(slot);
}

// ---- Slots and events --------------------------------------------------------------------------

std::uint32_t Simulation::take_slot(const Wish& wish) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(calls_.size()));
    calls_.emplace_back();
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  Call& call = calls_[slot];
  call.wish = wish;
  call.alarm_set = Time::min();
  return slot;
}

void Simulation::free_slot(std::uint32_t slot) {
  Call& call = calls_[slot];
  CLASSGATE_SHARED_INVARIANT(!call.permit && !call.place);
  call.visit = {};
  call.job = Upstream::nobody;
  call.generation = (call.generation + 1) & generation_mask;
  free_.push_back(slot);
}

void Simulation::plan(Event::Kind kind, Time at, std::uint32_t slot, std::uint32_t generation,
                      bool is_time_out) {
  Event event;
  event.at = at;
  event.sequence = sequence_++;
  event.slot = slot;
  event.generation = generation & generation_mask;
  event.kind = kind;
  is_time_out ? agenda_.push_in_order(event) : agenda_.push(event);
}

void Simulation::plan_computed(const std::optional<Upstream::Started>& started) {
  if (started)
    plan(Event::Kind::computed, now_ + started->takes, started->job, started->generation);
  std::vector<Upstream::Started>& others = upstream_.others_started();
  for (const Upstream::Started& other : others)
    plan(Event::Kind::computed, now_ + other.takes, other.job, other.generation);
  others.clear();
}

}  // namespace classgate::simulation
